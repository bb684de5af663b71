"""Judge from a liver's mask whether it is complete: how much the image cuts off, and how unusual the shape is.

The image's borders show what was not scanned, and the shape shows what a surgeon removed. Volume alone says little,
because a liver grows back after resection.
"""

from collections.abc import Sequence

import numpy as np

from custom_networks.labelmap.boxes import box_around
from custom_networks.labelmap.grid import spacing_of
from custom_networks.labelmap.labels import Floats, Mask

MOST_MISSING = 0.05  # share of the liver
DEPTH_MM = 12.0  # how far inwards from the cut cross-sections are followed
LONGEST_CAP_MM = 100.0
TIPS = 0.01  # share of the liver that is ignored at each end of an axis when its extent is measured
# Fitted on 31 complete livers of LiTS and 3D-IRCADb: the mean, and the inverse Cholesky factor of the covariance,
# whose off-diagonal entries are shrunk by .3.
MEAN = np.array([7.3849, 5.1312, 0.6259, 5.0662, 0.5392, 4.9185, 0.6077, -0.8231])
WHITENING = np.array(
    [
        [4.739, 0, 0, 0, 0, 0, 0, 0],
        [-1.689, 7.381, 0, 0, 0, 0, 0, 0],
        [1.218, -4.271, 52.38, 0, 0, 0, 0, 0],
        [-2.261, 0.7521, 15.67, 9.934, 0, 0, 0, 0],
        [-0.1777, -2.945, -7.904, 2.509, 36.13, 0, 0, 0],
        [-2.919, 0.4967, -13.54, 1.633, 1.081, 9.186, 0, 0],
        [1.156, 0.5705, -15.47, 0.1465, -1.951, -2.269, 51.16, 0],
        [-0.7461, 2.536, 23.8, 1.296, 0.6295, 1.059, 14.17, 12.35],
    ]
)


def missing_share(organ: Mask, affine: Floats) -> float:
    """Estimate the share, 0 to 1, of the whole organ that lies outside the image; 0 if there is no organ.

    Where the organ's mask (i, j, k) reaches a border, the areas of its cross-sections are measured over `DEPTH_MM`. The
    missing part is assumed to be a cap whose cross-section continues to shrink at the rate at which it shrinks towards
    the border. The cap is at most `LONGEST_CAP_MM` high, and exactly this high if the cross-section does not shrink.
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
    """Return the estimated size of the missing cap in voxels.

    Args:
        profile: areas in voxels of the cross-sections next to the cut, nearest first.
        longest: greatest height of the cap, in voxels.
    """
    rate = (profile[-1] - profile[0]) / max(1, len(profile) - 1)
    height = min(longest, profile[0] / rate) if rate > 0 else longest
    return float(profile[0] * height / 2)


def shape_features(liver: Floats, spacing: Sequence[float]) -> Floats:
    """Return eight features (8,) that describe the shape of a liver.

    They are the logarithm of the volume in ml; for each axis, the logarithm of the extent in mm (without a hundredth of
    the liver at each end) and the relative position of the centre of mass within the extent, 0 to 1; and the logarithm
    of the ratio of the liver's volume to the product of the three extents.

    Args:
        liver: (i, j, k) share of each cell that is liver, 0 to 1, not 0 everywhere, oriented RAS.
        spacing: spacing of the cells, mm.
    """
    total, cell = float(liver.sum()), float(np.prod(spacing))
    features, box = [np.log(total * cell / 1000)], 1.0
    for axis, mm in enumerate(spacing):
        profile = _profile(liver, axis)
        low, high = extent(liver, axis)
        length = max(high - low, 0.1)
        features += [np.log(length * mm), (profile @ np.arange(len(profile)) / total - low) / length]
        box *= length * mm
    return np.array([*features, np.log(total * cell / box)])


def extent(liver: Floats, axis: int) -> tuple[float, float]:
    """Return where a liver (i, j, k) begins and ends along an axis, as fractional cell indices.

    The share `TIPS` of the liver at each end is left out.
    """
    profile = _profile(liver, axis)
    first, last = np.interp([TIPS, 1 - TIPS], profile.cumsum() / profile.sum(), np.arange(len(profile)))
    return float(first), float(last)


def _profile(liver: Floats, axis: int) -> Floats:
    """Return the sum of each cross-section of a liver (i, j, k) along an axis."""
    return np.asarray(np.moveaxis(liver, axis, 0).sum(axis=(1, 2), dtype=np.float64))


def unusualness(liver: Floats, spacing: Sequence[float]) -> float:
    """Return the Mahalanobis distance of a liver's shape from complete livers; arguments as for `shape_features`."""
    return float(np.linalg.norm(WHITENING @ (shape_features(liver, spacing) - MEAN)))


def why_unusual(liver: Floats, spacing: Sequence[float], most: float) -> str | None:
    """Return a clause for a message if a liver's `unusualness` is above `most`, else None."""
    found = unusualness(liver, spacing)
    if found <= most:
        return None
    return (
        f"the liver's shape is unusual (Mahalanobis distance {found:.1f}, limit {most:g}), as after a resection: "
        "segments may be missing"
    )


def why_incomplete(organ: Mask, affine: Floats) -> str | None:
    """Return a clause for a message if more than `MOST_MISSING` of an organ (i, j, k) seems to be absent, else None."""
    missing = missing_share(organ, affine)
    if missing <= MOST_MISSING:
        return None
    return f"about {100 * missing:.0f} % of the liver seems to lie outside the image"
