"""Properties of a grid from its affine, against values worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_networks.labelmap.grid import slice_axis_of, spacing_of, voxel_mm3
from custom_networks.labelmap.labels import Floats

MM = st.floats(0.2, 8.0)


def turned(x: float, y: float, z: float, degrees: float) -> Floats:
    """The affine of a grid with these distances, rotated about the patient's x."""
    angle = np.radians(degrees)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine = np.eye(4)
    affine[:3, :3] = turn * [x, y, z]
    return affine


@given(x=MM, y=MM, z=MM)
def test_the_voxel_volume_of_a_straight_grid_is_exactly_the_product_of_spacings(x: float, y: float, z: float) -> None:
    affine = np.diag([-x, y, -z, 1.0])
    assert spacing_of(affine) == pytest.approx((x, y, z))
    assert voxel_mm3(affine) == x * y * z


@given(x=MM, y=MM, z=MM, degrees=st.floats(-90, 90))
def test_rotating_a_grid_changes_neither_distance_nor_volume(x: float, y: float, z: float, degrees: float) -> None:
    affine = turned(x, y, z, degrees)
    assert spacing_of(affine) == pytest.approx((x, y, z))
    assert voxel_mm3(affine) == pytest.approx(x * y * z)


@given(shear=st.floats(-3, 3))
def test_a_shear_along_the_slices_changes_the_distance_and_not_the_volume(shear: float) -> None:
    affine = np.diag([0.5, 2.0, 5.0, 1.0])
    affine[1, 2] = shear  # each slice is shifted within its plane
    assert voxel_mm3(affine) == pytest.approx(5.0)
    assert spacing_of(affine) == pytest.approx((0.5, 2.0, np.hypot(5.0, shear)))


def test_the_slice_axis_is_the_one_nearest_to_the_patients_z() -> None:
    assert slice_axis_of(np.diag([1.0, 1.0, 5.0, 1.0])) == 2
    assert slice_axis_of(turned(1, 1, 5, 30)) == 2 and slice_axis_of(turned(1, 1, 5, 60)) == 1
    assert slice_axis_of(np.diag([-5.0, 1.0, 1.0, 1.0])[[2, 1, 0, 3]]) == 0
