"""Measure how much of the network's output is undecided between two classes."""

import numpy as np

from custom_networks.labelmap.labels import Probabilities

QUARTER, HALF, MOST = 64, 128, 192


def unsure_shares(probabilities: Probabilities) -> tuple[float | None, float | None]:
    """Return the number of undecided voxels divided by the number of organ voxels, for the organ and for the lesions.

    A voxel is organ if its probability of liver or tumor is at least a half. The organ is undecided where this
    probability is between a quarter and three quarters. Lesions are undecided in organ voxels where tumor's share of
    this probability is between a quarter and three quarters. Both results are None if there is no organ.

    Args:
        probabilities: liver and tumor probabilities (2, i, j, k), which are processed plane by plane along i.
    """
    organ_voxels = between = between_lesion = 0
    for liver, tumor in zip(*probabilities, strict=True):
        if not (liver.any() or tumor.any()):
            continue
        organ = liver.astype(np.uint16) + tumor
        inside = organ >= HALF
        organ_voxels += int(np.count_nonzero(inside))
        between += int(np.count_nonzero((organ >= QUARTER) & (organ < MOST)))
        share = tumor[inside].astype(np.uint32) * 256 // organ[inside]
        between_lesion += int(np.count_nonzero((share >= QUARTER) & (share < MOST)))
    if not organ_voxels:
        return None, None
    return float(between / organ_voxels), float(between_lesion / organ_voxels)
