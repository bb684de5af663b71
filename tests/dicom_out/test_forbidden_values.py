"""Values in the source that DICOM forbids do not make results invalid; a note says what is missing."""

import shutil
import subprocess
from pathlib import Path

import pydicom
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from seg_scene import labelled, measured, read, series

from custom_networks.dicom_out.results import write_dicom_results


def spoilt(**texts: tuple[str, str]) -> list[Dataset]:
    """The series with elements replaced by raw bytes, given by keyword as VR and text."""
    slices = series()
    for dataset in slices:
        for keyword, (vr, text) in texts.items():
            tag, value = Tag(keyword), text.encode()
            value += b" " * (len(value) % 2)
            dataset._dict[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)
    return slices


def written(folder: Path, slices: list[Dataset]) -> tuple[list[Path], str]:
    """The paths of SEG and SR, and the notes."""
    headers = read(slices)
    labels = labelled(read(series()))
    files, notes = write_dicom_results(
        folder, "ct", headers=headers, affine=labels.affine, labels=labels.array, measured=measured()
    )
    return [folder / name for name in files.values()], " ".join(notes)


CASES = {
    "long texts": dict(
        StudyID=("SH", "1.2.840.40823.1.1.1.198.14036768"),
        AccessionNumber=("SH", "ACC-2024-0000-1234-5678-99"),
        PatientID=("LO", "P" * 90),
        ReferringPhysicianName=("PN", "Dr\\Who"),
        PatientName=("PN", "N" * 70),
    ),
    "thickness": dict(SliceThickness=("DS", "ANON")),
    "thickness nan": dict(SliceThickness=("DS", "nan")),
    "ratio": dict(LossyImageCompression=("CS", "01"), LossyImageCompressionRatio=("DS", "10:1")),
    "ratio text": dict(LossyImageCompression=("CS", "01"), LossyImageCompressionRatio=("DS", "high")),
    "lossy": dict(LossyImageCompression=("CS", "YES")),
    "control characters": dict(PatientID=("LO", "a\x07b"), StudyTime=("TM", "25:00")),
}


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize("case", CASES)
def test_results_of_forbidden_values_are_valid_and_noted(case: str, tmp_path: Path) -> None:
    paths, notes = written(tmp_path, spoilt(**CASES[case]))
    assert len(paths) == 2, notes
    for keyword in CASES[case]:
        expected = case != "ratio"
        assert (keyword in notes) == expected or keyword == "LossyImageCompression", notes
    assert "PPPP" not in notes and "ANON" not in notes
    for path in paths if shutil.which("dciodvfy") else []:
        said = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True, check=False).stderr
        errors = [line for line in said.splitlines() if line.startswith("Error")]
        assert all("LossyImageCompression" in line and "ratio text" == case for line in errors), errors


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_a_compression_ratio_of_ten_to_one_is_read_as_ten(tmp_path: Path) -> None:
    paths, notes = written(tmp_path, spoilt(**CASES["ratio"]))
    assert pydicom.dcmread(paths[0]).LossyImageCompressionRatio == 10 and notes == ""


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize("uid", ["ab.12", "1.2." + "3" * 67, "1..2", "1.2\\1.3"])
def test_an_invalid_uid_is_never_rewritten(uid: str, tmp_path: Path) -> None:
    paths, notes = written(tmp_path, spoilt(SeriesInstanceUID=("UI", uid)))
    assert len(paths) == 2 and notes.startswith("SeriesInstanceUID is not a valid UID")
    paths, notes = written(tmp_path, spoilt(SOPInstanceUID=("UI", uid)))
    assert paths == [] and "Slice 1 has a SOPInstanceUID that is not a valid UID" in notes and uid not in notes


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_a_uid_with_leading_zeros_is_referred_to_unchanged(tmp_path: Path) -> None:
    paths, notes = written(tmp_path, spoilt(SeriesInstanceUID=("UI", "1.02.3")))
    (referenced,) = pydicom.dcmread(paths[0]).ReferencedSeriesSequence
    assert referenced.SeriesInstanceUID == "1.02.3" and notes == ""
