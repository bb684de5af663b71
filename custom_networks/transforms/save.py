"""MONAI dictionary transforms that write label maps and tumor probabilities as NIfTI."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from monai.config.type_definitions import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms.io.dictionary import SaveImaged
from monai.transforms.transform import MapTransform

from custom_networks.case_folder import forget
from custom_networks.errors import BundleError
from custom_networks.files import atomic_write
from custom_networks.io.files import case_stem
from custom_networks.labelmap.boxes import NOWHERE, box_around

BLOCK = 64  # voxels along each axis that are copied into file order at once


class SaveLabelMapd(SaveImaged):
    """Write label maps (1, i, j, k) with their affine to `<output_dir>/<case>/<case>_<postfix>.nii.gz`, as uint8.

    `<case>` is the item under `case_key` or, if that is missing, the stem of the input's file name. Files are written
    atomically. Earlier results of `liverseg segment` in that folder (report, DICOM) belong to another mask, so they are
    removed first, together with their manifest.

    MONAI's SaveImaged names files only after the input, so that inputs of the same name overwrite each other. It is
    the base class because MONAI Label skips instances of `SaveImaged`.

    Raises:
        BundleError: on call, an item is not a MetaTensor (1, i, j, k).
    """

    channels = 1
    slope: float | None = None

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str,
        postfix: str = "seg",
        case_key: str = "case",
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.output_dir, self.postfix, self.case_key = Path(output_dir), postfix, case_key

    def set_options(self, *args: Any, **kwargs: Any) -> None:
        """Ignore options for MONAI's writers, which are not used here."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write the files and return the data unchanged."""
        d = dict(data)
        for key in self.key_iterator(d):
            voxels = d[key]
            if not isinstance(voxels, MetaTensor) or voxels.ndim != 4 or voxels.shape[0] != self.channels:
                raise BundleError(
                    f"{type(self).__name__} needs {key!r} as a MetaTensor ({self.channels}, i, j, k), got "
                    f"{type(voxels).__name__} of shape {tuple(getattr(voxels, 'shape', ()))}: place it last in "
                    "postprocessing."
                )
            case = str(d.get(self.case_key) or case_stem(str(voxels.meta.get("filename_or_obj", "case"))))
            forget(self.output_dir / case)
            path = self.output_dir / case / f"{case}_{self.postfix}.nii.gz"
            write_label_map(voxels[-1].cpu().numpy(), voxels.affine.cpu().numpy(), path, self.slope)
        return d


class SaveTumorProbabilityd(SaveLabelMapd):
    """Write the tumor channel of liver and tumor probabilities to `<output_dir>/<case>/<case>_<postfix>.nii.gz`.

    The items are MetaTensors (2, i, j, k) uint8, probability x 255. They are stored unchanged, with a slope of 1 / 255,
    so that NIfTI readers that apply it return 0 to 1. Everything else is as in `SaveLabelMapd`.
    """

    channels = 2
    slope = 1 / 255


def write_label_map(
    labels: np.ndarray,
    affine: np.ndarray,
    path: Path,
    slope: float | None = None,
    nifti_geometry: Mapping[str, Any] | None = None,
) -> None:
    """Write labels as uint8 .nii.gz, atomically.

    Args:
        labels: (i, j, k) whole numbers, 0 to 255.
        affine: (4, 4), from voxel indices to RAS mm.
        path: file to write.
        slope: factor written to the header, by which readers multiply; the stored values do not change.
        nifti_geometry: header fields to copy from the input (see `Volume`), whose sform and qform can differ; some
            programs use one, some the other.
    """
    image = nib.Nifti1Image(_in_file_order(labels), affine)
    if slope is not None:
        image.header.set_slope_inter(slope, 0)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    for name, value in (nifti_geometry or {}).items():
        image.header[name] = value
    with atomic_write(path) as temporary:
        nib.save(image, temporary)


def _in_file_order(labels: np.ndarray) -> npt.NDArray[np.uint8]:
    """Labels (i, j, k) as uint8 with i as the fastest axis in memory, as NIfTI requires.

    They are copied in blocks that fit into the processor's cache, since NumPy would fetch a cache line for every voxel.
    The zeros around the labels are never written and take up no memory.
    """
    ordered = np.zeros(labels.shape[::-1], np.uint8).T
    box = box_around(labels) or NOWHERE
    for block in product(
        *([slice(n, min(n + BLOCK, part.stop)) for n in range(part.start, part.stop, BLOCK)] for part in box)
    ):
        ordered[block] = labels[block]
    return ordered
