"""Diameters of regions within one slice, against values worked out by hand."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_networks.labelmap.diameters import diameters

Array = npt.NDArray[Any]
MM = np.diag([0.5, 2.0])


def block(rows: int, columns: int) -> Array:
    return np.argwhere(np.ones((rows, columns)))


def test_one_pixel_is_as_long_as_its_longer_side_and_as_wide_as_the_other() -> None:
    found = diameters(np.array([[3, 4]]), MM)
    assert (found.longest_mm, found.perpendicular_mm) == pytest.approx((2.0, 0.5))
    np.testing.assert_allclose(np.sort(found.longest_ends, axis=0), [[3, 3.5], [3, 4.5]])
    np.testing.assert_allclose(np.sort(found.perpendicular_ends, axis=0), [[2.5, 4], [3.5, 4]])


def test_the_length_of_a_row_is_the_number_of_pixels_times_their_size() -> None:
    found = diameters(block(1, 7), MM)
    assert (found.longest_mm, found.perpendicular_mm) == pytest.approx((14.0, 0.5))


def test_a_block_is_measured_between_the_midpoints_of_edges() -> None:
    # 6 x 8 pixels: from the middle of an edge of one corner pixel to that of the opposite one, 5 by 8 pixels or 6 by 7.
    found = diameters(block(6, 8), np.eye(2))
    assert found.longest_mm == pytest.approx(np.hypot(5, 8))


def test_the_perpendicular_is_a_chord_and_not_the_projected_width() -> None:
    # A slanted strip, pixels (x, x + 0..1): its shadow across the long axis is wider than any chord at a right angle.
    strip = np.array([[x, 3 * x + y] for x in range(10) for y in range(3)])
    found = diameters(strip, np.eye(2))
    along = (found.longest_ends[1] - found.longest_ends[0]) / found.longest_mm
    chord = found.perpendicular_ends[1] - found.perpendicular_ends[0]
    assert abs(along @ chord) < 1e-9
    assert found.perpendicular_mm == pytest.approx(np.linalg.norm(chord))
    corners = (strip[:, None] + [[0.5, 0], [-0.5, 0], [0, 0.5], [0, -0.5]]).reshape(-1, 2)
    assert found.perpendicular_mm < np.ptp(corners @ [-along[1], along[0]]) - 0.1


def test_pixels_that_are_not_rectangular_are_measured_in_the_plane() -> None:
    sheared = np.array([[1.0, 0.6], [0.0, 0.8]])  # both steps measure 1 mm
    assert diameters(block(9, 1), sheared).longest_mm == pytest.approx(9.0)
    assert diameters(block(1, 9), sheared).longest_mm == pytest.approx(9.0)


pixels = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=40, unique=True)


@settings(max_examples=40, deadline=None)
@given(pixels, st.floats(0.3, 3), st.floats(0, 3.1))
def test_diameters_equal_the_maximum_over_all_pairs_and_do_not_depend_on_rotation(
    listed: list[tuple[int, int]], size: float, angle: float
) -> None:
    region = np.array(listed)
    found = diameters(region, size * np.eye(2))
    points = size * (region[:, None] + [[0.5, 0], [-0.5, 0], [0, 0.5], [0, -0.5]]).reshape(-1, 2)
    pairs = np.linalg.norm(points[:, None] - points, axis=2)
    assert found.longest_mm == pytest.approx(pairs.max())
    assert 0 < found.perpendicular_mm <= found.longest_mm + 1e-9
    turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    assert diameters(region, size * turned).longest_mm == pytest.approx(found.longest_mm)
