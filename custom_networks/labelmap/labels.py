"""The values of a label map, and the types of the arrays that are used with one.

Everything in `labelmap` works on label maps (i, j, k) uint8 with 0 background, 1 liver and 2 tumor; "organ" means
liver and tumor together. Probabilities of liver and tumor are (2, i, j, k) uint8, x 255; affines are (4, 4), from voxel
indices to RAS mm. Inputs are never modified, and empty label maps are accepted. Nearly all work is done within bounding
boxes, so the volume's size hardly matters.
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
