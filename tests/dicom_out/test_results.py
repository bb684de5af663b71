"""SEG and SR of a DICOM case are written; if one cannot be written, a note gives the reason."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from seg_scene import labelled, measured, read, series

from custom_networks.dicom_out.results import write_dicom_results

Written = tuple[dict[str, str], tuple[str, ...]]


def write(folder: Path, headers: list[Dataset], **options: Any) -> Written:
    """Write the results of the scene's case to a folder that does not exist yet."""
    labels = labelled(read(series()))
    given = {"headers": headers, "affine": labels.affine, "labels": labels.array, "measured": measured()}
    return write_dicom_results(folder / "ct", "ct", **{**given, **options})


def test_a_case_gets_a_seg_and_an_sr_that_belong_together(tmp_path: Path) -> None:
    files, notes = write(tmp_path, read(series()))
    assert files == {"dicom_seg": "ct_seg.dcm", "dicom_sr": "ct_sr.dcm"} and notes == ()
    seg, sr = (pydicom.dcmread(tmp_path / "ct" / name) for name in files.values())
    assert (seg.Modality, sr.Modality) == ("SEG", "SR") and seg.StudyInstanceUID == sr.StudyInstanceUID
    assert sorted(path.name for path in (tmp_path / "ct").iterdir()) == ["ct_seg.dcm", "ct_sr.dcm"]


def test_a_case_that_was_not_dicom_gets_no_dicom_results(tmp_path: Path) -> None:
    assert write(tmp_path, []) == ({}, ())
    assert not list(tmp_path.iterdir())


def test_empty_frames_are_kept_on_request(tmp_path: Path) -> None:
    files, _ = write(tmp_path, read(series()), keep_empty_frames=True)
    assert pydicom.dcmread(tmp_path / "ct" / files["dicom_seg"]).NumberOfFrames == 3 * len(series())


def test_generated_attributes_are_noted_beside_the_files(tmp_path: Path) -> None:
    headers = read(series())
    for header in headers:
        header.FrameOfReferenceUID = ""
    files, notes = write(tmp_path, headers)
    assert len(files) == 2 and [note.split()[0] for note in notes] == ["FrameOfReferenceUID"]


def test_slices_that_results_cannot_refer_to_give_a_note_with_the_reason(tmp_path: Path) -> None:
    headers = read(series())
    headers[1].SOPInstanceUID = ""
    assert write(tmp_path, headers) == (
        {},
        (
            "DICOM SEG and SR were not written: Slice 2 has no SOPInstanceUID, so DICOM results cannot refer to it: "
            "export the series again.",
        ),
    )
    files, notes = write(tmp_path, read(series()), affine=np.eye(4))
    assert not files and notes[0].startswith("DICOM SEG and SR were not written: The label map does not lie on")


@pytest.mark.parametrize(
    "refused, missing, kept",
    [("sr", "DICOM SR was", {"dicom_seg": "ct_seg.dcm"}), ("seg", "DICOM SEG and SR were", {})],
)
def test_a_failed_dicom_result_becomes_a_note_without_patient_text(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    refused: str,
    missing: str,
    kept: dict[str, str],
) -> None:
    def fail(*arguments: object, **named: object) -> None:
        raise ValueError("Invalid value: DOE^JANE")

    monkeypatch.setattr(f"custom_networks.dicom_out.{refused}.write_{refused}", fail)
    with caplog.at_level(logging.INFO):
        answer = write(tmp_path, read(series()))
    assert answer == (kept, (f"{missing} not written (ValueError; --debug shows where).",))
    assert "DOE" not in caplog.text
