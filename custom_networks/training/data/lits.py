"""What is known about the scans of LiTS by number; MSD Task03_Liver has the same numbers (liver_N is LiTS N).

Bilic et al., The Liver Tumor Segmentation Benchmark (LiTS), Medical Image Analysis 84, 2023; Antonelli et al., The
Medical Segmentation Decathlon, Nature Communications 13, 2022.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from custom_networks.errors import InputError
from custom_networks.training.data.headers import nifti_grid

# Patients known to have been scanned more than once; every other number counts as a separate patient.
PATIENTS_WITH_SEVERAL_SCANS = (range(0, 2), range(6, 11), range(14, 16))
# Scans of 3D-IRCADb: in the download of LiTS, their affine is the identity (LITS-CHALLENGE issue 14); MSD corrected it.
WITHOUT_GEOMETRY_IN_LITS = range(28, 48)

_NAME = re.compile(r"(?P<kind>volume-|segmentation-|liver_)(?P<number>\d+)\.nii(\.gz)?")


def lits_number(path: str | Path) -> int | None:
    """The number in a LiTS or MSD file name (volume-7.nii, segmentation-7.nii, liver_7.nii.gz); None for others."""
    match = _NAME.fullmatch(Path(path).name)
    return int(match["number"]) if match else None


def known_patient(image: str | Path) -> str | None:
    """The patient of a LiTS or MSD image, by its file name; None unless the patient is known to have several scans."""
    number = lits_number(image)
    scans = next((scans for scans in PATIENTS_WITH_SEVERAL_SCANS if number in scans), None)
    return None if scans is None else f"lits-{scans[0]}-{scans[-1]}"


def geometry_is_lost(image: str | Path) -> bool:
    """Whether this is one of LiTS 28 to 47 with a placeholder affine: 1 x 1 x 1 mm voxels along the patient's axes.

    The real voxels of these scans are 0.6 to 0.9 mm in-plane and 1.25 to 4 mm between slices, so all lengths in mm
    would be wrong. Only the headers of these 20 scans are read.

    Raises:
        InputError: the file cannot be read as NIfTI.
    """
    grid = nifti_grid(image) if lits_number(image) in WITHOUT_GEOMETRY_IN_LITS else None
    return grid is not None and np.allclose(np.abs(grid[1][:3, :3]), np.eye(3), atol=1e-3)


def lits_cases(folder: str | Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Find the cases of a LiTS download by name: volume-N.nii(.gz) with segmentation-N.nii(.gz), in any subfolder.

    Returns:
        Items of a data list ("image" and "label" relative to `folder`), sorted by number, and the names of the volumes
        without a segmentation.

    Raises:
        InputError: two volumes or two segmentations have the same number.
    """
    folder = Path(folder)
    found: dict[str, dict[int, Path]] = {"volume-": {}, "segmentation-": {}, "liver_": {}}
    for path in sorted(folder.rglob("*.nii*")):
        match = _NAME.fullmatch(path.name)  # not "._volume-0.nii", which macOS leaves beside volume-0.nii
        if not match:
            continue
        earlier = found[match["kind"]].setdefault(int(match["number"]), path)
        if earlier != path and match["kind"] != "liver_":
            raise InputError(f"{path} and {earlier} have the same LiTS number: keep one, or use --datalist.")
    volumes, segmentations = found["volume-"], found["segmentation-"]
    items = [
        {"image": str(volumes[n].relative_to(folder)), "label": str(segmentations[n].relative_to(folder))}
        for n in sorted(volumes.keys() & segmentations.keys())
    ]
    return items, [volumes[n].name for n in sorted(volumes.keys() - segmentations.keys())]
