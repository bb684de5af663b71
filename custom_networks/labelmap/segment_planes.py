"""Planes between Couinaud's segments, fitted to what a network finds.

The masks that the network learned from part segments 5 and 8, 6 and 7, and 2 and 3 by one axial plane each, and the
right anterior from the right posterior ones by one plane that faces front.
"""

import numpy as np

from custom_networks.labelmap.labels import Floats

# Segments on the side of low indices of an axis (0 right to left or left to right, 1 back to front, 2 feet to head),
# and those on the other side.
PLANES = (((6, 7), (5, 8), 1), ((5,), (8,), 2), ((6,), (7,), 2), ((3,), (2,), 2))


def with_planes(shares: np.ndarray, liver: np.ndarray) -> np.ndarray:
    """Shares of the eight segments (8, h, w, d) with pairs of them parted by planes; a new array, float32.

    What belongs to the two sides of a plane together is kept; the plane lies where it agrees best with the shares, each
    cell weighted by the liver (h, w, d) in it. Cells that a plane runs through belong to both sides, so that
    interpolation finds the plane.
    """
    parted = np.array(shares, np.float32)
    for low, high, axis in PLANES:
        lows, highs = ([number - 1 for number in side] for side in (low, high))
        both = parted[lows].sum(0) + parted[highs].sum(0)
        others = tuple(other for other in range(3) if other != axis)
        evidence = (liver * (parted[lows].sum(0) - parted[highs].sum(0))).sum(others)
        places = np.arange(len(evidence)) - _cut(evidence)
        ramp = np.clip(0.5 - places, 0, 1).reshape([-1 if a == axis else 1 for a in range(3)])
        for side, share in ((lows, ramp), (highs, 1 - ramp)):
            own = parted[side].sum(0)
            for number in side:  # within a side, the proportions stay
                within = np.divide(parted[number], own, out=np.full_like(own, 1 / len(side)), where=own > 0)
                parted[number] = within * both * share
    return parted


def _cut(evidence: Floats) -> float:
    """Where along an axis evidence turns best from positive to negative, in steps; between two, by their evidence."""
    below = np.concatenate([[0.0], np.cumsum(evidence)])
    cut = int(np.argmax(2 * below - below[-1]))
    if 0 < cut < len(evidence) and evidence[cut - 1] > 0 > evidence[cut]:
        return cut - 1 + float(evidence[cut - 1] / (evidence[cut - 1] - evidence[cut]))
    return cut - 0.5
