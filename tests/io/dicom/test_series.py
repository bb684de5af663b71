"""Slices are grouped into series independently of file names; mixed series are split if that is safe."""

import random
import tempfile
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from custom_networks.errors import InputError
from custom_networks.io import only_case, read_volume
from custom_networks.io.dicom.listing import list_series

Write = Callable[..., Path]


@given(seed=st.integers(0, 999), depth=st.integers(0, 3))
@settings(max_examples=8, deadline=None)
def test_file_names_order_and_folders_change_nothing(eight_slices: list[Dataset], seed: int, depth: int) -> None:
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        for number, dataset in enumerate(chance.sample(eight_slices, 8)):
            below = [chance.choice("ab") for _ in range(chance.randint(0, depth))]
            path = Path(folder, *below, chance.choice(["IM{}", "{}.dcm", "{}.ima", "x.{}"]).format(number))
            path.parent.mkdir(parents=True, exist_ok=True)
            dataset.save_as(path, enforce_file_format=True)
        volume = read_volume(folder)
    assert np.array_equal(volume.array.ravel(), np.arange(16 * 12 * 8) - 1024) and volume.notes == ()
    np.testing.assert_allclose(volume.affine[:3, 3], [50, 40, -100])


def test_headers_follow_the_last_axis_and_keep_only_what_dicom_results_need(write_series: Write) -> None:
    case = only_case(write_series())
    for headers in (case.read().headers, case.headers()):
        assert [header.ImagePositionPatient[2] for header in headers] == [-100 + 3 * k for k in range(8)]
        assert headers[0].PatientName == "Secret^Name"
        assert not {"PixelData", "InstanceNumber", "RescaleSlope"} & set(headers[0].dir())


def sizes(folder: Path) -> list[tuple[int, bool]]:
    """The number of slices of each series, and whether it can be segmented."""
    return sorted((len(part.slices), not part.reasons) for part in list_series(folder).series)


def twice(write_series: Write, change: Callable[[int, Dataset], object], name: str = "series") -> Path:
    """16 files under one SeriesInstanceUID: 8 slices with AcquisitionNumber 1, and 8 changed ones with 2."""

    def number(k: int, dataset: Dataset) -> None:
        dataset.SeriesInstanceUID = "1.2.7"
        dataset.AcquisitionNumber = 1

    def second(k: int, dataset: Dataset) -> object:
        number(k, dataset)
        dataset.AcquisitionNumber = 2
        return change(k, dataset)

    folder = write_series(number, name)
    write_series(second, f"{name}/2")
    return folder


def move(z: float) -> Callable[[int, Dataset], None]:
    """Shift slices along z."""
    return lambda k, dataset: setattr(dataset, "ImagePositionPatient", [-50, -40, -100 + 3 * k + z])


@pytest.mark.parametrize("z", [0, 0.005, 1.5, 10])
def test_overlapping_acquisitions_are_split(write_series: Write, z: float) -> None:
    folder = twice(write_series, move(z))
    assert sizes(folder) == [(8, True), (8, True)]
    volume = read_volume(folder)
    assert volume.array.shape == (16, 12, 8) and volume.spacing[2] == pytest.approx(3)
    assert "The series was split by AcquisitionNumber into 2 parts." in volume.notes


def test_consecutive_acquisitions_are_one_volume(write_series: Write) -> None:
    volume = read_volume(twice(write_series, move(24)))
    assert volume.array.shape == (16, 12, 16) and volume.spacing[2] == pytest.approx(3)
    assert volume.notes == ("2 acquisitions form one even stack: they were treated as one.",)


def test_a_gap_in_one_acquisition_does_not_make_the_other_a_volume(write_series: Write) -> None:
    def gap(k: int, dataset: Dataset) -> object:
        move(24)(k, dataset)
        return k != 4

    with pytest.raises(InputError, match="slices are missing.*2 acquisitions"):
        read_volume(twice(write_series, gap))


def test_frames_of_reference_are_kept_apart(write_series: Write) -> None:
    def other_frame(k: int, dataset: Dataset) -> None:
        move(24)(k, dataset)
        dataset.FrameOfReferenceUID, dataset.AcquisitionNumber = "1.2.4", 1

    assert sizes(twice(write_series, other_frame)) == [(8, True), (8, True)]


def test_a_second_orientation_is_split_off_if_the_axial_slices_are_complete(write_series: Write) -> None:
    def coronal(k: int, dataset: Dataset) -> None:
        dataset.ImageOrientationPatient, dataset.AcquisitionNumber = [1, 0, 0, 0, 0, -1], 1
        dataset.ImagePositionPatient = [-50, -40 + 3 * k, 0]

    folder = twice(write_series, coronal)
    assert sizes(folder) == [(8, False), (8, True)]
    assert "The series was split by ImageOrientationPatient into 2 parts." in read_volume(folder).notes


def test_a_scout_within_the_series_is_left_out(write_series: Write) -> None:
    def scout(k: int, dataset: Dataset) -> object:
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        return k == 0

    volume = read_volume(twice(write_series, scout))
    assert volume.array.shape == (16, 12, 8)
    assert "1 file was skipped: localizers (scouts)." in volume.notes


def test_slices_of_other_sizes_are_not_split_off(write_series: Write) -> None:
    def smaller(k: int, dataset: Dataset) -> None:
        move(24)(k, dataset)
        dataset.Rows, dataset.AcquisitionNumber = 6, 1

    with pytest.raises(InputError, match=r"slices differ in size: 16 x 12 \(8\), 16 x 6 \(8\)"):
        read_volume(twice(write_series, smaller))


def test_slices_with_the_same_uid_but_another_image_are_not_copies(write_series: Write) -> None:
    folder = write_series()

    def darker(k: int, dataset: Dataset) -> object:
        dataset.SOPInstanceUID, dataset.SeriesInstanceUID = first.SOPInstanceUID, first.SeriesInstanceUID
        dataset.RescaleIntercept = -1000
        return k == 0

    first = only_case(folder).headers()[0]
    write_series(darker, "series/2")
    with pytest.raises(InputError, match="2 different images have the same.*lie at|lie at.*2 different images have"):
        read_volume(folder)


def test_a_stack_under_15_mm_is_refused(write_series: Write) -> None:
    def thin(k: int, dataset: Dataset) -> None:
        dataset.ImagePositionPatient = [-50, -40, 1.5 * k]

    with pytest.raises(InputError, match="Its 8 slices cover 12 mm, but at least 15 mm are needed"):
        read_volume(write_series(thin))


def test_one_series_of_two_patients_is_refused(write_series: Write) -> None:
    def of_another(k: int, dataset: Dataset) -> None:
        move(24)(k, dataset)
        dataset.PatientID = "Secret2"

    folder = twice(write_series, of_another)
    with pytest.raises(InputError, match="Images of 2 patients share its SeriesInstanceUID") as caught:
        read_volume(f"{folder}::1")
    assert "Secret" not in str(caught.value)


def test_series_without_a_uid_are_distinguished_by_their_number(write_series: Write) -> None:
    def numbered(number: int) -> Callable[[int, Dataset], None]:
        def change(k: int, dataset: Dataset) -> None:
            dataset.SeriesInstanceUID, dataset.SeriesNumber = "", number
            dataset.SOPInstanceUID, dataset.StudyInstanceUID = generate_uid(), "1.2"

        return change

    write_series(numbered(2), "exam/a")
    assert sizes(write_series(numbered(3), "exam/b").parent) == [(8, True), (8, True)]


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@given(
    uids=st.lists(st.text("12.ab", min_size=1, max_size=4).filter(lambda uid: uid.strip(".")), min_size=1, max_size=4),
    seed=st.integers(0, 99),
)
@settings(max_examples=30, deadline=None)
def test_slices_belong_to_one_series_only_if_their_whole_uids_agree(
    eight_slices: list[Dataset], uids: list[str], seed: int
) -> None:
    chance, files = random.Random(seed), []
    with tempfile.TemporaryDirectory() as folder, disable_value_validation():
        for number, dataset in enumerate(eight_slices):
            copy = deepcopy(dataset)
            copy.SeriesInstanceUID = uids[number % len(uids)]
            files.append((Path(folder, f"{chance.random()}"), copy))
        for path, copy in files:
            copy.save_as(path, enforce_file_format=True)
        series = list_series(Path(folder)).series
    assert sum(len(part.slices) for part in series) == 8
    assert {header.series_uid for part in series for header in part.slices} == set(uids)
    if len(set(uids)) < 8:
        assert all(len({header.series_uid for header in part.slices}) == 1 for part in series)


@pytest.mark.parametrize("keyword", ["SeriesInstanceUID", "StudyInstanceUID"])
def test_slices_with_different_series_uids_can_be_one_series_with_a_note(
    write_series: Write, hounsfield: np.ndarray, keyword: str
) -> None:
    def each(k: int, dataset: Dataset) -> None:
        dataset.PatientID = "Secret"
        dataset.SeriesInstanceUID = dataset.StudyInstanceUID = "1.2.9"
        setattr(dataset, keyword, f"1.2.9.{k}")

    case = only_case(write_series(each))
    assert np.array_equal(case.read().array, hounsfield)
    assert case.notes == (f"{keyword} has 8 different values: the slices were treated as one series.",)
    assert case.identity == case.content and case.series is not None and case.series.series_instance_uid == ""


def test_reconstructions_with_different_kernels_are_split(write_series: Write) -> None:
    for kernel in ("B30f", "B70f"):

        def change(k: int, dataset: Dataset) -> None:
            dataset.SeriesInstanceUID, dataset.ConvolutionKernel = "1.2.7", kernel

        write_series(change, f"series/{kernel}")
    folder = write_series(lambda k, dataset: False)
    assert sizes(folder) == [(8, True), (8, True)]
    assert "split by ConvolutionKernel into 2" in " ".join(read_volume(folder).notes)
