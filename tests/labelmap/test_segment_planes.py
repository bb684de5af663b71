"""Planes lie where the shares turn, between two slices too, and what two segments hold together stays."""

import numpy as np
import pytest

from custom_networks.labelmap.segment_planes import with_planes


def shares(lower: np.ndarray) -> np.ndarray:
    """Shares (8, 4, 4, 10) of segments 5 (`lower`, one value a slice) and 8 (the rest)."""
    values = np.zeros((8, 4, 4, 10), np.float32)
    values[4], values[7] = lower, 1 - lower
    return values


def test_a_ragged_border_becomes_a_plane_with_the_same_sum() -> None:
    ragged = shares(np.repeat([1.0, 0.0], [6, 4]))
    ragged[4, 0, 0, 8], ragged[7, 0, 0, 8] = 1, 0
    parted = with_planes(ragged, np.ones((4, 4, 10)))
    assert np.allclose(parted[4, :, :, :5], 1) and np.allclose(parted[7, :, :, 7:], 1)
    assert np.allclose(parted.sum(0), 1) and np.allclose(parted[[0, 1, 2, 3, 5, 6]], 0, atol=1e-6)


@pytest.mark.parametrize(("third", "at"), [(0.5, 2.0), (0.75, 2.5 - 1 / 6), (0.25, 1.5 + 1 / 6)])
def test_a_plane_between_two_slices_is_where_interpolation_gives_one_half(third: float, at: float) -> None:
    lower = np.array([1, 1, third, 0, 0, 0, 0, 0, 0, 0], np.float32)
    parted = with_planes(shares(lower), np.ones((4, 4, 10)))[4, 0, 0]
    assert np.interp(-0.5, -parted, np.arange(10)) == pytest.approx(at, abs=1e-3)


def test_segments_5_and_8_lie_in_front_of_6_and_7() -> None:
    values = np.zeros((8, 4, 10, 4), np.float32)
    values[5, :, :4], values[4, :, 4:] = 1, 1
    values[5, :, 8], values[4, :, 8] = 1, 0
    parted = with_planes(values, np.ones((4, 10, 4)))
    assert np.allclose(parted[5:7, :, :3].sum(0), 1) and np.allclose(parted[[4, 7]][:, :, 5:].sum(0), 1)


def test_without_liver_nothing_is_lost() -> None:
    values = np.full((8, 3, 3, 3), 0.125, np.float32)
    assert np.allclose(with_planes(values, np.zeros((3, 3, 3))).sum(0), 1)
