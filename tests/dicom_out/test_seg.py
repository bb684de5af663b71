"""A SEG lies where its label map lies, to the voxel, says what it holds, and stands when there is nothing to hold."""

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
from scipy.spatial.transform import Rotation
from seg_scene import (
    COLUMNS,
    DX,
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
    segment_number,
    series,
    sign_combinations,
)

from custom_networks import __version__
from custom_networks.dicom_out.seg import SegObject, write_seg
from custom_networks.dicom_out.source import read_source
from custom_networks.errors import InputError, UsageError
from custom_networks.io.volume import Volume

SMALLER = (LESIONS[1], LESIONS[0])
SAME_PLACE_MM = 1e-4  # a voxel is 0.7 x 0.9 x 2.5; positions are written to six decimals


def written(tmp_path: Path, **options: object) -> tuple[Volume, SegObject, Path]:
    """The scene as a SEG."""
    slices, path = series(), tmp_path / "seg.dcm"
    labels = labelled(slices)
    return labels, write_seg(labels, read_source(slices), path, measured(labels), **options), path  # type: ignore


def places_by_highdicom(path: Path, segment: int) -> Array:
    """Patient coordinates (LPS, mm) of one segment's voxels, as highdicom lays the volume out."""
    volume = hd.seg.segread(path).get_volume(segment_numbers=[segment], combine_segments=True)
    index = np.array(np.nonzero(volume.array))
    return np.asarray((volume.affine[:3, :3] @ index + volume.affine[:3, 3:]).T)


def moved(labels: Volume, order: Sequence[int], flips: Sequence[bool]) -> Volume:
    """The same label map with its axes in another order and direction."""
    array, affine = labels.array.transpose(order), labels.affine[:, [*order, 3]]
    for axis in np.flatnonzero(flips):
        flip = np.eye(4)
        flip[axis, axis], flip[axis, 3] = -1, array.shape[axis] - 1
        array, affine = np.flip(array, axis), affine @ flip
    return replace(labels, array=array, affine=affine)


def check_places(labels: Volume, path: Path) -> None:
    """Each segment of the scene holds the voxels of its part, for pydicom alone and for highdicom."""
    components = np.zeros((COLUMNS, ROWS, SLICES), int)
    for number, box in enumerate(LESIONS, start=2):
        components[box] = number
    parts = {1: labels.array > 0, 2: components == 2, 3: components == 3}
    for segment, mask in parts.items():
        assert mask.any()
        assert apart_mm(places_by_pydicom(path, segment), places(labels, mask)) < SAME_PLACE_MM
        assert apart_mm(places_by_highdicom(path, segment), places(labels, mask)) < SAME_PLACE_MM


@pytest.mark.parametrize("row,column,scan", sign_combinations())
def test_every_sign_of_the_direction_cosines_keeps_every_voxel_in_its_place(
    row: float, column: float, scan: float, tmp_path: Path
) -> None:
    slices = series(STANDARD * [[row], [column]], scan)
    labels = labelled(slices)
    write_seg(labels, read_source(slices), tmp_path / "seg.dcm", measured(labels))
    check_places(labels, tmp_path / "seg.dcm")


@settings(
    max_examples=10, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    tilt=st.tuples(*[st.floats(-10, 10)] * 2, st.floats(-180, 180)),
    signs=st.sampled_from(sign_combinations()),
    order=st.permutations(range(3)),
    flips=st.tuples(*[st.booleans()] * 3),
)
def test_oblique_slices_and_label_maps_with_other_axes_keep_every_voxel_in_its_place(
    tilt: tuple[float, ...], signs: tuple[float, ...], order: list[int], flips: tuple[bool, ...], tmp_path: Path
) -> None:
    axes = (STANDARD * [[signs[0]], [signs[1]]]) @ Rotation.from_euler("xyz", tilt, degrees=True).as_matrix().T
    slices = series(axes, signs[2])
    labels = labelled(slices)
    seg = write_seg(moved(labels, order, flips), read_source(slices), tmp_path / "seg.dcm", measured(labels))
    assert seg.segment_of == {1: 2, 2: 3}
    check_places(labels, tmp_path / "seg.dcm")


def test_the_order_of_the_files_does_not_matter(tmp_path: Path) -> None:
    slices = series()
    labels = labelled(slices)
    write_seg(labels, read_source([slices[k] for k in (3, 0, 6, 1, 5, 2, 4)]), tmp_path / "seg.dcm", measured(labels))
    check_places(labels, tmp_path / "seg.dcm")


def test_every_frame_names_the_slice_at_its_own_position(tmp_path: Path) -> None:
    _, _, path = written(tmp_path)
    seg, positions = pydicom.dcmread(path), {s.SOPInstanceUID: s.ImagePositionPatient for s in series()}
    assert len(seg.PerFrameFunctionalGroupsSequence) == 5 + 2 + 1
    for group in seg.PerFrameFunctionalGroupsSequence:
        source = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        assert positions[source] == group.PlanePositionSequence[0].ImagePositionPatient
    referenced = {item.ReferencedSOPInstanceUID for item in seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    assert referenced == {f"1.2.3.4.{k + 1}" for k in range(1, 6)}
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.3.2"


def test_segments_say_what_they_are_and_who_made_them(tmp_path: Path) -> None:
    _, _, path = written(tmp_path)
    seg = pydicom.dcmread(path)
    assert (seg.SegmentationType, seg.SegmentsOverlap, seg.Modality) == ("BINARY", "YES", "SEG")
    told = [
        (
            s.SegmentLabel,
            s.SegmentedPropertyCategoryCodeSequence[0].CodeValue,
            s.SegmentedPropertyTypeCodeSequence[0].CodeValue,
            [region.CodeValue for region in s.get("AnatomicRegionSequence", [])],
        )
        for s in seg.SegmentSequence
    ]
    assert told == [
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
    slices = series()
    labels = labelled(slices)
    lesions = [replace(lesion, id=9 - lesion.id) for lesion in measured(labels, SMALLER)]
    seg = write_seg(labels, read_source(slices), tmp_path / "seg.dcm", lesions)
    assert seg.segment_of == {8: 2, 7: 3}
    assert [s.SegmentLabel for s in seg.dataset.SegmentSequence] == ["Liver", "Lesion 8", "Lesion 7"]
    assert len(places_by_pydicom(tmp_path / "seg.dcm", 2)) == 2 * 2 * 1
    assert len(places_by_pydicom(tmp_path / "seg.dcm", 3)) == 2 * 2 * 2


def test_without_measurements_the_largest_lesion_comes_first(tmp_path: Path) -> None:
    slices = series()
    seg = write_seg(labelled(slices, SMALLER), read_source(slices), tmp_path / "seg.dcm")
    assert seg.segment_of == {1: 2, 2: 3}
    assert len(places_by_pydicom(tmp_path / "seg.dcm", 2)) == 2 * 2 * 2


@pytest.mark.parametrize("shift,scale,kept", [(DX, 1, 2), (0, 1.01, 2), (0, 1, 1)])
def test_measurements_of_another_label_map_are_refused(shift: float, scale: float, kept: int, tmp_path: Path) -> None:
    slices = series()
    labels = labelled(slices)
    lesions = [
        replace(lesion, centroid=np.add(lesion.centroid, 2 * shift), volume_mm3=scale * lesion.volume_mm3)
        for lesion in measured(labels)[:kept]
    ]
    with pytest.raises(ValueError, match="by centroid .* 2 found"):
        write_seg(labels, read_source(slices), tmp_path / "seg.dcm", lesions)
    assert not list(tmp_path.iterdir())


def test_voxels_that_touch_by_a_corner_are_one_lesion(tmp_path: Path) -> None:
    corner = (slice(5, 6), slice(6, 7), slice(4, 5))
    slices = series()
    seg = write_seg(labelled(slices, [LESIONS[0], corner]), read_source(slices), tmp_path / "seg.dcm")
    assert seg.segment_of == {1: 2}
    assert len(places_by_pydicom(tmp_path / "seg.dcm", 2)) == 9


def test_more_lesions_than_the_limit_share_a_segment(tmp_path: Path) -> None:
    labels, seg, path = written(tmp_path, max_lesion_segments=1)
    assert seg.segment_of == {1: 2, 2: 2}
    assert [s.SegmentLabel for s in seg.dataset.SegmentSequence] == ["Liver", "Liver lesions"]
    assert apart_mm(places_by_pydicom(path, 2), places(labels, labels.array == 2)) < SAME_PLACE_MM


def test_a_liver_without_lesions_is_one_segment(tmp_path: Path) -> None:
    slices = series()
    labels = labelled(slices, [])
    seg = write_seg(labels, read_source(slices), tmp_path / "seg.dcm", [])
    assert seg.segment_of == {} and seg.dataset.NumberOfFrames == 5
    assert apart_mm(places_by_pydicom(tmp_path / "seg.dcm", 1), places(labels, labels.array > 0)) < SAME_PLACE_MM


@pytest.mark.parametrize("keep,frames", [(False, 1), (True, SLICES)])
def test_without_a_liver_the_file_is_whole_and_empty(keep: bool, frames: int, tmp_path: Path) -> None:
    slices = series()
    labels = labelled(slices, liver=False)
    write_seg(labels, read_source(slices), tmp_path / "seg.dcm", [], keep_empty_frames=keep)
    seg = hd.seg.segread(tmp_path / "seg.dcm")
    assert [s.SegmentLabel for s in seg.SegmentSequence] == ["Liver"]
    assert seg.NumberOfFrames == frames and not seg.pixel_array.any()


def test_empty_frames_are_kept_on_request(tmp_path: Path) -> None:
    labels, _, path = written(tmp_path, keep_empty_frames=True)
    seg = pydicom.dcmread(path)
    numbers = [segment_number(group) for group in seg.PerFrameFunctionalGroupsSequence]
    assert [numbers.count(segment) for segment in (1, 2, 3)] == [SLICES] * 3
    check_places(labels, path)


def test_slices_lie_as_far_apart_as_measured_whatever_the_header_says(tmp_path: Path) -> None:
    _, _, path = written(tmp_path)
    measures = pydicom.dcmread(path).SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert (measures.SpacingBetweenSlices, measures.SliceThickness) == (STEP, 3)  # the header has -2.5 and 3


@pytest.mark.parametrize("change", ["shifted", "fewer slices", "scaled"])
def test_a_label_map_on_another_grid_is_refused(change: str, tmp_path: Path) -> None:
    slices = series()
    labels = labelled(slices)
    affine, array = labels.affine.copy(), labels.array
    if change == "shifted":
        affine[0, 3] += 0.1 * DX
    elif change == "scaled":
        affine[:3, 1] *= 1.01
    else:
        array = array[..., 1:]
    with pytest.raises(InputError, match="labels.nii.gz does not lie on the grid"):
        write_seg(replace(labels, array=array, affine=affine), read_source(slices), tmp_path / "seg.dcm")


def test_an_affine_in_single_precision_fits(tmp_path: Path) -> None:
    slices = series()
    labels = labelled(slices)
    single: Array = labels.affine.astype(np.float32).astype(np.float64)
    write_seg(replace(labels, affine=single), read_source(slices), tmp_path / "seg.dcm", measured(labels))
    check_places(labels, tmp_path / "seg.dcm")


def test_what_cannot_be_written_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, path = written(tmp_path)
    before = path.read_bytes()

    def full_disk(self: object, target: Path, **options: object) -> None:
        target.write_bytes(b"half of it")
        raise OSError("No space left on device")

    monkeypatch.setattr(hd.seg.Segmentation, "save_as", full_disk)
    with pytest.raises(OSError, match="No space left"):
        written(tmp_path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_missing_package_is_named_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(UsageError, match="need highdicom.*pip install highdicom"):
        written(tmp_path)
