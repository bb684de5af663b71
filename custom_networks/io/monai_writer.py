"""Writes label maps as NIfTI, as a MONAI dictionary transform."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monai.config.type_definitions import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms.io.dictionary import SaveImaged
from monai.transforms.transform import MapTransform

from custom_networks.errors import BundleError
from custom_networks.io.files import case_stem


class SaveLabelMapd(SaveImaged):
    """Write label maps (1, i, j, k) to `<output_dir>/<case>/<case>_<postfix>.nii.gz`: uint8, the affine as it is.

    `<case>` is the item under `case_key`, or the stem of the input's file name where that is missing. A file is written
    under a temporary name and renamed. (MONAI's SaveImaged names files by the input alone, so that two inputs of one
    name overwrite each other; it is the base class because MONAI Label leaves out `SaveImaged`.)

    Args:
        keys: label maps, MetaTensor.
        output_dir: folder for all cases; made where it is missing.
        postfix: end of the file's name.
        case_key: key of the case's name.
        allow_missing_keys: skip keys that are not there instead of raising.

    Raises:
        BundleError: on call, if an item is not a MetaTensor (1, i, j, k).
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str,
        postfix: str = "seg",
        case_key: str = "case",
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.output_dir = Path(output_dir)
        self.postfix = postfix
        self.case_key = case_key

    def set_options(self, *args: Any, **kwargs: Any) -> None:
        """Nothing of MONAI's writers can be set here."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write the files; `data` is passed on as it is."""
        d = dict(data)
        for key in self.key_iterator(d):
            label_map = d[key]
            if not isinstance(label_map, MetaTensor) or label_map.ndim != 4 or label_map.shape[0] != 1:
                raise BundleError(
                    f"SaveLabelMapd needs {key!r} as a MetaTensor (1, i, j, k), got {type(label_map).__name__} of "
                    f"shape {tuple(getattr(label_map, 'shape', ()))}: put it last in postprocessing."
                )
            case = str(d.get(self.case_key) or case_stem(str(label_map.meta.get("filename_or_obj", "case"))))
            write_label_map(
                label_map[0].cpu().numpy(),
                label_map.affine.cpu().numpy(),
                self.output_dir / case / f"{case}_{self.postfix}.nii.gz",
            )
        return d


def write_label_map(labels: np.ndarray, affine: np.ndarray, path: Path) -> None:
    """Write labels (i, j, k) as uint8 NIfTI with an affine to RAS mm, under a temporary name that is then renamed."""
    image = nib.Nifti1Image(labels.astype(np.uint8, copy=False), affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name.removesuffix('.nii.gz')}.part.nii.gz")
    try:
        nib.save(image, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
