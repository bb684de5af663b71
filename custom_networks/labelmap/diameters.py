"""Longest diameter of a region in one slice and the longest one across it, as RECIST 1.1 measures a lesion.

Eisenhauer et al., New response evaluation criteria in solid tumours: revised RECIST guideline (version 1.1), European
Journal of Cancer 45, 2009: lesions are measured by their longest diameter in the plane of the slices.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import cdist

from custom_networks.labelmap.labels import Floats, Mask

NEIGHBOURS_8_IN_SLICE = np.zeros((3, 3, 3), bool)
NEIGHBOURS_8_IN_SLICE[:, :, 1] = True

# A pixel reaches to the middles of its four edges, as in scikit-image's feret_diameter_max: one pixel measures its own
# width. Its centre alone would give it no size; its corners make circles 1.1 to 1.3 pixels too long, these .6 to .8.
EDGES = np.array([[0.5, 0.0], [-0.5, 0.0], [0.0, 0.5], [0.0, -0.5]])


@dataclass(frozen=True, eq=False)
class Diameters:
    """The largest distance between two points of a region's outline, and the longest chord of its hull across that.

    Ends are (2, 2) pixel indices, the middle of a pixel at whole numbers.
    """

    longest_mm: float
    perpendicular_mm: float
    longest_ends: Floats
    perpendicular_ends: Floats


def diameters(pixels: npt.NDArray[np.int64], to_mm: Floats) -> Diameters:
    """Measure a region given by the indices (n, 2) of its pixels, at least one; of equally long diameters the first.

    `to_mm` is (2, 2), its columns the steps of the two indices in the slice's plane, mm; need not be at right angles.
    """
    outline = _hull(pixels) @ to_mm.T
    distances = cdist(outline, outline)
    first, second = sorted(int(i) for i in np.unravel_index(distances.argmax(), distances.shape))
    chord = _longest_chord_across(outline, first, second)
    back = np.linalg.inv(to_mm).T
    return Diameters(
        longest_mm=float(distances[first, second]),
        perpendicular_mm=float(np.linalg.norm(chord[1] - chord[0])),
        longest_ends=outline[[first, second]] @ back,
        perpendicular_ends=chord @ back,
    )


def widest_slice(mask: Mask, axis: int, to_mm: Floats) -> tuple[Diameters, int]:
    """The diameters of the slice in which a lesion is longest, and its index along the slice axis.

    Parts of a lesion that are not connected within a slice (not even by corners) are measured each on its own. The
    ends are indices along the other two axes, in their order.

    Args:
        mask: (i, j, k) of at least one voxel.
        axis: the slice axis.
        to_mm: (3, 3), its columns the steps of the three indices, mm.
    """
    slices_last = np.moveaxis(mask, axis, 2)
    parts, count = ndimage.label(slices_last, NEIGHBOURS_8_IN_SLICE)
    voxels = np.argwhere(slices_last)
    numbers = parts[slices_last]
    by_part = np.split(voxels[np.argsort(numbers, kind="stable")], np.cumsum(np.bincount(numbers)[1:-1]))
    plane = np.linalg.qr(np.delete(to_mm, axis, axis=1))[1]  # the slice's own millimetres, at right angles
    measured = [(diameters(part[:, :2], plane), int(part[0, 2])) for part in by_part]
    return max(measured, key=lambda one: one[0].longest_mm)


def _hull(pixels: npt.NDArray[np.int64]) -> Floats:
    """Corners of the convex hull of the pixels' edge middles, (m, 2), in the order of the outline."""
    ordered = pixels[np.lexsort((pixels[:, 1], pixels[:, 0]))]
    starts = np.flatnonzero(np.diff(ordered[:, 0], prepend=ordered[0, 0] - 1))
    ends = np.append(starts[1:], len(ordered)) - 1
    points = (ordered[np.union1d(starts, ends), None] + EDGES).reshape(-1, 2)  # the first and last pixel of each row
    return np.asarray(points[ConvexHull(points).vertices])


def _longest_chord_across(outline: Floats, first: int, second: int) -> Floats:
    """Ends (2, 2) of the longest chord of a convex outline at a right angle to the line between two of its corners.

    The two corners are the farthest apart, so each half of the outline runs from one to the other without turning
    back, and the chord's length along the line has its maximum at a corner.
    """
    along = (outline[second] - outline[first]) / np.linalg.norm(outline[second] - outline[first])
    across = np.array([-along[1], along[0]])
    turned = (outline - outline[first]) @ np.column_stack([along, across])
    halves = turned[first : second + 1], np.concatenate([turned[second:], turned[: first + 1]])[::-1]
    places = turned[:, 0]
    heights = np.array([np.interp(places, half[:, 0], half[:, 1]) for half in halves])
    widest = int(np.abs(heights[0] - heights[1]).argmax())
    ends = np.column_stack([np.repeat(places[widest], 2), heights[:, widest]])
    return np.asarray(outline[first] + ends @ np.array([along, across]))
