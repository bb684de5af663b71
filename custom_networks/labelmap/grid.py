"""Voxel spacing, voxel volume and slice axis of a grid, from its affine.

An affine is a (4, 4) matrix from voxel indices to patient coordinates in mm, RAS+ (nibabel's convention).
"""

import numpy as np

from custom_networks.labelmap.labels import Floats


def spacing_of(affine: Floats) -> tuple[float, float, float]:
    """Return the distances in mm between neighbouring voxels along the three axes."""
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0)
    return float(x), float(y), float(z)


def voxel_mm3(affine: Floats) -> float:
    """Return the volume of a voxel in mm3, also for grids sheared by gantry tilt.

    It is the determinant as a triple product, which is exact for grids without rotation; np.linalg.det returns
    2.9999999999999996 for 1 x 1 x 3.
    """
    x, y, z = affine[:3, :3].T
    return abs(float(np.cross(x, y) @ z))


def slice_axis_of(affine: Floats) -> int:
    """Return the voxel axis (0, 1 or 2) closest to the patient's z direction."""
    return int(np.argmax(np.abs(affine[2, :3]) / spacing_of(affine)))
