"""Phantoms on disk: MSD layout, a regular DICOM series, the same voxels in both formats, reproducible bytes."""

import json
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

from custom_networks.errors import UsageError
from custom_networks.phantom import files, make_phantom, write_phantoms

CASES, SEED = 2, 11


@pytest.fixture(scope="module", autouse=True)
def small_cases() -> Iterator[None]:
    """Write small phantoms, since the files' layout does not depend on the size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "make_phantom", lambda seed: make_phantom(seed, shape=(48, 40, 16), lesions=2))
        yield


@pytest.fixture(scope="module")
def nifti(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with two phantoms as NIfTI."""
    folder = tmp_path_factory.mktemp("nifti")
    write_phantoms(folder, CASES, SEED, "nifti")
    return folder


@pytest.fixture(scope="module")
def dicom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the same two phantoms as DICOM."""
    folder = tmp_path_factory.mktemp("dicom")
    write_phantoms(folder, CASES, SEED, "dicom")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every file below a folder, by relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_nifti_layout_is_that_of_the_decathlon(nifti: Path) -> None:
    assert sorted(contents(nifti)) == [
        "dataset.json",
        "imagesTr/phantom_000.nii.gz",
        "imagesTr/phantom_001.nii.gz",
        "labelsTr/phantom_000.nii.gz",
        "labelsTr/phantom_001.nii.gz",
    ]
    description = json.loads((nifti / "dataset.json").read_text())
    assert description["labels"] == {"0": "background", "1": "liver", "2": "tumor"}
    assert (description["modality"], description["numTraining"]) == ({"0": "CT"}, CASES)
    assert len(description["training"]) == CASES
    for case in description["training"]:
        image, label = nib.load(nifti / case["image"]), nib.load(nifti / case["label"])
        assert image.shape == label.shape == (48, 40, 16)
        np.testing.assert_array_equal(image.affine, label.affine)
        np.testing.assert_allclose(image.get_qform(), image.get_sform(), atol=1e-4)
        assert (image.get_data_dtype(), label.get_data_dtype()) == (np.int16, np.uint8)
        assert set(np.unique(label.dataobj)) == {0, 1, 2}


def test_each_file_contains_the_phantom_of_its_case(nifti: Path) -> None:
    phantom = files.make_phantom(files.case_seed(SEED, 1))
    image = nib.load(nifti / "imagesTr" / "phantom_001.nii.gz")
    np.testing.assert_array_equal(np.asarray(image.dataobj), phantom.image)
    np.testing.assert_allclose(image.affine, phantom.affine, atol=1e-4)


def test_neighbouring_seeds_share_no_case() -> None:
    seeds = {files.case_seed(seed, index) for seed in range(20) for index in range(20)}
    assert len(seeds) == 400


def test_the_images_paths_come_back_in_order(tmp_path: Path) -> None:
    assert write_phantoms(tmp_path, 2, 0) == [tmp_path / f"imagesTr/phantom_00{index}.nii.gz" for index in range(2)]
    series = write_phantoms(tmp_path / "d", 1, 0, "dicom")
    assert series == [tmp_path / "d" / "phantom_000"] and series[0].is_dir()


@pytest.mark.parametrize("format", ["nifti", "dicom"])
def test_writing_twice_gives_the_same_bytes_and_leaves_nothing_partial(
    format: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    first: Path = request.getfixturevalue(format)
    write_phantoms(tmp_path, CASES, SEED, format)  # type: ignore[arg-type]
    write_phantoms(tmp_path, CASES, SEED, format)  # type: ignore[arg-type]
    assert contents(tmp_path) == contents(first)


def test_a_series_is_regular_and_has_one_patient_study_and_frame(dicom: Path) -> None:
    slices = [pydicom.dcmread(path) for path in sorted((dicom / "phantom_000").iterdir())]
    assert len(slices) == 16
    positions = np.array([s.ImagePositionPatient for s in slices], float)
    np.testing.assert_allclose(np.diff(positions, axis=0), [[0, 0, slices[0].SliceThickness]] * 15, atol=1e-9)
    assert [s.InstanceNumber for s in slices] == list(range(1, 17))
    for name in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "PixelSpacing"):
        assert len({str(s[name].value) for s in slices}) == 1
    assert len({s.SOPInstanceUID for s in slices}) == 16
    assert str(slices[0].PatientName) == "PHANTOM^000" and slices[0].PatientPosition == "HFS"
    assert slices[0].ImageType == ["ORIGINAL", "PRIMARY", "AXIAL"]
    assert all(s.file_meta.MediaStorageSOPInstanceUID == s.SOPInstanceUID for s in slices)


def test_cases_of_a_set_differ_in_every_identifier(dicom: Path) -> None:
    first, second = (pydicom.dcmread(dicom / f"phantom_00{index}" / "IM0001.dcm") for index in range(2))
    for name in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID"):
        assert first[name].value != second[name].value


def test_dicom_and_nifti_of_the_same_seed_have_the_same_hu_at_the_same_positions(dicom: Path, nifti: Path) -> None:
    image = nib.load(nifti / "imagesTr" / "phantom_000.nii.gz")
    hu = np.asarray(image.dataobj)
    for k, path in enumerate(sorted((dicom / "phantom_000").iterdir())):
        dataset = pydicom.dcmread(path)
        values = dataset.pixel_array.astype(int) * int(dataset.RescaleSlope) + int(dataset.RescaleIntercept)
        np.testing.assert_array_equal(values, hu[:, :, k].T)
        row_spacing, column_spacing = (float(s) for s in dataset.PixelSpacing)
        column, row = 7, 3
        # DICOM PS3.3 C.7.6.2.1.1, with the identity orientation; from LPS to RAS x and y change sign.
        lps = np.array(dataset.ImagePositionPatient, float) + [column * column_spacing, row * row_spacing, 0]
        np.testing.assert_allclose(image.affine @ [column, row, k, 1], [-lps[0], -lps[1], lps[2], 1], atol=1e-3)


def test_both_formats_have_the_same_truth(dicom: Path, nifti: Path) -> None:
    for name in ("phantom_000.nii.gz", "phantom_001.nii.gz"):
        assert (dicom / "labels" / name).read_bytes() == (nifti / "labelsTr" / name).read_bytes()
    paths = json.loads((dicom / "dataset.json").read_text())["training"][1]
    assert paths == {"image": "./phantom_001", "label": "./labels/phantom_001.nii.gz"}


def test_a_series_has_the_attributes_that_a_highdicom_segmentation_needs(dicom: Path) -> None:
    highdicom = pytest.importorskip("highdicom")
    from pydicom.sr.codedict import codes

    slices = [pydicom.dcmread(path) for path in sorted((dicom / "phantom_000").iterdir())]
    label = nib.load(dicom / "labels" / "phantom_000.nii.gz")
    mask = (np.asarray(label.dataobj) > 0).transpose(2, 1, 0)
    description = highdicom.seg.SegmentDescription(
        segment_number=1,
        segment_label="Liver",
        segmented_property_category=codes.SCT.Organ,
        segmented_property_type=codes.SCT.Liver,
        algorithm_type="MANUAL",
    )
    segmentation = highdicom.seg.Segmentation(
        source_images=slices,
        pixel_array=mask,
        segmentation_type="BINARY",
        segment_descriptions=[description],
        series_instance_uid=highdicom.UID(),
        series_number=2,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="test",
        manufacturer_model_name="test",
        software_versions="1",
        device_serial_number="1",
    )
    assert segmentation.pixel_array.sum() == mask.sum()


def test_a_case_folder_with_other_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "phantom_000").mkdir()
    (tmp_path / "phantom_000" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="found notes.txt; choose another folder"):
        write_phantoms(tmp_path, 1, 0, "dicom")
    assert (tmp_path / "phantom_000" / "notes.txt").read_text() == "mine"


def test_bad_arguments_and_a_file_in_place_of_the_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="got 'nrrd'"):
        write_phantoms(tmp_path, 1, 0, "nrrd")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="got cases 0 and seed 3"):
        write_phantoms(tmp_path, 0, 3)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written to"):
        write_phantoms(tmp_path / "file", 1, 0)
