"""Key images and PDF as DICOM files with unchanged content, in the patient's study."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from seg_scene import SERIES, STUDY, Array, labelled, read, series

from custom_networks.dicom_out.captures import NOT_DICOM, write_captures

PDF = b"%PDF-1.4 of an odd length"


class Drawn(NamedTuple):
    """A picture as drawn by the report."""

    rgb: Array
    title: str
    orientation: tuple[str, str] = ("L", "P")


def pictures() -> list[Drawn]:
    rng = np.random.default_rng(3)
    return [Drawn(rng.integers(0, 255, (20 + n, 31, 3), dtype=np.uint8), f"Lesion {n}") for n in (1, 2)]


def write(folder: Path, slices: list[Dataset] | None = None, **options: Any) -> tuple[dict[str, str], tuple[str, ...]]:
    headers = read(slices or series())
    labels = labelled(headers)
    return write_captures(folder, "ct", headers=headers, affine=labels.affine, shape=labels.array.shape, **options)


def test_pictures_are_unchanged_and_form_one_series_of_the_study(tmp_path: Path) -> None:
    files, notes = write(tmp_path, pictures=pictures())
    assert files == {"dicom_key_image_1": "ct_key_01.dcm", "dicom_key_image_2": "ct_key_02.dcm"} and notes == ()
    read_back = [pydicom.dcmread(tmp_path / name) for name in files.values()]
    for number, (image, picture) in enumerate(zip(read_back, pictures(), strict=True), start=1):
        np.testing.assert_array_equal(image.pixel_array, picture.rgb)
        assert image.InstanceNumber == number and image.DerivationDescription == picture.title
        assert (image.PatientName, image.PatientID, image.StudyInstanceUID) == ("Doe^Jane", "ID 7", STUDY)
        assert list(image.PatientOrientation) == ["L", "P"] and image.BurnedInAnnotation == "NO"
    assert len({image.SeriesInstanceUID for image in read_back} | {SERIES}) == 2


def test_the_bytes_of_a_pdf_are_unchanged(tmp_path: Path) -> None:
    files, _ = write(tmp_path, pdf=PDF, names_patient=True)
    assert files == {"dicom_pdf": "ct_report.dcm"}
    document = pydicom.dcmread(tmp_path / "ct_report.dcm")
    assert document.EncapsulatedDocument[: document.EncapsulatedDocumentLength] == PDF
    assert (document.Modality, document.MIMETypeOfEncapsulatedDocument) == ("DOC", "application/pdf")
    assert (document.StudyInstanceUID, document.PatientID, document.BurnedInAnnotation) == (STUDY, "ID 7", "YES")


def test_a_case_that_was_not_dicom_gets_a_note_instead_of_captures(tmp_path: Path) -> None:
    found = write_captures(tmp_path, "ct", headers=(), affine=np.eye(4), shape=(1, 1, 1), pdf=PDF)
    assert found == ({}, (NOT_DICOM,)) and list(tmp_path.iterdir()) == []


def test_captures_of_slices_without_a_valid_uid_give_a_note(tmp_path: Path) -> None:
    slices = series()
    for header in slices:
        header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = ""
    files, (note,) = write(tmp_path, slices, pictures=pictures(), pdf=PDF)
    assert files == {} and note.startswith("Key images and PDF were not written: Slice 1 has no SOPInstanceUID")


@pytest.mark.parametrize(
    "saved, pdf, missing",
    [
        (0, b"", "Key images were"),
        (0, PDF, "Key images and PDF were"),
        (1, PDF, "Some key images and PDF were"),
        (2, PDF, "PDF was"),
    ],
)
def test_a_note_names_the_captures_that_a_full_disk_left_out_so_that_a_rerun_makes_them(
    saved: int, pdf: bytes, missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = iter(range(saved))

    def save(dataset: Dataset, path: Path) -> None:
        if next(room, None) is None:
            raise OSError("No space left on device")

    monkeypatch.setattr("custom_networks.dicom_out.captures.save_whole", save)
    files, (note,) = write(tmp_path, pictures=pictures()[:2], pdf=pdf)
    assert len(files) == saved and note == f"{missing} not written (OSError; --debug shows where)."


@pytest.mark.parametrize("name", ["Дое^Яна", "Müller^Jörg"])
def test_names_in_other_scripts_are_kept(name: str, tmp_path: Path) -> None:
    slices = series()
    for header in slices:
        header.SpecificCharacterSet, header.PatientName = "ISO_IR 192", name
    files, _ = write(tmp_path, slices, pictures=pictures()[:1], pdf=PDF)
    assert [str(pydicom.dcmread(tmp_path / file).PatientName) for file in files.values()] == [name, name]
