"""Enhanced multi-frame CT (one file for all slices), as highdicom makes it, is refused by its name."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from custom_networks.errors import InputError
from custom_networks.io import read_volume

EMPTY = "PatientBirthDate PatientSex StudyID AccessionNumber ReferringPhysicianName Manufacturer".split()
REFUSED = "1 of 1 files are enhanced multi-frame CT, which is not supported: export as classic CT"


def complete(k: int, dataset: Dataset) -> None:
    """What a slice needs to be made part of an enhanced image."""
    for keyword in (*EMPTY, "PositionReferenceIndicator", "BodyPartExamined"):
        setattr(dataset, keyword, "")
    dataset.PatientID, dataset.StudyInstanceUID, dataset.AcquisitionNumber, dataset.KVP = "1", "1.2.4", 1, 120
    dataset.PatientPosition, dataset.SeriesNumber = "HFS", 1
    dataset.StudyDate = dataset.ContentDate = dataset.AcquisitionDate = "20240101"
    dataset.StudyTime = dataset.ContentTime = dataset.AcquisitionTime = "120000"


@pytest.fixture
def classic(write_series: Callable[..., Path]) -> Path:
    return write_series(complete, "exam/classic")


@pytest.fixture
def enhanced(classic: Path) -> Path:
    """The slices of the classic series as one file, in a folder beside it."""
    legacy = pytest.importorskip("highdicom.legacy", reason="highdicom, of the extra dicom, makes enhanced CT")
    slices = [dcmread(path) for path in sorted(classic.iterdir())]
    image = legacy.LegacyConvertedEnhancedCTImage(slices, generate_uid(), 2, generate_uid(), 1)
    folder = classic.with_name("enhanced")
    folder.mkdir()
    image.save_as(folder / "all slices")
    assert image.NumberOfFrames == 8 and "PixelSpacing" not in image
    return folder


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_alone_it_is_refused_by_name(enhanced: Path) -> None:
    with pytest.raises(InputError, match=f"{REFUSED} \\(first: all slices\\)"):
        read_volume(enhanced)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_beside_a_classic_series_it_is_skipped_with_a_note(enhanced: Path, hounsfield: np.ndarray) -> None:
    volume = read_volume(enhanced.parent)
    assert np.array_equal(volume.array, hounsfield)
    assert any("was skipped" in note and REFUSED in note for note in volume.notes)
