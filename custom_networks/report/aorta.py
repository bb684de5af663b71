"""Measure the attenuation of the aorta, from which the contrast phase is classified, without a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from custom_networks.labelmap.labels import Floats, Mask

if TYPE_CHECKING:
    from custom_networks.report.coarse import CoarseView

BONE_HU = 150
SPINE_SIGMA_MM = 10.0
SPINE_FROM_MIDDLE_MM = 40.0
LEFT_MM, RIGHT_MM = 32.0, 8.0  # search range to the left and right of the centre of the spine
NEAREST_MM, FARTHEST_MM = 22.0, 62.0  # search range in front of the centre of the spine
DISC_MM = 6.0  # radius
BLOOD_HU = (15.0, 700.0)
MOST_NOISE = 30.0  # standard deviation within the disc, HU
LEAST_SLICES = 4
MOST_SPREAD = 60.0  # interquartile range over the slices, HU


def aorta_hu(view: CoarseView) -> float | None:
    """Return the median HU of the aorta over the `seen_slices`, or None if it cannot be located.

    The spine is the densest concentration of bone near the midline, in the posterior half of the trunk. In each slice,
    the aorta is assumed to be the brightest homogeneous disc of 12 mm in front of the spine. The result is None if
    there is too little bone, if too few slices have such a disc, or if the slices disagree.
    """
    spine = _spine(view)
    if spine is None:
        return None
    found = [value for k in view.seen_slices if (value := _brightest_disc(view, spine, k)) is not None]
    if len(found) < LEAST_SLICES:
        return None
    low, middle, high = np.percentile(found, (25, 50, 75))
    return float(middle) if high - low <= MOST_SPREAD else None


def _spine(view: CoarseView) -> tuple[int, int] | None:
    """Return the (x, y) index of the centre of the spine, or None if there is no trunk or too little bone."""
    bone = ((view.hu[..., view.seen_slices] > BONE_HU) & view.trunk).mean(axis=2)
    sigma = [SPINE_SIGMA_MM / mm for mm in view.spacing[:2]]
    gathered = ndimage.gaussian_filter(bone, sigma)
    rows = np.flatnonzero(view.trunk.any(axis=(0, 2)))
    if not len(rows):
        return None
    gathered[:, (rows[0] + rows[-1]) // 2 :] = 0  # y increases towards anterior
    far = SPINE_FROM_MIDDLE_MM / view.spacing[0]
    gathered[: max(0, int(view.middle - far))] = 0
    gathered[int(view.middle + far) + 1 :] = 0
    x, y = np.unravel_index(int(gathered.argmax()), gathered.shape)
    return (int(x), int(y)) if gathered[x, y] > 0.15 else None


def _brightest_disc(view: CoarseView, spine: tuple[int, int], k: int) -> float | None:
    """Return the mean HU of the brightest disc in front of the spine in slice k.

    Only homogeneous discs with a mean within `BLOOD_HU` count; the result is None if there are none.
    """
    (dx, dy), (x, y) = view.spacing[:2], spine
    rows = slice(max(0, x - round(LEFT_MM / dx)), x + round(RIGHT_MM / dx) + 1)
    columns = slice(y + round(NEAREST_MM / dy), y + round(FARTHEST_MM / dy) + 1)
    part = np.clip(view.hu[rows, columns, k].astype(np.float64), -1000, 1500)
    if not part.size:
        return None
    mean, noise = _disc_statistics(part, (dx, dy))
    even = (noise < MOST_NOISE) & (mean > BLOOD_HU[0]) & (mean < BLOOD_HU[1])
    return float(mean[even].max()) if even.any() else None


def _disc_statistics(part: Floats, spacing: tuple[float, float]) -> tuple[Floats, Floats]:
    """Return mean and standard deviation in HU within the disc around each pixel, in the shape of `part`."""
    disc = _disc(spacing)
    weights = disc / disc.sum()
    mean = ndimage.correlate(part, weights, mode="nearest")
    square = ndimage.correlate(part**2, weights, mode="nearest")
    return mean, np.sqrt(np.maximum(square - mean**2, 0))


def _disc(spacing: tuple[float, float]) -> npt.NDArray[np.float64]:
    """Return a disc with a diameter of 12 mm as a kernel of zeros and ones; `spacing` is in mm."""
    x, y = (np.arange(-int(DISC_MM / mm), int(DISC_MM / mm) + 1) * mm for mm in spacing)
    inside: Mask = np.hypot(x[:, None], y[None]) <= DISC_MM
    return inside.astype(np.float64)
