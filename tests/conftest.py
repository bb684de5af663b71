"""Shared fixtures: where the real data lie, when they are there, and small phantoms in place of them."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from custom_networks.phantom import make_phantom
from custom_networks.phantom.files import write_nifti

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real CT and DICOM cases (not part of the repository); the test is skipped where it is absent."""
    folder = Path(os.environ.get("LIVERSEG_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "ct" / "dataset.json").is_file():
        pytest.skip(f"REAL DATA ABSENT: no {folder}/ct; set LIVERSEG_SHARED to run this test")
    return folder


@pytest.fixture(scope="session")
def small_phantoms(tmp_path_factory: pytest.TempPathFactory) -> Callable[[tuple[float, float, float]], Path]:
    """Write four phantoms of 64 x 56 x 20 voxels in the layout of the Medical Segmentation Decathlon: their folder."""

    def written(spacing: tuple[float, float, float]) -> Path:
        folder = tmp_path_factory.mktemp("Task03 Phantom")
        cases = []
        for seed in (1, 2, 3, 4):
            phantom = make_phantom(seed, shape=(64, 56, 20), spacing=spacing, lesions=2)
            case = {"image": f"imagesTr/phantom_{seed}.nii.gz", "label": f"labelsTr/phantom_{seed}.nii.gz"}
            write_nifti(folder / case["image"], phantom.image, phantom.affine)
            write_nifti(folder / case["label"], phantom.label, phantom.affine)
            cases.append(case)
        (folder / "dataset.json").write_text(json.dumps({"training": cases}))
        return folder

    return written
