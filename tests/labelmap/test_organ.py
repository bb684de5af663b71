"""Anatomy rules on small label maps with results worked by hand; voxels of 1 mm unless stated otherwise."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from custom_networks.labelmap.boxes import box_around, grown_box
from custom_networks.labelmap.components import box_of_large_parts, is_within
from custom_networks.labelmap.lesions import find_lesions
from custom_networks.labelmap.organ import fill_organ, keep_organ

Array = npt.NDArray[np.uint8]


def spaced(x: float, y: float, z: float) -> npt.NDArray[np.float64]:
    """Affine of a straight grid with these distances, mm."""
    return np.diag([x, y, z, 1.0])


MM = spaced(1, 1, 1)


def liver_block() -> tuple[Array, Array]:
    """40 x 40 x 20 voxels with a liver of 20 x 20 x 10 (4 ml); probabilities of liver and tumor 200 and 20 of 255."""
    labels = np.zeros((40, 40, 20), np.uint8)
    labels[10:30, 10:30, 5:15] = 1
    probabilities = np.zeros((2, *labels.shape), np.uint8)
    probabilities[0], probabilities[1] = 200, 20
    return labels, probabilities


def add_lesion(labels: Array, probabilities: Array, where: tuple[slice, slice, slice], confidence: int = 220) -> None:
    labels[where] = 2
    probabilities[0][where], probabilities[1][where] = 255 - confidence, confidence


# --- boxes and distances


def test_the_box_contains_all_voxels_and_grows_in_mm_within_the_array() -> None:
    mask = np.zeros((10, 10, 10), bool)
    mask[2, 3, 4] = mask[5, 3, 8] = True
    box = box_around(mask)
    assert box == (slice(2, 6), slice(3, 4), slice(4, 9))
    assert box_around(np.zeros((3, 3, 3), bool)) is None
    assert grown_box(box, 2.0, (1.0, 2.0, 4.0), mask.shape) == (slice(0, 8), slice(2, 5), slice(3, 10))


@pytest.mark.parametrize(("distance", "expected"), [(9.9, False), (10.0, True)])
def test_distance_is_measured_between_voxel_centres_in_mm(distance: float, expected: bool) -> None:
    part, target = np.zeros((2, 4, 4, 4), bool)
    part[1, 1, 0] = target[1, 1, 2] = True
    assert is_within(part, target, distance, (1.0, 1.0, 5.0)) is expected


def test_a_neighbour_farther_than_the_distance_is_not_within_it() -> None:
    part, target = np.zeros((2, 3, 3, 3), bool)
    part[1, 1, 0] = target[1, 1, 1] = True
    assert not is_within(part, target, 4.0, (1.0, 1.0, 5.0))
    assert is_within(part, target, 5.0, (1.0, 1.0, 5.0))


def test_box_of_large_parts_leaves_specks_out() -> None:
    labels, _ = liver_block()
    labels[0, 0, 0] = labels[39, 39, 19] = 1
    assert box_of_large_parts(labels > 0, 10) == (slice(8, 32), slice(8, 32), slice(4, 16))  # whole blocks of 4
    assert box_of_large_parts(labels > 0, 1) == (slice(0, 40), slice(0, 40), slice(0, 20))
    with pytest.raises(ValueError, match="empty"):
        box_of_large_parts(labels > 1, 1)


# --- organ


def test_the_largest_part_is_kept_and_a_distant_blob_removed() -> None:
    labels, _ = liver_block()
    labels[0:4, 0:4, 0:3] = 1
    kept = keep_organ(labels, MM, min_part_ml=0.0, gap_mm=5.0)
    assert kept.sum() == 20 * 20 * 10 and kept[:4].sum() == 0


def test_second_left_lobe_part_is_kept_when_large_and_near() -> None:
    labels, _ = liver_block()
    labels[32:38, 10:30, 5:15] = 1  # 1.2 ml, its first voxels 3 mm from the liver's last
    assert keep_organ(labels, MM, min_part_ml=1.2, gap_mm=3.0).sum() == labels.sum()
    assert keep_organ(labels, MM, min_part_ml=1.3, gap_mm=3.0).sum() == 4000
    assert keep_organ(labels, MM, min_part_ml=1.2, gap_mm=2.9).sum() == 4000


def test_left_lobe_cut_off_by_one_thick_slice_is_kept() -> None:
    labels = np.zeros((10, 10, 9), np.uint8)
    labels[:, :, :5] = 1
    labels[:, :, 6:] = 1  # slices of 5 mm: centres 10 mm apart; 300 voxels of 5 mm3 are 1.5 ml
    assert keep_organ(labels, spaced(1.0, 1.0, 5.0), min_part_ml=1.5, gap_mm=10.0).sum() == labels.sum()


def test_a_tumor_across_the_liver_keeps_both_halves() -> None:
    labels, _ = liver_block()
    labels[18:22, 10:30, 5:15] = 2
    assert np.array_equal(keep_organ(labels, MM), labels)


def test_parts_that_touch_at_a_corner_are_one() -> None:
    labels = np.zeros((6, 6, 6), np.uint8)
    labels[:3, :3, :3] = 1
    labels[3, 3, 3] = 2
    assert np.array_equal(keep_organ(labels, MM), labels)


@given(seed=st.integers(0, 10**6), density=st.sampled_from([0.002, 0.01, 0.03, 0.08]), part=st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_the_kept_parts_agree_with_the_definition(seed: int, density: float, part: int) -> None:
    labels = (np.random.default_rng(seed).random((23, 30, 17)) < density).astype(np.uint8)
    components, count = ndimage.label(labels, np.ones((3, 3, 3)))
    expected = np.zeros_like(labels)
    if count:
        sizes = np.bincount(components.ravel())
        sizes[0] = 0
        distance = ndimage.distance_transform_edt(components != sizes.argmax(), sampling=(1.0, 2.0, 3.0))
        near = [n for n in range(1, count + 1) if sizes[n] >= part and distance[components == n].min() <= 6.0]
        expected = np.isin(components, [sizes.argmax(), *near]).astype(np.uint8)
    kept = keep_organ(labels, spaced(1.0, 2.0, 3.0), min_part_ml=part * 6 / 1000, gap_mm=6.0, neck_mm=0.0)
    assert np.array_equal(kept, expected)


def liver_with_bowel(neck: int, spacing: tuple[int, int, int] = (1, 1, 1)) -> Array:
    """80 x 60 x 40 mm with a liver of 40 x 40 x 30 mm and 16 x 16 x 16 mm (4.1 ml) of bowel on a neck 5 mm long.

    The neck is `neck` x `neck` mm thick.
    """
    labels = np.zeros((80, 60, 40), np.uint8)
    labels[5:45, 10:50, 5:35] = 1
    labels[50:66, 22:38, 12:28] = 1
    labels[45:50, 30 - neck // 2 : 30 + neck // 2, 20 - neck // 2 : 20 + neck // 2] = 1
    return labels[tuple(slice(None, None, step) for step in spacing)]


@pytest.mark.parametrize("spacing", [(1, 1, 1), (1, 1, 4), (2, 2, 1)])
def test_a_part_attached_by_a_thin_neck_is_removed(spacing: tuple[int, int, int]) -> None:
    labels, thick = liver_with_bowel(4, spacing), liver_with_bowel(14, spacing)
    kept = keep_organ(labels, spaced(*spacing))
    liver, bowel = (slice(0, 45 // spacing[0]),), (slice(50 // spacing[0], None),)
    assert kept[bowel].sum() == 0 and np.array_equal(kept[liver], labels[liver])
    assert np.array_equal(keep_organ(thick, spaced(*spacing)), thick)


def test_a_large_lobe_on_a_thin_neck_is_kept_and_neck_mm_0_removes_nothing() -> None:
    labels = liver_with_bowel(4)
    assert np.array_equal(keep_organ(labels, MM, min_part_ml=4.0), labels)
    assert np.array_equal(keep_organ(labels, MM, neck_mm=0.0), labels)
    assert keep_organ(labels, MM, min_part_ml=4.3).sum() < labels.sum()


def test_tumor_is_removed_with_the_part_attached_by_a_thin_neck() -> None:
    labels = liver_with_bowel(4)
    labels[55:60, 25:30, 15:20] = labels[20:25, 25:30, 15:20] = 2
    kept = keep_organ(labels, MM)
    assert (kept == 2).sum() == 125 and (kept[:45] == labels[:45]).all()


def test_a_part_near_the_largest_keeps_its_thickest_piece() -> None:
    labels = np.concatenate([liver_with_bowel(4)[:44], liver_with_bowel(4)[4:]])  # a gap, and the same again
    labels[42:46] = 0
    kept = keep_organ(labels, MM, min_part_ml=40.0)
    assert np.array_equal(kept[:84], labels[:84]) and kept[92:].sum() == 0


def test_the_end_of_the_scan_does_not_count_as_a_neck() -> None:
    labels = liver_with_bowel(14)[:, :, 17:]
    labels[45:50, :, 5:] = 0  # 5 slices of the neck are seen; it may go on below
    assert np.array_equal(keep_organ(labels, MM), labels)
    assert keep_organ(np.pad(labels, ((0, 0), (0, 0), (4, 0))), MM).sum() < labels.sum()


# --- holes


def test_necrotic_core_becomes_tumor_and_vessel_becomes_liver() -> None:
    labels, probabilities = liver_block()
    labels[13:16, 13:16, 8:12] = 0  # a core: tumor likelier than liver, though background was likeliest
    probabilities[:, 13:16, 13:16, 8:12] = np.array([30, 90])[:, None, None, None]
    labels[20:23, 20:23, 8:12] = 0  # a vessel: liver likelier than tumor
    probabilities[:, 20:23, 20:23, 8:12] = np.array([90, 30])[:, None, None, None]
    filled = fill_organ(labels, probabilities, MM)
    assert (filled[13:16, 13:16, 8:12] == 2).all() and (filled == 2).sum() == 36
    assert (filled[20:23, 20:23, 8:12] == 1).all() and (filled > 0).sum() == 4000


def test_a_tumor_in_the_liver_is_kept_by_filling() -> None:
    labels, probabilities = liver_block()
    add_lesion(labels, probabilities, (slice(13, 18), slice(13, 18), slice(8, 12)))
    assert np.array_equal(fill_organ(labels, probabilities, MM), labels)


def test_a_tunnel_through_all_slices_is_filled_up_to_the_given_area() -> None:
    labels, probabilities = liver_block()
    labels[12:15, 12:15] = 0  # 9 mm2 in every slice, a vessel that runs through
    labels[18:28, 18:28] = 0  # 100 mm2, as the vena cava
    filled = fill_organ(labels, probabilities, MM, max_hole_mm2=99.0)
    assert (filled[12:15, 12:15, 5:15] == 1).all()
    assert filled[18:28, 18:28].sum() == 0
    assert (fill_organ(labels, probabilities, MM, max_hole_mm2=100.0) > 0).sum() == 4000


def test_the_area_limit_of_holes_is_in_mm2() -> None:
    labels, probabilities = liver_block()
    labels[12:15, 12:15] = 0
    assert fill_organ(labels, probabilities, spaced(2.0, 3.0, 1.0), max_hole_mm2=53.9)[12:15, 12:15].sum() == 0
    assert fill_organ(labels, probabilities, spaced(2.0, 3.0, 1.0), max_hole_mm2=54.0)[12:15, 12:15].sum() == 90


def test_a_hole_enclosed_in_3d_is_filled_at_any_size() -> None:
    labels, probabilities = liver_block()
    labels[12:28, 12:28, 7:13] = 0
    assert (fill_organ(labels, probabilities, MM, max_hole_mm2=10.0) > 0).sum() == 4000


def test_a_notch_in_the_border_is_not_a_hole() -> None:
    labels, probabilities = liver_block()
    labels[10:15, 15:20, :] = 0
    assert np.array_equal(fill_organ(labels, probabilities, MM), labels)


def test_a_cavity_open_at_the_last_slice_is_not_a_hole_in_3d() -> None:
    labels, probabilities = liver_block()
    labels, probabilities = labels[..., :12], probabilities[..., :12]
    labels[12:28, 12:28, 8:] = 0
    assert np.array_equal(fill_organ(labels, probabilities, MM, max_hole_mm2=10.0), labels)


# --- for all rules


def test_empty_label_maps_and_plain_livers_are_not_changed() -> None:
    labels, probabilities = liver_block()
    for known in (np.zeros_like(labels), labels):
        assert np.array_equal(keep_organ(known, MM), known)
        assert np.array_equal(fill_organ(known, probabilities, MM), known)
        assert np.array_equal(find_lesions(known, probabilities, MM)[0], known)


def test_inputs_are_neither_changed_nor_shared() -> None:
    labels, probabilities = liver_block()
    add_lesion(labels, probabilities, (slice(25, 27), slice(25, 27), slice(8, 10)))
    labels[0:2, 0:2, 0:2] = 2
    labels[12:15, 12:15, 8:10] = 0
    known = labels.copy(), probabilities.copy()
    results = [
        keep_organ(labels, MM),
        fill_organ(labels, probabilities, MM),
        find_lesions(labels, probabilities, MM)[0],
    ]
    for result in results:
        assert not np.array_equal(result, labels) and result.dtype == np.uint8
        assert not np.shares_memory(result, labels)
    assert np.array_equal(labels, known[0]) and np.array_equal(probabilities, known[1])
