"""What is known of the LiTS scans by their number; MSD Task03_Liver numbers them alike (liver_N is LiTS N).

Bilic et al., The Liver Tumor Segmentation Benchmark (LiTS), Medical Image Analysis 84, 2023; Antonelli et al., The
Medical Segmentation Decathlon, Nature Communications 13, 2022.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from custom_networks.errors import InputError
from custom_networks.training.data.headers import nifti_grid

# Patients who were scanned more than once, as far as we know; every other number counts as a patient of its own.
PATIENTS_WITH_SEVERAL_SCANS = (range(0, 2), range(6, 11), range(14, 16))
# 3D-IRCADb: in LiTS as it is downloaded their affine is the identity (LITS-CHALLENGE issue 14); MSD corrected it.
WITHOUT_GEOMETRY_IN_LITS = range(28, 48)

_NAME = re.compile(r"(?P<kind>volume-|segmentation-|liver_)(?P<number>\d+)\.nii(\.gz)?")


def lits_number(path: str | Path) -> int | None:
    """The number in a LiTS or MSD file name (volume-7.nii, segmentation-7.nii, liver_7.nii.gz); None for others."""
    match = _NAME.fullmatch(Path(path).name)
    return int(match["number"]) if match else None


def known_patient(image: str | Path) -> str | None:
    """The patient of a LiTS or MSD image by its name, where the patient is known to have several scans."""
    number = lits_number(image)
    scans = next((scans for scans in PATIENTS_WITH_SEVERAL_SCANS if number in scans), None)
    return None if scans is None else f"lits-{scans[0]}-{scans[-1]}"


def geometry_is_lost(image: str | Path) -> bool:
    """Whether this is one of LiTS 28 to 47 with its placeholder: voxels of 1 x 1 x 1 mm along the patient's axes.

    The scans measure 0.6 to 0.9 mm in-plane and 1.25 to 4 mm between slices, so no length in mm would be right, and
    nothing in the file says what would be. Reads the header of these 20 alone.
    """
    grid = nifti_grid(image) if lits_number(image) in WITHOUT_GEOMETRY_IN_LITS else None
    return grid is not None and np.allclose(np.abs(grid[1][:3, :3]), np.eye(3), atol=1e-3)


def lits_cases(folder: str | Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The cases of LiTS as it is downloaded, by name: volume-N.nii(.gz) with segmentation-N.nii(.gz), at any depth.

    Returns:
        Items of a data list ("image" and "label" relative to `folder`), by number, and the names of the volumes that
        have no segmentation.

    Raises:
        InputError: a number is there twice.
    """
    folder = Path(folder)
    found: dict[str, dict[int, Path]] = {"volume-": {}, "segmentation-": {}, "liver_": {}}
    for path in sorted(folder.rglob("*.nii*")):
        match = _NAME.fullmatch(path.name)  # names in full: macOS leaves "._volume-0.nii" beside volume-0.nii
        if not match:
            continue
        earlier = found[match["kind"]].setdefault(int(match["number"]), path)
        if earlier != path and match["kind"] != "liver_":
            raise InputError(f"{path} and {earlier} have one LiTS number: keep one of them, or give a --datalist.")
    volumes, segmentations = found["volume-"], found["segmentation-"]
    items = [
        {"image": str(volumes[n].relative_to(folder)), "label": str(segmentations[n].relative_to(folder))}
        for n in sorted(volumes.keys() & segmentations.keys())
    ]
    return items, [volumes[n].name for n in sorted(volumes.keys() - segmentations.keys())]
