"""Shapes and random fields against values worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_networks.phantom.canvas import Ellipsoid, Points, capsule, coverage, norm, smooth_field, smooth_union


def lattice(step: float, half: float) -> Points:
    """Points of a cube of 2 * half mm around the origin."""
    axis = np.arange(-half, half + step / 2, step, dtype=np.float32)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    return x, y, z


def test_a_point_two_mm_outside_a_ball_of_ten_has_field_two() -> None:
    at = (np.float32([12.0]), np.float32([0.0]), np.float32([0.0]))
    assert Ellipsoid((0, 0, 0), (10, 10, 10)).field(at)[0] == pytest.approx(2.0)


def test_a_quarter_turn_swaps_the_radii_in_plane() -> None:
    turned = Ellipsoid((0, 0, 0), (20, 10, 5), yaw=90)
    assert turned.unit_radius((np.float32([0]), np.float32([20]), np.float32([0])))[0] == pytest.approx(1.0, abs=1e-5)
    assert turned.unit_radius((np.float32([20]), np.float32([0]), np.float32([0])))[0] == pytest.approx(2.0, abs=1e-5)
    assert turned.reach == (20, 20, 5)


@settings(max_examples=15, deadline=None)
@given(st.floats(6.0, 9.0), st.tuples(*[st.floats(-0.5, 0.5)] * 3))
def test_coverage_of_a_ball_sums_to_its_volume_on_any_grid(radius: float, shift: tuple[float, float, float]) -> None:
    field = Ellipsoid(shift, (radius, radius, radius)).field(lattice(1.0, 12))
    assert coverage(field).sum() == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.03)


def test_a_voxel_half_inside_a_plane_is_half_covered() -> None:
    x, _, _ = lattice(2.0, 4)
    share = coverage(x - np.float32(0.5))[:, 2, 2]
    # Voxels are 2 mm wide with centres at -4 ... 4 mm: the one at 0 reaches from -1 to 1, three quarters below 0.5.
    np.testing.assert_allclose(share, [1, 1, 0.75, 0, 0], atol=1e-3)


def test_a_capsule_is_round_at_its_ends_and_straight_between() -> None:
    points = (np.float32([5, -3, 13]), np.float32([3, 0, 0]), np.float32([0, 0, 4]))
    distance = capsule(points, np.array([0.0, 0, 0]), np.array([10.0, 0, 0]), radius=1.0)
    np.testing.assert_allclose(distance, [2, 2, 4], atol=1e-5)


def test_a_smooth_union_contains_both_shapes_and_fillets_only_near_their_contact() -> None:
    first, second = np.float32([-5, 3, 3]), np.float32([9, -4, 3])
    np.testing.assert_allclose(smooth_union(first, second, 4), [-5, -4, 2])


def test_a_smooth_field_has_unit_variance_and_agrees_on_overlapping_grids() -> None:
    axes = [np.arange(0.0, 100, 2)] * 3
    field = smooth_field(np.random.default_rng(0), axes, 5.0)
    whole = field(axes)
    assert whole.std() == pytest.approx(1, abs=0.1)
    part = field([axes[0][10:20], axes[1][3:7], axes[2][40:]])
    np.testing.assert_allclose(part, whole[10:20, 3:7, 40:], atol=1e-4)
    assert np.abs(np.diff(whole, axis=0)).mean() < 0.5 < np.abs(whole[25:] - whole[:25]).mean()


def test_the_norm_of_three_and_four_is_five() -> None:
    assert norm(np.float32([3]), np.float32([4]))[0] == 5
