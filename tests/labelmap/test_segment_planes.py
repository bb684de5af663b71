"""Planes lie where one segment's shares give way to another's, moved towards the usual place; sums are kept."""

import numpy as np
import pytest

from custom_networks.labelmap.segment_planes import PLANES, extent, with_planes

FITTED = tuple(plane._replace(weight=0.0) for plane in PLANES)


def shares(lower: np.ndarray) -> np.ndarray:
    """Shares (8, 4, 4, 10) of segments 5 (`lower`, one value a slice) and 8 (the rest)."""
    values = np.zeros((8, 4, 4, 10), np.float32)
    values[4], values[7] = lower, 1 - lower
    return values


def test_a_ragged_border_becomes_a_plane_with_the_same_sum() -> None:
    ragged = shares(np.repeat([1.0, 0.0], [6, 4]))
    ragged[4, 0, 0, 8], ragged[7, 0, 0, 8] = 1, 0
    parted = with_planes(ragged, np.ones((4, 4, 10)), FITTED)
    assert np.allclose(parted[4, :, :, :5], 1) and np.allclose(parted[7, :, :, 7:], 1)
    assert np.allclose(parted.sum(0), 1) and np.allclose(parted[[0, 1, 2, 3, 5, 6]], 0, atol=1e-6)


@pytest.mark.parametrize(("third", "at"), [(0.5, 2.0), (0.75, 2.5 - 1 / 6), (0.25, 1.5 + 1 / 6)])
def test_a_plane_between_two_slices_is_where_interpolation_gives_one_half(third: float, at: float) -> None:
    lower = np.array([1, 1, third, 0, 0, 0, 0, 0, 0, 0], np.float32)
    parted = with_planes(shares(lower), np.ones((4, 4, 10)), FITTED)[4, 0, 0]
    assert np.interp(-0.5, -parted, np.arange(10)) == pytest.approx(at, abs=1e-3)


def test_segments_5_and_8_lie_in_front_of_6_and_7() -> None:
    values = np.zeros((8, 4, 10, 4), np.float32)
    values[5, :, :4], values[4, :, 4:] = 1, 1
    values[5, :, 8], values[4, :, 8] = 1, 0
    parted = with_planes(values, np.ones((4, 10, 4)), FITTED)
    assert np.allclose(parted[5:7, :, :3].sum(0), 1) and np.allclose(parted[[4, 7]][:, :, 5:].sum(0), 1)


def test_without_liver_nothing_is_lost() -> None:
    values = np.full((8, 3, 3, 3), 0.125, np.float32)
    assert np.allclose(with_planes(values, np.zeros((3, 3, 3))).sum(0), 1)


def test_a_plane_moves_towards_the_usual_place_by_its_weight() -> None:
    liver, below = np.ones((4, 4, 10)), np.repeat([1.0, 0.0], [2, 8])
    halfway = PLANES[1]._replace(usual=0.5, weight=0.5)
    parted = with_planes(shares(below), liver, (halfway,))[4, 0, 0]
    first, last = extent(liver, 2)  # the fitted plane lies at 1.5 cells, the usual one in the middle of the extent
    assert np.interp(-0.5, -parted, np.arange(10)) == pytest.approx((1.5 + (first + last) / 2) / 2, abs=1e-3)


def test_a_vertical_plane_separates_segment_4_from_5_and_8() -> None:
    values = np.zeros((8, 12, 12, 4), np.float32)
    right, front = np.indices((12, 12))
    on_the_left = right * np.cos(np.radians(52)) - front * np.sin(np.radians(52)) < 0
    values[3], values[4], values[7] = (
        on_the_left[..., None],
        0.25 * ~on_the_left[..., None],
        0.75 * ~on_the_left[..., None],
    )
    values[:, 10, 2] = values[:, 1, 9]  # a stray column of segment 4 on the right
    parted = with_planes(values, np.ones((12, 12, 4)), planes=())
    assert parted[3, 10, 2] == pytest.approx(0) and parted[3, 1, 9] == pytest.approx(1)
    assert parted[7, 11, 0] / parted[4, 11, 0] == pytest.approx(3) and np.allclose(parted.sum(0), 1, atol=1e-5)


def test_segment_3_helps_to_find_the_plane_between_2_and_4_and_stays() -> None:
    values = np.zeros((8, 10, 6, 6), np.float32)
    values[2, :5, :, :5], values[1, :3, :, 5], values[3, 5:], values[3, 3:5, :, 5] = 1, 1, 1, 1
    parted = with_planes(values, np.ones((10, 6, 6)), planes=())
    assert np.array_equal(parted[2], values[2])
    assert parted[1, 3, 3, 5] == pytest.approx(1) and parted[3, 7, 3] == pytest.approx(1)
