"""Probabilities of held-out cases on disk, so that thresholds can be tried later without running the network.

There is one compressed NumPy file per case, `<case>.npz`, cropped to the box of all voxels that may be organ, with a
margin. It has `probabilities` of liver and tumor x 255, (2, h, w, d) uint8; `label`, (h, w, d) uint8; `spacing`, (3,)
mm; `tumor_labelled`; and `source`, the image's folder and name.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import numpy.typing as npt
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import Transform

from custom_networks.errors import BundleError, InputError
from custom_networks.evaluation.case_report import IMAGE_ENDING
from custom_networks.evaluation.organ_and_tumor import tumor_is_labelled
from custom_networks.files import atomic_write
from custom_networks.labelmap.boxes import Box, box_around, grown_box
from custom_networks.labelmap.grid import spacing_of, voxel_mm3
from custom_networks.labelmap.labels import Floats, Labels

# Lower than any organ threshold worth trying; with an even lower value, the box would be as large as the scan.
LOWEST_ORGAN_PROBABILITY = 0.2
MARGIN_MM = 10.0


@dataclass(frozen=True)
class KeptCase:
    """A held-out case as it is kept in a file, cropped to the voxels that may be organ.

    Attributes:
        name: the image's file name without suffix.
        probabilities: (2, h, w, d) probabilities of liver and tumor x 255.
        truth: (h, w, d) true label map.
        spacing: voxel size, mm; for a sheared grid, the third value is the distance between planes, so that the product
            is the volume of a voxel.
        tumor_labelled: whether the truth's tumors are known.
    """

    name: str
    probabilities: npt.NDArray[np.uint8]
    truth: Labels
    spacing: tuple[float, ...]
    tumor_labelled: bool

    @property
    def affine(self) -> Floats:
        """The (4, 4) affine of a grid with this spacing, mm."""
        return np.diag([*self.spacing, 1.0])


class KeepProbabilitiesd(Transform):
    """Write the probabilities and the truth of each case to `<output_dir>/<case>.npz`; the data are not changed.

    It goes after `LabelsOnInputGridd` in an evaluation. Several folds may share a folder. The items are
    `probabilities` of liver and tumor x 255, (2, H, W, D) uint8; `label`, the true label map, MetaTensor (1, H, W, D)
    on the same grid; and `image`, after whose file the case is named.

    Args:
        output_dir: folder for the files, created if necessary. If None, nothing is written.

    Raises:
        BundleError: on call, probabilities or label are missing, or not on the same grid.
        InputError: on call, the folder contains another case of that name, from this evaluation or an earlier one.
    """

    def __init__(self, output_dir: str | None) -> None:
        self.output_dir = None if output_dir is None else Path(output_dir)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A copy of the data, after writing the case to disk unless `output_dir` is None."""
        d = dict(data)
        if self.output_dir is None:
            return d
        probabilities: Any = d.get("probabilities")
        label: Any = d.get("label")
        shape = tuple(getattr(probabilities, "shape", ()))
        if not isinstance(label, MetaTensor) or shape != (2, *label.shape[1:]):
            raise BundleError(
                "KeepProbabilitiesd needs 'probabilities' (2, H, W, D) on the grid of 'label', "
                f"got shapes {shape} and {tuple(getattr(label, 'shape', ()))}: put it after LabelsOnInputGridd."
            )
        source = PurePath(d["image"].meta["filename_or_obj"])
        rows, columns, slices = spacing_of(np.asarray(label.affine))
        volume = voxel_mm3(np.asarray(label.affine))
        if not np.isclose(rows * columns * slices, volume, rtol=1e-9):  # sheared grid: use the distance between planes
            slices = volume / (rows * columns)
        spacing = [rows, columns, slices]
        _write(
            self.output_dir / f"{case_name(source.name)}.npz",
            f"{source.parent.name}/{source.name}",
            np.asarray(probabilities.cpu()),
            label[0].cpu().numpy().astype(np.uint8),
            spacing,
            tumor_is_labelled(d),
        )
        return d


def case_name(file: str) -> str:
    """Name of a case: its image's file name without folder and suffix."""
    return IMAGE_ENDING.sub("", PurePath(file).name)


def read_kept_case(path: Path) -> KeptCase:
    """Read a file that `KeepProbabilitiesd` wrote; InputError if it is damaged or another kind of file."""
    try:
        with np.load(path) as kept:
            spacing = tuple(float(mm) for mm in kept["spacing"])
            labelled = bool(kept["tumor_labelled"])
            return KeptCase(path.stem, kept["probabilities"], kept["label"], spacing, labelled)
    except Exception as error:  # NumPy, zipfile and zlib have no common error for damaged bytes
        raise InputError(
            f"{path} is not a readable case kept by an evaluation ({error}): run evaluate.json with "
            "--keep_probabilities again."
        ) from error


def _kept_source(path: Path) -> str | None:
    """The source of the case in a file; None if the file is missing or damaged, so that it may be overwritten."""
    try:
        with np.load(path) as kept:
            return str(kept["source"])
    except Exception:  # as in `read_kept_case`
        return None


def _write(
    path: Path,
    source: str,
    probabilities: npt.NDArray[np.uint8],
    label: Labels,
    spacing: list[float],
    tumor_labelled: bool,
) -> None:
    """Write a case, cropped to its possible organ; InputError if the file contains another case."""
    other = _kept_source(path)
    if other not in (None, source):
        raise InputError(
            f"{path} already contains {other}, so {source} cannot be kept there: use another folder for "
            "--keep_probabilities or, if both are in one data list, rename one of the images (and its name in the "
            "list)."
        )
    box = _box_of_all_organ(probabilities, label, spacing)
    with atomic_write(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream,
            probabilities=probabilities[(slice(None), *box)],
            label=label[box],
            spacing=np.array(spacing),
            tumor_labelled=np.array(tumor_labelled),
            source=np.array(source),
        )


def _box_of_all_organ(probabilities: npt.NDArray[np.uint8], label: Labels, spacing: list[float]) -> Box:
    """Box of all voxels that may be organ, with a margin of MARGIN_MM; around the first voxel if there are none.

    These are the true organ and the voxels whose probability of liver or tumor is at least LOWEST_ORGAN_PROBABILITY.
    """
    # The sum needs uint16; rounding the limit down keeps every voxel that a threshold of 0.2 needs.
    organ = np.add(*probabilities, dtype=np.uint16) >= int(LOWEST_ORGAN_PROBABILITY * 255)
    box = box_around(organ | (label > 0)) or (slice(0, 1),) * 3
    return grown_box(box, MARGIN_MM, spacing, label.shape)
