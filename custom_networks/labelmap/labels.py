"""What the numbers of a label map mean, and the types of the arrays that go with one.

Everything in `labelmap` works on label maps (i, j, k) uint8 with 0 background, 1 liver and 2 tumor; the organ is liver
and tumor together. Inputs are never changed, empty label maps pass, and work is done in the box around what is looked
at, so that the volume's size hardly matters.
"""

import numpy as np
import numpy.typing as npt

LIVER, TUMOR = 1, 2

Labels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
