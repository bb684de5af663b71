"""Results contain only those source attributes that the standard requires, even if headers are faulty."""

import logging
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from seg_scene import (
    CORNER,
    DX,
    SLICES,
    STEP,
    Array,
    apart_mm,
    labelled,
    measured,
    places,
    places_by_pydicom,
    read,
    series,
    source_of,
)

from custom_networks.dicom_out.seg import write_seg
from custom_networks.dicom_out.source import source_series
from custom_networks.dicom_out.sr import write_sr
from custom_networks.errors import InputError
from custom_networks.io.dicom.result_header import RESULT_KEYWORDS, result_header


def changed(change: Callable[[int, Dataset], object]) -> list[Dataset]:
    """The series after `change(k, dataset)` was applied to each slice."""
    slices = series()
    for k, dataset in enumerate(slices):
        change(k, dataset)
    return slices


def results(slices: list[Dataset], tmp_path: Path) -> list[Path]:
    """Write a SEG and an SR of the scene's liver, without lesions."""
    source, case, paths = source_of(slices), measured([]), [tmp_path / "seg.dcm", tmp_path / "sr.dcm"]
    seg = write_seg(paths[0], source, labelled(read(slices), []).array, case)
    write_sr(paths[1], source, seg, case)
    return paths


def test_only_the_patient_attributes_that_dicom_requires_are_copied(tmp_path: Path) -> None:
    for path in results(series(), tmp_path):
        result = pydicom.dcmread(path)
        assert (result.PatientName, result.PatientID, result.PatientBirthDate) == ("Doe^Jane", "ID 7", "19500102")
        assert (result.PatientSex, result.StudyID, result.AccessionNumber) == ("F", "S1", "A1")
        assert (result.StudyInstanceUID, result.StudyDate, result.StudyTime) == ("1.2.3.1", "20240101", "120000")
        assert result.ReferringPhysicianName == "Refer^Rita" and "PatientAge" not in result
        assert b"Secret" not in path.read_bytes()


def test_attributes_missing_in_the_source_stay_empty(tmp_path: Path) -> None:
    def strip(k: int, dataset: Dataset) -> None:
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate"):
            del dataset[keyword]
        del dataset.ReferringPhysicianName, dataset.AccessionNumber, dataset.StudyTime, dataset.SliceThickness

    for path in results(changed(strip), tmp_path):
        result = pydicom.dcmread(path)
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "AccessionNumber"):
            assert keyword in result and not result[keyword].value
    measures = pydicom.dcmread(tmp_path / "seg.dcm").SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert measures.SliceThickness == STEP


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_forbidden_values_are_left_out_without_quoting_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    def spoil(k: int, dataset: Dataset) -> None:
        dataset.PatientSex, dataset.PatientBirthDate, dataset.StudyTime = "Female", "2.1.1950", "25:00"
        dataset.StudyDate, dataset.PatientName = "20241341", "Jane Doe"

    slices = changed(spoil)
    caplog.clear()
    with caplog.at_level(logging.DEBUG):
        paths = results(slices, tmp_path)
    for result in map(pydicom.dcmread, paths):
        assert not result.PatientSex and not result.PatientBirthDate
        assert not result.StudyDate and not result.StudyTime and result.PatientName == "Jane Doe"
    assert "Doe" not in caplog.text + "".join(capsys.readouterr())


@pytest.mark.parametrize("charset", ["ISO_IR 100", "ISO_IR 192"])
def test_names_keep_their_letters_in_any_character_set(charset: str, tmp_path: Path) -> None:
    for k, dataset in enumerate(series()):
        dataset.SpecificCharacterSet, dataset.PatientName = charset, "Müller^Zoë"
        dataset.save_as(tmp_path / f"{k}.dcm", enforce_file_format=True)
    seg, _ = results([pydicom.dcmread(path) for path in sorted(tmp_path.glob("*.dcm"))], tmp_path)
    assert str(pydicom.dcmread(seg).PatientName) == "Müller^Zoë"


def test_files_and_data_sets_have_the_same_result_and_are_not_changed(tmp_path: Path) -> None:
    slices = series()
    before = deepcopy(slices)
    for k, dataset in enumerate(slices):
        dataset.save_as(tmp_path / f"{k}", enforce_file_format=True)
        part = pydicom.dcmread(tmp_path / f"{k}", stop_before_pixels=True, specific_tags=list(RESULT_KEYWORDS))
        assert result_header(part) == result_header(dataset)
    assert slices == before


def test_the_given_headers_are_not_changed() -> None:
    headers = read(changed(lambda k, dataset: setattr(dataset, "StudyInstanceUID", "")))
    before, labels = deepcopy(headers), labelled(series())
    source = source_series(headers, labels.affine, labels.array.shape)
    assert headers == before and source.headers[0].StudyInstanceUID


def test_the_grid_is_that_of_the_positions() -> None:
    source = source_of(series()[::-1])
    assert len(source.headers) == SLICES and source.notes == ()
    expected = np.diag([0.9, 0.7, STEP, 1.0])
    expected[:3, 3] = CORNER
    assert np.allclose(source.affine, expected)


def test_uids_of_the_file_meta_information_stand_in_for_empty_ones() -> None:
    def empty(k: int, dataset: Dataset) -> None:
        dataset.SOPInstanceUID = dataset.SOPClassUID = ""

    headers = source_of(changed(empty)).headers
    assert [h.SOPInstanceUID for h in headers] == [f"1.2.3.4.{k + 1}" for k in range(SLICES)]
    assert {h.SOPClassUID for h in headers} == {"1.2.840.10008.5.1.4.1.1.2"}


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_a_thickness_that_is_not_a_number_is_left_out(tmp_path: Path) -> None:
    seg, _ = results(changed(lambda k, d: setattr(d, "SliceThickness", None)), tmp_path)
    assert pydicom.dcmread(seg).SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness == STEP
    series()[0].save_as(tmp_path / "odd", enforce_file_format=True)
    number, text = b"\x18\x00\x50\x00DS\x04\x003.0 ", b"\x18\x00\x50\x00DS\x04\x00thin"
    (tmp_path / "odd").write_bytes((tmp_path / "odd").read_bytes().replace(number, text))
    odd = pydicom.dcmread(tmp_path / "odd")
    assert "SliceThickness" in odd and "SliceThickness" not in result_header(odd)


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"])
@pytest.mark.parametrize("fault", ["empty", "absent", "different"])
def test_a_missing_uid_is_generated_once_per_series_and_noted(keyword: str, fault: str, tmp_path: Path) -> None:
    def spoil(k: int, dataset: Dataset) -> None:
        if fault == "absent":
            del dataset[keyword]
        else:
            setattr(dataset, keyword, f"1.2.9.{k}" if fault == "different" else "")

    source = source_of(changed(spoil))
    uids = {h[keyword].value for h in source.headers}
    assert len(uids) == 1 and pydicom.uid.UID(uids.pop()).is_valid
    assert len(source.notes) == 1 and source.notes[0].startswith(f"{keyword} is ")
    assert source.headers == source_of(changed(spoil)[::-1]).headers  # SEG and SR fit each other
    results(changed(spoil), tmp_path)


def test_a_slice_without_a_valid_uid_is_refused() -> None:
    slices = changed(lambda k, dataset: dataset.pop("SOPInstanceUID"))
    del slices[3].file_meta.MediaStorageSOPInstanceUID
    with pytest.raises(InputError, match="Slice 4 has no SOPInstanceUID") as refusal:
        source_of(slices)
    assert "Doe" not in str(refusal.value)


@pytest.mark.parametrize("change", ["shifted", "fewer slices", "scaled"])
def test_a_label_map_on_another_grid_is_refused(change: str) -> None:
    labels = labelled(series())
    affine, shape = labels.affine.copy(), labels.array.shape
    if change == "shifted":
        affine[0, 3] += 0.1 * DX
    elif change == "scaled":
        affine[:3, 1] *= 1.01
    else:
        shape = labels.array[..., 1:].shape
    with pytest.raises(InputError, match="does not lie on the grid of its DICOM slices"):
        source_series(read(series()), affine, shape)


def test_an_affine_in_single_precision_is_accepted(tmp_path: Path) -> None:
    labels, path = labelled(series(), []), tmp_path / "seg.dcm"
    single: Array = labels.affine.astype(np.float32).astype(np.float64)
    write_seg(path, source_series(read(series()), single, labels.array.shape), labels.array, measured([]))
    assert apart_mm(places_by_pydicom(path, 1), places(labels, labels.array > 0)) < 1e-4
