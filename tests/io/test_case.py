"""Cases are identified by origin and content, and are read from memory in the same way as from files."""

import pickle
from collections.abc import Callable
from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pytest
from pydicom.dataset import Dataset

from custom_networks.errors import InputError, UsageError
from custom_networks.io import Case, case_of_array, case_of_image, find_cases, list_cases, only_case, read_volume

Write = Callable[..., Path]


def known(k: int, dataset: Dataset) -> None:
    """Slices with fixed UIDs."""
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.8", "1.2.9"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.9.{k}"
    dataset.PatientID, dataset.SeriesNumber = "Secret1", 4


def test_the_identity_of_a_series_does_not_depend_on_its_folder(write_series: Write) -> None:
    first, moved = only_case(write_series(known, "a")), only_case(write_series(known, "b/c"))
    assert first.source != moved.source and (first.name, moved.name) == ("a", "c")
    assert (first.identity, first.content, first.geometry) == (moved.identity, moved.content, "")


def test_another_patient_study_or_series_has_another_identity(write_series: Write) -> None:
    def changed(**values: str) -> Case:
        def change(k: int, dataset: Dataset) -> None:
            known(k, dataset)
            for keyword, value in values.items():
                setattr(dataset, keyword, value)

        return only_case(write_series(change, "-".join(values)))

    cases = [changed(PatientID="Secret2"), changed(StudyInstanceUID="1.3"), changed(SeriesInstanceUID="1.4")]
    cases.append(only_case(write_series(known)))
    assert len({case.identity for case in cases}) == 4 and len({case.content for case in cases}) == 1


def test_fewer_slices_of_a_series_have_the_same_identity_and_other_content(write_series: Write) -> None:
    def fewer(k: int, dataset: Dataset) -> bool:
        known(k, dataset)
        return k < 7

    whole, part = only_case(write_series(known, "whole")), only_case(write_series(fewer, "part"))
    assert whole.identity == part.identity and whole.content != part.content


def test_without_a_series_uid_the_identity_is_the_content(write_series: Write, hounsfield: np.ndarray) -> None:
    def nameless(k: int, dataset: Dataset) -> None:
        known(k, dataset)
        dataset.SeriesInstanceUID = ""

    case = only_case(write_series(nameless))
    assert case.identity == case.content == only_case(write_series(known, "named")).content


def test_with_an_empty_sop_uid_the_content_is_the_digest_of_the_bytes(write_series: Write) -> None:
    def empty(value: int) -> Callable[[int, Dataset], None]:
        def change(k: int, dataset: Dataset) -> None:
            known(k, dataset)
            dataset.SOPInstanceUID = dataset.SeriesInstanceUID = dataset.StudyInstanceUID = ""
            pixels = np.frombuffer(dataset.PixelData, np.int16).copy()
            pixels[5] = value
            dataset.PixelData = pixels.tobytes()

        return change

    one, same, other = (only_case(write_series(empty(v), name)) for v, name in ((7, "a"), (7, "b"), (8, "c")))
    assert one.identity == one.content == same.identity != other.identity


def test_cases_split_from_one_series_have_different_identities(write_series: Write, tmp_path: Path) -> None:
    def second(k: int, dataset: Dataset) -> None:
        known(k, dataset)
        dataset.AcquisitionNumber, dataset.SOPInstanceUID = 2, f"1.2.10.{k}"

    def first(k: int, dataset: Dataset) -> None:
        known(k, dataset)
        dataset.AcquisitionNumber = 1

    write_series(first, "exam")
    folder = write_series(second, "exam/2").parent
    cases = [only_case(f"{folder}::{number}") for number in (1, 2)]
    assert len({case.identity for case in cases} | {case.content for case in cases}) == 4


def test_the_series_facts_of_a_report_are_known_before_reading(write_series: Write, write_nifti: Write) -> None:
    info = only_case(write_series(known)).series
    assert info is not None
    assert (info.series_instance_uid, info.series_number, info.slices) == ("1.2.9", 4, 8)
    assert info.spacing_mm == pytest.approx((0.8, 0.7, 3.0))


def test_a_file_is_identified_by_its_path_and_has_content_and_geometry(
    write_nifti: Write, hounsfield: np.ndarray
) -> None:
    path = write_nifti(hounsfield)
    before = only_case(path)
    link = path.with_name("link.nii.gz")
    link.symlink_to(path)
    told = (before.identity, before.content, before.geometry)
    assert told == (only_case(link).identity, only_case(link).content, only_case(link).geometry)
    write_nifti(hounsfield + 1)
    after = only_case(path)
    assert after.identity == before.identity and after.content != before.content and after.geometry == before.geometry
    write_nifti(hounsfield[:-1])
    assert only_case(path).geometry != before.geometry
    assert only_case(write_nifti(hounsfield, name="b.nii.gz")).identity != before.identity


def test_the_content_depends_on_voxels_even_if_the_header_is_the_same(
    write_nifti: Write, hounsfield: np.ndarray
) -> None:
    image = itk.imread(str(write_nifti(hounsfield, name="ct.nii")))
    for name, data in (("ct.mhd", "ct.raw"), ("ct.nhdr", "ct.raw")):
        header = write_nifti(hounsfield, name="ct.nii").with_name(name)
        itk.imwrite(image, str(header))
        before = only_case(header)
        told = (before.identity, before.content, before.geometry)
        content = bytearray(header.with_name(data).read_bytes())
        content[100] ^= 1
        header.with_name(data).write_bytes(content)
        after = only_case(header)
        assert (after.identity, after.geometry) == (told[0], told[2]) and after.content != told[1]


@pytest.mark.parametrize("dtype", [np.int16, np.float64, ">i2"])
def test_an_array_is_read_like_its_file(write_nifti: Write, hounsfield: np.ndarray, dtype: type) -> None:
    path = write_nifti(hounsfield)
    affine = nib.load(path).affine
    case = case_of_array(hounsfield.astype(dtype), affine, name="Müller 1.nii.gz")
    assert (case.name, case.source, case.notes, case.series, case.headers()) == ("M_ller_1", "array", (), None, ())
    volume, expected = case.read(), read_volume(path)
    assert np.array_equal(volume.array, expected.array) and np.array_equal(volume.affine, expected.affine)
    assert volume.array.dtype == (np.float32 if dtype == np.float64 else np.int16) and volume.array.dtype.isnative


def test_arrays_are_identified_by_values_and_affine(hounsfield: np.ndarray, affine: np.ndarray) -> None:
    case = case_of_array(hounsfield, affine)
    assert case.identity == case.content == case_of_array(np.asfortranarray(hounsfield), affine.tolist()).identity
    other, moved = hounsfield.copy(), affine.copy()
    other[3, 4, 5] += 1
    moved[2, 3] += 1
    assert len({c.identity for c in (case, case_of_array(other, affine), case_of_array(hounsfield, moved))}) == 3


def test_a_nibabel_image_is_read_like_its_file(write_nifti: Write, hounsfield: np.ndarray, affine: np.ndarray) -> None:
    path = write_nifti(hounsfield)
    loaded, made = nib.load(path), nib.Nifti1Image(hounsfield, affine)
    for image, name in ((loaded, "ct"), (made, "case")):
        case = case_of_image(image)
        assert (case.name, case.source) == (name, "array")
        volume = case.read()
        assert volume.array.dtype == np.int16 and np.array_equal(volume.array, hounsfield)
        np.testing.assert_allclose(volume.affine, affine, atol=1e-5)
        assert np.array_equal(pickle.loads(pickle.dumps(case)).read().array, hounsfield)
    assert case_of_image(loaded).identity == case_of_image(nib.load(path)).identity
    assert case_of_image(made).identity != case_of_image(nib.Nifti1Image(hounsfield + 1, affine)).identity


def test_arrays_are_checked_like_files(hounsfield: np.ndarray, affine: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"array is 2D \(16 x 12\)"):
        case_of_array(hounsfield[..., 0], affine).read()
    with pytest.raises(InputError, match="array: intensities are not Hounsfield units"):
        case_of_array(hounsfield + 1024, affine).read()
    with pytest.raises(InputError, match="array holds bool voxels, but integers or real numbers are needed"):
        case_of_array(hounsfield > 0, affine).read()
    with pytest.raises(InputError, match="array has no usable affine"):
        case_of_array(hounsfield, np.zeros((4, 4))).read()
    with pytest.raises(UsageError, match=r"4 x 4 matrix, got shape \(3, 3\)"):
        case_of_array(hounsfield, np.eye(3))
    with pytest.raises(UsageError, match="Nifti1Image is needed, got ndarray"):
        case_of_image(hounsfield)  # type: ignore[arg-type]


def test_only_case_refuses_several_cases(write_nifti: Write, hounsfield: np.ndarray) -> None:
    folder = write_nifti(hounsfield).parent
    assert only_case(folder).source == str(folder / "ct.nii.gz")
    write_nifti(hounsfield, name="b.nii.gz")
    with pytest.raises(UsageError, match=r"holds 2 volumes \(.*\): give one of them, such as .*b.nii.gz\."):
        only_case(folder)
    with pytest.raises(InputError, match="No such file or folder"):
        only_case(folder / "absent")


def test_each_input_becomes_one_case_or_a_message_if_it_has_none(write_nifti: Write, hounsfield: np.ndarray) -> None:
    path = write_nifti(hounsfield)
    cases, failures = find_cases([str(path), str(path.parent), str(path.parent / "absent")])
    assert [case.source for case in cases] == [str(path)]
    assert len(failures) == 1 and "No such file or folder" in failures[0]


def test_an_unreadable_input_raises_when_it_is_read(write_series: Write, tmp_path: Path) -> None:
    folder = write_series(lambda k, dataset: k != 4)
    (tmp_path / "bad.zip").write_text("not an archive")
    for source, sentence in ((folder, "slices are missing"), (tmp_path / "bad.zip", "not a readable zip archive")):
        for case in (only_case(source), list_cases(tmp_path, [source.name])[0]["image"]):
            assert case.source == str(source) and case.identity
            with pytest.raises(InputError, match=sentence):
                pickle.loads(pickle.dumps(case)).read()


@pytest.mark.parametrize("place", ["ct.raw", "./ct.raw"])
def test_the_content_of_a_detached_header_includes_its_voxels(tmp_path: Path, place: str) -> None:
    data = tmp_path / place
    data.write_bytes(b"voxels")
    header = tmp_path / "ct.mhd"
    geometry = "TransformMatrix = 1 0 0 0 1 0 0 0 1\nElementSpacing = 1 1 3\nOffset = 0 0 0\n"
    header.write_text(f"NDims = 3\nDimSize = 1 2 3\nElementType = MET_UCHAR\n{geometry}ElementDataFile = {place}\n")
    before = only_case(header).content
    data.write_bytes(b"others")
    assert only_case(header).content != before
