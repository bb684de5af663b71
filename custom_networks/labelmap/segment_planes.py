"""Planes between Couinaud's segments, fitted to a network's answer.

In the masks that the network was trained on, one axial plane separates segments 5 and 6 from 8 and 7, another one
separates 3 from 2, and one coronal plane separates the right anterior segments 5 and 8 from the right posterior
segments 6 and 7.
"""

import numpy as np

from custom_networks.labelmap.labels import Floats

# Segments on the low side of an axis (1: back to front, 2: feet to head), their partners on the high side, the axis.
PLANES = (((7, 6), (8, 5), 1), ((5, 6), (8, 7), 2), ((3,), (2,), 2))


def with_planes(shares: np.ndarray, liver: np.ndarray) -> np.ndarray:
    """Separate pairs of segments by planes.

    The sum of each pair's shares is kept. A plane lies where it agrees best with the shares, each cell weighted by
    the liver in it. The two cells next to it belong partly to both sides, so that linear interpolation finds the plane
    between them.

    Args:
        shares: (8, h, w, d) share of each segment in a cell, 0 to 1.
        liver: (h, w, d) share of the liver in a cell, 0 to 1.

    Returns:
        The new shares (8, h, w, d), float32.
    """
    parted = np.array(shares, np.float32)
    for low, high, axis in PLANES:
        lows, highs = ([number - 1 for number in side] for side in (low, high))
        others = tuple(other for other in range(3) if other != axis)
        evidence = (liver * (parted[lows].sum(0) - parted[highs].sum(0))).sum(others)
        places = np.arange(len(evidence)) - _cut(evidence)
        ramp = np.clip(0.5 - places / 2, 0, 1).reshape([-1 if a == axis else 1 for a in range(3)])
        for first, second in zip(lows, highs, strict=True):
            both = parted[first] + parted[second]
            parted[first], parted[second] = both * ramp, both * (1 - ramp)
    return parted


def _cut(evidence: Floats) -> float:
    """Where along an axis the evidence changes from positive to negative, in steps; interpolated between two steps."""
    below = np.concatenate([[0.0], np.cumsum(evidence)])
    cut = int(np.argmax(2 * below - below[-1]))
    if cut in (0, len(evidence)):  # all evidence is on one side: one step beyond the end
        return float(cut - (cut == 0))
    if evidence[cut - 1] > 0 >= evidence[cut]:
        return cut - 1 + float(evidence[cut - 1] / (evidence[cut - 1] - evidence[cut]))
    return cut - 0.5
