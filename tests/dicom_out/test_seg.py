"""A SEG has the voxels of its label map at the same positions, describes its segments, and may be empty."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from scipy.spatial.transform import Rotation
from seg_scene import (
    COLUMNS,
    LESIONS,
    ROWS,
    SLICES,
    STANDARD,
    STEP,
    Array,
    apart_mm,
    labelled,
    measured,
    places,
    places_by_pydicom,
    read,
    segment_number,
    series,
    sign_combinations,
    source_of,
)

from custom_networks import __version__
from custom_networks.dicom_out.seg import SegObject, write_seg
from custom_networks.errors import UsageError
from custom_networks.io.volume import Volume

SMALLER = (LESIONS[1], LESIONS[0])
SAME_PLACE_MM = 1e-4  # a voxel is 0.7 x 0.9 x 2.5; positions are written to six decimals


def written(tmp_path: Path, slices: Sequence[Dataset] | None = None, **options: int) -> tuple[Volume, SegObject, Path]:
    """Write the SEG of the scene's label map on a series."""
    slices, path = slices or series(), tmp_path / "seg.dcm"
    labels = labelled(read(slices))
    seg = write_seg(path, source_of(slices), labels.array, measured(), **options)  # type: ignore[arg-type]
    return labels, seg, path


def places_by_highdicom(path: Path, segment: int) -> Array:
    """Patient coordinates (LPS, mm) of one segment's voxels, as read by highdicom."""
    volume = hd.seg.segread(path).get_volume(segment_numbers=[segment], combine_segments=True)
    index = np.array(np.nonzero(volume.array))
    return np.asarray((volume.affine[:3, :3] @ index + volume.affine[:3, 3:]).T)


def check_places(labels: Volume, path: Path) -> None:
    """Assert that each segment of the scene has the voxels of its part, as read by pydicom and by highdicom."""
    components = np.zeros((COLUMNS, ROWS, SLICES), int)
    for number, box in enumerate(LESIONS, start=2):
        components[box] = number
    parts = {1: labels.array > 0, 2: components == 2, 3: components == 3}
    for segment, mask in parts.items():
        assert mask.any()
        assert apart_mm(places_by_pydicom(path, segment), places(labels, mask)) < SAME_PLACE_MM
        assert apart_mm(places_by_highdicom(path, segment), places(labels, mask)) < SAME_PLACE_MM


@pytest.mark.parametrize("row,column,scan", sign_combinations())
def test_voxels_keep_their_position_for_every_sign_of_the_direction_cosines(
    row: float, column: float, scan: float, tmp_path: Path
) -> None:
    labels, _, path = written(tmp_path, series(STANDARD * [[row], [column]], scan))
    check_places(labels, path)


@settings(
    max_examples=10, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(tilt=st.tuples(*[st.floats(-10, 10)] * 2, st.floats(-180, 180)), signs=st.sampled_from(sign_combinations()))
def test_voxels_of_oblique_slices_keep_their_position(
    tilt: tuple[float, ...], signs: tuple[float, ...], tmp_path: Path
) -> None:
    axes = (STANDARD * [[signs[0]], [signs[1]]]) @ Rotation.from_euler("xyz", tilt, degrees=True).as_matrix().T
    labels, seg, path = written(tmp_path, series(axes, signs[2]))
    assert seg.segment_of == {1: 2, 2: 3}
    check_places(labels, path)


def check_sources(path: Path, slices: Sequence[Dataset]) -> None:
    """Assert that every frame refers to the slice at its own position as its source."""
    positions = {s.SOPInstanceUID: s.ImagePositionPatient for s in slices}
    groups = pydicom.dcmread(path).PerFrameFunctionalGroupsSequence
    assert len(groups) == 5 + 2 + 1
    for group in groups:
        (source,) = group.DerivationImageSequence[0].SourceImageSequence
        assert positions[source.ReferencedSOPInstanceUID] == group.PlanePositionSequence[0].ImagePositionPatient
        assert source.SpatialLocationsPreserved == "YES"


def test_every_frame_refers_to_the_slice_at_its_position(tmp_path: Path) -> None:
    _, _, path = written(tmp_path)
    check_sources(path, series())
    seg = pydicom.dcmread(path)
    referenced = {item.ReferencedSOPInstanceUID for item in seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    assert referenced == {f"1.2.3.4.{k + 1}" for k in range(1, 6)}
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.3.2"


def pixels_by_source(path: Path, segment: int) -> Array:
    """The pixels of one segment on all slices of the scene, (column, row, slice), by the slices' own UIDs."""
    uids = [f"1.2.3.4.{k + 1}" for k in range(SLICES)]
    pixels = hd.seg.segread(path).get_pixels_by_source_instance(
        uids, segment_numbers=[segment], combine_segments=True, assert_missing_frames_are_empty=True
    )
    return np.asarray(pixels).T


def uneven() -> list[Dataset]:
    """A series whose fourth slice is 0.005 mm off the even grid, as between two acquisitions."""
    slices = series()
    slices[3].ImagePositionPatient[2] += 0.005
    return slices


@pytest.mark.parametrize("slices", [series(shear_degrees=0.2), uneven()], ids=["sheared", "uneven"])
def test_slices_off_a_regular_grid_keep_their_own_positions(slices: list[Dataset], tmp_path: Path) -> None:
    labels, _, path = written(tmp_path, slices)
    check_sources(path, slices)
    tolerance = SAME_PLACE_MM + 0.005
    assert apart_mm(places_by_pydicom(path, 1), places(labels, labels.array > 0)) < tolerance
    assert np.array_equal(pixels_by_source(path, 1) > 0, labels.array > 0)
    for segment, box in enumerate(LESIONS, start=2):
        expected = np.zeros_like(labels.array)
        expected[box] = 1
        assert apart_mm(places_by_pydicom(path, segment), places(labels, expected)) < tolerance
        assert np.array_equal(pixels_by_source(path, segment) > 0, expected > 0)


def test_segments_have_codes_and_the_name_of_their_algorithm(tmp_path: Path) -> None:
    _, _, path = written(tmp_path)
    seg = pydicom.dcmread(path)
    assert (seg.SegmentationType, seg.SegmentsOverlap, seg.Modality) == ("BINARY", "YES", "SEG")
    described = [
        (
            s.SegmentLabel,
            s.SegmentedPropertyCategoryCodeSequence[0].CodeValue,
            s.SegmentedPropertyTypeCodeSequence[0].CodeValue,
            [region.CodeValue for region in s.get("AnatomicRegionSequence", [])],
        )
        for s in seg.SegmentSequence
    ]
    assert described == [
        ("Liver", "91723000", "10200004", []),
        ("Lesion 1", "49755003", "4147007", ["10200004"]),
        ("Lesion 2", "49755003", "4147007", ["10200004"]),
    ]
    for segment in seg.SegmentSequence:
        algorithm = segment.SegmentationAlgorithmIdentificationSequence[0]
        assert (segment.SegmentAlgorithmType, algorithm.AlgorithmVersion) == ("AUTOMATIC", __version__)
        assert algorithm.AlgorithmName == segment.SegmentAlgorithmName == "liver_tumor_ct_25d"
    assert seg.SegmentSequence[0].RecommendedDisplayCIELabValue == [
        33751,
        44821,
        40709,
    ]  # L / 100, (a, b + 128) / 255, of 65535


def test_segments_come_in_the_order_of_the_measurements(tmp_path: Path) -> None:
    case, path = measured(SMALLER), tmp_path / "seg.dcm"
    numbers = np.array([0, 8, 7], np.int32)[case.numbers]
    case = replace(case, lesions=[replace(lesion, id=9 - lesion.id) for lesion in case.lesions], numbers=numbers)
    seg = write_seg(path, source_of(series()), labelled(read(series())).array, case)
    assert seg.segment_of == {8: 2, 7: 3}
    assert [s.SegmentLabel for s in seg.dataset.SegmentSequence] == ["Liver", "Lesion 8", "Lesion 7"]
    assert len(places_by_pydicom(path, 2)) == 2 * 2 * 1
    assert len(places_by_pydicom(path, 3)) == 2 * 2 * 2


@pytest.mark.parametrize("lesions", [1, 0, 3])
def test_measurements_that_do_not_match_the_number_map_are_refused(lesions: int, tmp_path: Path) -> None:
    case, path = measured(), tmp_path / "seg.dcm"
    case = replace(case, lesions=[*case.lesions, replace(case.lesions[0], id=3)][:lesions])
    with pytest.raises(ValueError, match=r"map of lesion numbers holds \[1, 2\], but \["):
        write_seg(path, source_of(series()), labelled(read(series())).array, case)
    assert not list(tmp_path.iterdir())


def test_more_lesions_than_the_limit_share_a_segment(tmp_path: Path) -> None:
    labels, seg, path = written(tmp_path, max_lesion_segments=1)
    assert seg.segment_of == {1: 2, 2: 2}
    assert [s.SegmentLabel for s in seg.dataset.SegmentSequence] == ["Liver", "Liver lesions"]
    assert apart_mm(places_by_pydicom(path, 2), places(labels, labels.array == 2)) < SAME_PLACE_MM


def test_more_than_20_lesions_share_a_segment(tmp_path: Path) -> None:
    voxels = [(slice(i, i + 1), slice(j, j + 1), slice(3, 4)) for i in range(2, 11, 2) for j in range(3, 8)]
    for count, labels in ((20, ["Liver", *(f"Lesion {n}" for n in range(1, 21))]), (21, ["Liver", "Liver lesions"])):
        scene, path = labelled(read(series()), voxels[:count]), tmp_path / f"{count}.dcm"
        seg = write_seg(path, source_of(series()), scene.array, measured(voxels[:count]))
        assert [s.SegmentLabel for s in seg.dataset.SegmentSequence] == labels


def test_a_liver_without_lesions_is_one_segment(tmp_path: Path) -> None:
    labels, path = labelled(read(series()), []), tmp_path / "seg.dcm"
    seg = write_seg(path, source_of(series()), labels.array, measured([]))
    assert seg.segment_of == {} and seg.dataset.NumberOfFrames == 5
    assert apart_mm(places_by_pydicom(path, 1), places(labels, labels.array > 0)) < SAME_PLACE_MM


@pytest.mark.parametrize("keep,frames", [(False, 1), (True, SLICES)])
def test_without_a_liver_the_seg_is_valid_and_empty(keep: bool, frames: int, tmp_path: Path) -> None:
    labels, path = labelled(read(series()), liver=False), tmp_path / "seg.dcm"
    write_seg(path, source_of(series()), labels.array, measured([]), keep_empty_frames=keep)
    seg = hd.seg.segread(path)
    assert [s.SegmentLabel for s in seg.SegmentSequence] == ["Liver"]
    assert seg.NumberOfFrames == frames and not seg.pixel_array.any()


def test_empty_frames_are_kept_on_request(tmp_path: Path) -> None:
    labels, _, path = written(tmp_path, keep_empty_frames=True)
    seg = pydicom.dcmread(path)
    numbers = [segment_number(group) for group in seg.PerFrameFunctionalGroupsSequence]
    assert [numbers.count(segment) for segment in (1, 2, 3)] == [SLICES] * 3
    check_places(labels, path)


def test_the_slice_distance_is_the_measured_one_and_not_that_of_the_header(tmp_path: Path) -> None:
    _, _, path = written(tmp_path)
    measures = pydicom.dcmread(path).SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert (measures.SpacingBetweenSlices, measures.SliceThickness) == (STEP, 3)  # the header has -2.5 and 3


def test_a_failed_write_leaves_the_earlier_seg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, path = written(tmp_path)
    before = path.read_bytes()

    def full_disk(self: object, target: Path, **options: object) -> None:
        target.write_bytes(b"half of it")
        raise OSError("No space left on device")

    monkeypatch.setattr(hd.seg.Segmentation, "save_as", full_disk)
    with pytest.raises(OSError, match="No space left"):
        written(tmp_path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_missing_highdicom_is_reported_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(UsageError, match="need highdicom.*pip install highdicom"):
        written(tmp_path)
