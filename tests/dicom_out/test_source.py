"""Of the source only what the standard needs enters a result, whatever else and whatever faults its headers hold."""

import logging
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from seg_scene import CORNER, SLICES, STANDARD, STEP, labelled, series, slice_header

from custom_networks.dicom_out.seg import write_seg
from custom_networks.dicom_out.source import read_source
from custom_networks.dicom_out.sr import write_sr
from custom_networks.errors import InputError


def changed(change: Callable[[int, Dataset], object]) -> list[Dataset]:
    """The series with `change(k, dataset)` done to each slice."""
    slices = series()
    for k, dataset in enumerate(slices):
        change(k, dataset)
    return slices


def results(slices: list[Dataset], tmp_path: Path) -> list[Path]:
    """A SEG and an SR of the scene's liver, without lesions."""
    source, paths = read_source(slices), [tmp_path / "seg.dcm", tmp_path / "sr.dcm"]
    seg = write_seg(labelled(series(), []), source, paths[0], [])
    write_sr(source, seg, paths[1], [], liver_ml=1.0)
    return paths


def test_only_what_the_standard_needs_of_the_patient_is_copied(tmp_path: Path) -> None:
    for path in results(series(), tmp_path):
        result = pydicom.dcmread(path)
        assert (result.PatientName, result.PatientID, result.PatientBirthDate) == ("Doe^Jane", "ID 7", "19500102")
        assert (result.PatientSex, result.StudyID, result.AccessionNumber) == ("F", "S1", "A1")
        assert (result.StudyInstanceUID, result.StudyDate, result.StudyTime) == ("1.2.3.1", "20240101", "120000")
        assert result.ReferringPhysicianName == "Refer^Rita" and "PatientAge" not in result
        assert b"Secret" not in path.read_bytes()


def test_what_the_source_does_not_say_stays_empty(tmp_path: Path) -> None:
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
def test_values_that_the_standard_forbids_are_left_out_and_nothing_is_said_aloud(
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
def test_names_keep_their_letters_whatever_their_character_set(charset: str, tmp_path: Path) -> None:
    for k, dataset in enumerate(series()):
        dataset.SpecificCharacterSet, dataset.PatientName = charset, "Müller^Zoë"
        dataset.save_as(tmp_path / f"{k}.dcm", enforce_file_format=True)
    source = read_source(sorted(tmp_path.glob("*.dcm")))
    write_seg(labelled(series(), []), source, tmp_path / "seg", [])
    assert str(pydicom.dcmread(tmp_path / "seg").PatientName) == "Müller^Zoë"


def test_files_and_data_sets_give_the_same_and_stay_as_they_are(tmp_path: Path) -> None:
    slices = series()
    before = deepcopy(slices)
    for k, dataset in enumerate(slices):
        dataset.save_as(tmp_path / f"{k}", enforce_file_format=True)
    of_files, of_datasets = read_source(list(tmp_path.iterdir())), read_source(slices)
    assert of_files.headers == of_datasets.headers
    assert np.array_equal(of_files.affine, of_datasets.affine)
    assert slices == before


def test_the_grid_is_that_of_the_positions() -> None:
    source = read_source(series()[::-1])
    assert source.shape == (13, 10, SLICES) and source.notes == ()
    expected = np.diag([-0.9, -0.7, STEP, 1.0])
    expected[:3, 3] = CORNER * [-1, -1, 1]
    assert np.allclose(source.affine, expected)


def test_copies_of_a_slice_count_once() -> None:
    assert read_source([*series(), *series()[2:4]]).shape[2] == SLICES


def test_uids_of_the_file_meta_information_stand_in_for_empty_ones() -> None:
    def empty(k: int, dataset: Dataset) -> None:
        dataset.SOPInstanceUID = dataset.SOPClassUID = ""

    headers = read_source(changed(empty)).headers
    assert [h.SOPInstanceUID for h in headers] == [f"1.2.3.4.{k + 1}" for k in range(SLICES)]
    assert {h.SOPClassUID for h in headers} == {"1.2.840.10008.5.1.4.1.1.2"}


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"])
@pytest.mark.parametrize("fault", ["empty", "absent", "different"])
def test_a_uid_that_a_series_does_not_have_is_made_up_once_and_noted(keyword: str, fault: str, tmp_path: Path) -> None:
    def spoil(k: int, dataset: Dataset) -> None:
        if fault == "absent":
            del dataset[keyword]
        else:
            setattr(dataset, keyword, f"1.2.9.{k}" if fault == "different" else "")

    source = read_source(changed(spoil))
    uids = {h[keyword].value for h in source.headers}
    assert len(uids) == 1 and pydicom.uid.UID(uids.pop()).is_valid
    assert len(source.notes) == 1 and source.notes[0].startswith(f"{keyword} is ")
    assert source.headers == read_source(changed(spoil)[::-1]).headers  # SEG and SR fit each other
    results(changed(spoil), tmp_path)


def without(keyword: str) -> list[Dataset]:
    """The series without an attribute."""
    return changed(lambda k, dataset: dataset.pop(keyword))


def nameless() -> list[Dataset]:
    """A series without SOPInstanceUID, in the file meta information neither."""
    slices = without("SOPInstanceUID")
    del slices[3].file_meta.MediaStorageSOPInstanceUID
    return slices


def foreign(**values: object) -> list[Dataset]:
    """The series with other values in one slice."""
    slices = series()
    slices[2].update(values)
    return slices


@pytest.mark.parametrize(
    "slices,reason",
    [
        (series()[:1], "at least 2 slices, got 1"),
        ([], "at least 2 slices, got 0"),
        (nameless(), "no SOPInstanceUID"),
        (without("ImagePositionPatient"), "no geometry"),
        (without("ImageOrientationPatient"), "no geometry"),
        (without("PixelSpacing"), "no geometry"),
        (foreign(PatientID="ID 8"), "different patients"),
        (foreign(Columns=14), "differ in size"),
        (foreign(PixelSpacing=[0.8, 0.9]), "differ in size or pixel spacing"),
        (foreign(ImageOrientationPatient=[-1, 0, 0, 0, 1, 0]), "differ in orientation"),
        (series()[:3] + series()[4:], "slices are missing"),
        ([*series(), slice_header(20, STANDARD, CORNER)], "same position"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_slices_that_no_result_can_stand_on_are_refused(slices: list[Dataset], reason: str) -> None:
    with pytest.raises(InputError, match=reason) as refusal:
        read_source(slices)
    assert "Doe" not in str(refusal.value)


def test_a_file_without_geometry_is_named(tmp_path: Path) -> None:
    (tmp_path / "IM1").write_bytes(b"no DICOM")
    with pytest.raises(InputError, match="IM1 has no geometry"):
        read_source([tmp_path / "IM1"])
