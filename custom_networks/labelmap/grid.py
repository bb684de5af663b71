"""What an affine says about a grid: how far apart its voxels lie, how large one is, which axis runs along the slices.

An affine is (4, 4), voxel index to patient coordinates in mm, RAS+ (nibabel's convention).
"""

import numpy as np

from custom_networks.labelmap.labels import Floats


def spacing_of(affine: Floats) -> tuple[float, float, float]:
    """Distances in mm between neighbouring voxels along the three axes."""
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0)
    return float(x), float(y), float(z)


def voxel_mm3(affine: Floats) -> float:
    """Volume of a voxel, mm3: the determinant, which holds where a tilted gantry sheared the grid, too.

    As a triple product: without rotation it is the exact product of the spacings. (np.linalg.det takes a logarithm on
    its way and gives 2.9999999999999996 for 1 x 1 x 3.)
    """
    x, y, z = affine[:3, :3].T
    return abs(float(np.cross(x, y) @ z))


def slice_axis_of(affine: Floats) -> int:
    """The voxel axis (0, 1 or 2) that runs nearest to the patient's z."""
    return int(np.argmax(np.abs(affine[2, :3]) / spacing_of(affine)))
