"""Planes between Couinaud's segments, fitted to what a network finds.

The masks that the network learned from part the right segments 5 and 6 from 8 and 7 by one axial plane, 3 from 2 by
another one, and the right anterior 5 and 8 from the right posterior 6 and 7 by one plane that faces front.
"""

import numpy as np

from custom_networks.labelmap.labels import Floats

# Segments on the side of low indices of an axis (1 back to front, 2 feet to head), their partners on the other one.
PLANES = (((7, 6), (8, 5), 1), ((5, 6), (8, 7), 2), ((3,), (2,), 2))


def with_planes(shares: np.ndarray, liver: np.ndarray) -> np.ndarray:
    """Shares of the eight segments (8, h, w, d) with pairs of them parted by planes; a new array, float32.

    What belongs to the two sides of a plane together is kept; the plane lies where it agrees best with the shares, each
    cell weighted by the liver (h, w, d) in it. The two cells beside it belong to both sides, so that linear
    interpolation finds the plane between them.
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
    """Where along an axis evidence turns best from positive to negative, in steps; between two, by their evidence."""
    below = np.concatenate([[0.0], np.cumsum(evidence)])
    cut = int(np.argmax(2 * below - below[-1]))
    if cut in (0, len(evidence)):  # all on one side: a whole step beyond the end
        return float(cut - (cut == 0))
    if evidence[cut - 1] > 0 >= evidence[cut]:
        return cut - 1 + float(evidence[cut - 1] / (evidence[cut - 1] - evidence[cut]))
    return cut - 0.5
