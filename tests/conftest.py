"""Shared fixtures: where the real data lie, when they are there."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real CT and DICOM cases (not part of the repository); the test is skipped where it is absent."""
    folder = Path(os.environ.get("LIVERSEG_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "ct" / "dataset.json").is_file():
        pytest.skip(f"REAL DATA ABSENT: no {folder}/ct; set LIVERSEG_SHARED to run this test")
    return folder
