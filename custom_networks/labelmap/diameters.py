"""A lesion's longest diameter within one slice and the longest diameter perpendicular to it, as in RECIST 1.1.

Eisenhauer et al., New response evaluation criteria in solid tumours: revised RECIST guideline (version 1.1), European
Journal of Cancer 45, 2009. RECIST measures lesions by their longest diameter in the plane of the slices.
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

# A pixel is represented by the midpoints of its four edges, as in scikit-image's feret_diameter_max, so that the
# diameter of a single pixel is its width. With centres it would be 0, and with corners circles would measure 1.1 to 1.3
# pixels too long (with midpoints 0.6 to 0.8).
EDGES = np.array([[0.5, 0.0], [-0.5, 0.0], [0.0, 0.5], [0.0, -0.5]])


@dataclass(frozen=True, eq=False)
class Diameters:
    """The longest diameter of a region, and the longest chord of its convex hull perpendicular to that diameter.

    Ends are (2, 2) pixel indices, one end per row; whole numbers are pixel centres.
    """

    longest_mm: float
    perpendicular_mm: float
    longest_ends: Floats
    perpendicular_ends: Floats


def diameters(pixels: npt.NDArray[np.int64], to_mm: Floats) -> Diameters:
    """Measure the longest and the perpendicular diameter of a region within one slice.

    If several diameters are equally long, the first along the outline is taken.

    Args:
        pixels: (n, 2) indices of the region's pixels, at least one.
        to_mm: (2, 2); each column is the step in mm of one index within the plane. They need not be perpendicular.
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
    """Return the diameters in the slice where a lesion is longest, and the index of that slice.

    Parts of a lesion that are not connected within a slice (not even at corners) are measured separately. The ends
    are indices along the other two axes, in the order of these axes.

    Args:
        mask: (i, j, k) with at least one voxel.
        axis: the slice axis.
        to_mm: (3, 3); each column is the step in mm of one index.
    """
    slices_last = np.moveaxis(mask, axis, 2)
    parts, count = ndimage.label(slices_last, NEIGHBOURS_8_IN_SLICE)
    voxels = np.argwhere(slices_last)
    numbers = parts[slices_last]
    by_part = np.split(voxels[np.argsort(numbers, kind="stable")], np.cumsum(np.bincount(numbers)[1:-1]))
    plane = np.linalg.qr(np.delete(to_mm, axis, axis=1))[1]  # orthogonal axes within the plane, mm
    measured = [(diameters(part[:, :2], plane), int(part[0, 2])) for part in by_part]
    return max(measured, key=lambda one: one[0].longest_mm)


def _hull(pixels: npt.NDArray[np.int64]) -> Floats:
    """Return the corners (m, 2) of the convex hull of the pixels' edge midpoints, in order along the outline."""
    ordered = pixels[np.lexsort((pixels[:, 1], pixels[:, 0]))]
    starts = np.flatnonzero(np.diff(ordered[:, 0], prepend=ordered[0, 0] - 1))
    ends = np.append(starts[1:], len(ordered)) - 1
    points = (ordered[np.union1d(starts, ends), None] + EDGES).reshape(-1, 2)  # the first and last pixel of each row
    return np.asarray(points[ConvexHull(points).vertices])


def _longest_chord_across(outline: Floats, first: int, second: int) -> Floats:
    """Return the ends (2, 2) of a convex outline's longest chord perpendicular to the line between two of its corners.

    The two corners are the farthest apart, so each half of the outline is monotonic along the line between them, and
    the longest chord passes through a corner.
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
