"""`liverseg phantom` writes the files that it reports."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from custom_networks.phantom import files, make_phantom

Liverseg = Callable[..., Any]


@pytest.fixture(autouse=True)
def small_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write small phantoms, since the command does not depend on the size."""
    monkeypatch.setattr(files, "make_phantom", lambda seed: make_phantom(seed, shape=(48, 40, 16)))


def test_nifti_cases_are_written_and_reported(liverseg: Liverseg, tmp_path: Path) -> None:
    answer = liverseg("phantom", "2024", "--cases", "2", "--seed", "3")
    assert answer == (0, "2024/imagesTr/phantom_000.nii.gz\n2024/imagesTr/phantom_001.nii.gz\n", "")
    assert all((tmp_path / line).is_file() for line in answer.out.splitlines())
    assert (tmp_path / "2024" / "dataset.json").is_file()


def test_a_dicom_case_is_a_folder_of_slices(liverseg: Liverseg, tmp_path: Path) -> None:
    answer = liverseg("phantom", "--output", "help", "--format=dicom")
    assert answer == (0, "help/phantom_000\n", "")
    assert len(list((tmp_path / "help" / "phantom_000").glob("*.dcm"))) == 16


def test_a_folder_that_cannot_be_written_is_refused(liverseg: Liverseg, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    answer = liverseg("phantom", "file")
    assert answer.code == 2 and "cannot be written to file" in answer.err
