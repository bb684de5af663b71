"""Each segment is one piece, every liver voxel has a segment, and a lesion's shares are counted."""

import numpy as np
import pytest

from custom_networks.labelmap.segments import connected_segments, lesion_segments

LESION = (slice(8, 12), slice(4, 6), slice(2, 4))


def halves() -> np.ndarray:
    """Segment 8 for first indices below 10, segment 5 for others; surrounded by one voxel of background."""
    segments = np.zeros((22, 10, 6), np.uint8)
    segments[1:10, 1:9, 1:5], segments[10:21, 1:9, 1:5] = 8, 5
    return segments


def test_a_part_cut_off_joins_the_segment_around_it() -> None:
    segments = halves()
    segments[15:17, 4:6, 2:4] = 8
    assert np.array_equal(connected_segments(segments), halves())


def test_a_loose_part_inside_another_joins_after_it() -> None:
    segments = halves()
    segments[14:19, 3:8, 1:5] = 8
    segments[16, 5, 2] = 7
    segments[3, 3, 3], segments[2, 7, 1:5] = 7, 7  # the largest part of 7, which stays
    found = connected_segments(segments)
    assert (found[10:21, 1:9, 1:5] == 5).all() and (found == 7).sum() == 4


def test_a_loose_part_joins_the_neighbour_with_most_contact() -> None:
    segments = halves()
    segments[1:3, 1:3, 1] = 7
    segments[9:13, 4, 2] = 7  # one voxel in 8, three in 5
    found = connected_segments(segments)
    assert (found[9:13, 4, 2] == 5).all() and (found[1:3, 1:3, 1] == 7).all()


def test_parts_of_a_liver_in_pieces_keep_their_segment() -> None:
    segments = halves()
    segments[:, :, 3:] = 0
    segments[2:4, 2:4, 5] = 5
    assert np.array_equal(connected_segments(segments), segments)
    assert not connected_segments(np.zeros((4, 4, 4), np.uint8)).any()


def test_every_liver_voxel_keeps_a_segment() -> None:
    noise = np.random.default_rng(0).integers(1, 9, (12, 11, 10)).astype(np.uint8)
    found = connected_segments(noise)
    assert (found > 0).all() and found is not noise


def test_shares_of_a_lesion_are_counted_in_voxels_largest_first() -> None:
    segments = halves()
    lesion = np.zeros((4, 2, 2), bool)
    lesion[1:] = True  # one plane of three in segment 8, two in 5
    found = lesion_segments(segments, lesion, LESION, (1.0, 1.0, 1.0))
    assert found.shares == ((5, pytest.approx(2 / 3)), (8, pytest.approx(1 / 3))) and found.near_border


@pytest.mark.parametrize(("spacing", "near"), [(1.0, True), (1.25, True), (1.7, False)])
def test_a_border_is_near_up_to_5_mm_between_voxels(spacing: float, near: bool) -> None:
    box = (slice(13, 16), slice(4, 6), slice(2, 4))  # four steps from segment 8
    found = lesion_segments(halves(), np.ones((3, 2, 2), bool), box, (spacing, 1.0, 1.0))
    assert found.shares == ((5, 1.0),) and found.near_border is near


def test_a_lesion_outside_of_all_segments_has_none() -> None:
    found = lesion_segments(np.zeros((22, 10, 6), np.uint8), np.ones((4, 2, 2), bool), LESION, (1.0, 1.0, 1.0))
    assert found.shares == () and not found.near_border
