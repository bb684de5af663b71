"""Whether a liver is whole, as far as its mask tells: how much of it the image cuts off."""

import numpy as np

from custom_networks.labelmap.boxes import box_around
from custom_networks.labelmap.grid import spacing_of
from custom_networks.labelmap.labels import Floats, Mask

MOST_MISSING = 0.05  # share of the liver
DEPTH_MM = 25.0  # how far from the cut its shape is looked at
LONGEST_CAP_MM = 100.0


def missing_share(organ: Mask, affine: Floats) -> float:
    """About which share of the whole organ (i, j, k) lies beyond the image's borders, 0 to 1; 0 without an organ.

    Where the organ reaches a border, its cross-sections there are followed inwards for `DEPTH_MM`; what is cut off is
    taken for a cap whose cross-section goes on to shrink as fast as that, to nothing, or for one of `LONGEST_CAP_MM`
    where it does not shrink.
    """
    box = box_around(organ)
    if box is None:
        return 0.0
    spacing, beyond = spacing_of(affine), 0.0
    for axis in range(3):
        areas = np.moveaxis(organ[box], axis, 0).sum(axis=(1, 2), dtype=np.int64).astype(np.float64)
        depth = max(2, round(DEPTH_MM / spacing[axis]))
        for at_border, profile in (
            (box[axis].start == 0, areas[:depth]),
            (box[axis].stop == organ.shape[axis], areas[::-1][:depth]),
        ):
            if at_border:
                beyond += _cap(profile, LONGEST_CAP_MM / spacing[axis])
    whole = float(np.count_nonzero(organ[box])) + beyond
    return beyond / whole


def _cap(profile: Floats, longest: float) -> float:
    """Voxels of the cap on a cut, from the cross-sections behind it (voxels), the cut's first."""
    rate = (profile[-1] - profile[0]) / max(1, len(profile) - 1)
    height = min(longest, profile[0] / rate) if rate > 0 else longest
    return float(profile[0] * height / 2)


def why_incomplete(organ: Mask, affine: Floats) -> str | None:
    """A sentence where more than `MOST_MISSING` of the organ (i, j, k) seems to be missing, else None."""
    missing = missing_share(organ, affine)
    if missing <= MOST_MISSING:
        return None
    return f"about {100 * missing:.0f} % of the liver seems to lie outside of the image"
