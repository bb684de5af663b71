"""What the numbers of a label map mean, and the types of the arrays that go with one.

Everything in `labelmap` works on label maps (i, j, k) uint8 with 0 background, 1 liver and 2 tumor; the organ is liver
and tumor together. Beside them go probabilities (2, i, j, k) uint8 of liver and tumor, x 255, and the affine (4, 4) of
the grid, voxel index to RAS mm. Inputs are never changed, empty label maps pass, and work is done in the box around
what is looked at, so that the volume's size hardly matters.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

LIVER, TUMOR = 1, 2

Labels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Probabilities = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.float64]
