"""How much of a network's answer lies between two classes."""

import numpy as np

from custom_networks.labelmap.labels import Probabilities

QUARTER, HALF, MOST = 64, 128, 192


def unsure_shares(probabilities: Probabilities) -> tuple[float | None, float | None]:
    """How many voxels are undecided, against the number of those that are organ by half or more; None without any.

    The first counts voxels that are organ (liver or tumor) by a quarter to three quarters, the second those of the
    organ whose part of tumor is a quarter to three quarters. Worked plane by plane, as memory has them: (2, i, j, k).
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
