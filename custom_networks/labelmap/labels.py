"""The values of label maps, and the types of the arrays in this package.

Label maps are (i, j, k) uint8 with 0 background, 1 liver and 2 tumor; "organ" means liver and tumor together.
Probabilities of liver and tumor are (2, i, j, k) uint8, where 255 means 1. Affines are (4, 4), from voxel indices to
RAS mm. Inputs are never modified, and empty label maps are accepted. Nearly all work is done within bounding boxes, so
the size of the volume hardly matters.
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
