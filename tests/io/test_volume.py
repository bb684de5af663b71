"""Geometry of volumes."""

from pathlib import Path

import numpy as np
import pytest

from custom_networks.io import Volume
from custom_networks.labelmap.grid import voxel_mm3


def test_spacing_is_the_length_of_each_affine_column() -> None:
    affine = np.array([[0, 3.0, 0, 0], [4.0, 0, 0, 0], [3.0, 4.0, 2.0, 0], [0, 0, 0, 1]])
    assert Volume(np.zeros((2, 2, 2)), affine, source=Path("x")).spacing == (5.0, 5.0, 2.0)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_slice_axis_is_the_one_along_the_patients_z_at_any_spacing(axis: int) -> None:
    affine = np.eye(4)
    affine[:3, :3] = np.roll(np.diag([9.0, 9.0, 0.5]), axis - 2, axis=1)
    assert Volume(np.zeros((2, 2, 2)), affine, source=Path("x")).slice_axis == axis


def test_a_sheared_voxel_has_the_volume_of_its_parallelepiped() -> None:
    affine = np.diag([-0.8, 0.7, 3.0, 1.0])
    affine[:3, 2] = [0, 3 * np.tan(np.radians(15)), 3]  # the spacing grows, the volume does not
    volume = Volume(np.zeros((2, 2, 2)), affine, source=Path("x"))
    assert voxel_mm3(volume.affine) == pytest.approx(0.8 * 0.7 * 3)
    assert np.prod(volume.spacing) > 1.03 * voxel_mm3(volume.affine)
    assert volume.headers == ()
