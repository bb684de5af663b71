"""Score a map of Couinaud's segments against an expert's map."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from custom_networks.labelmap.boxes import NOWHERE, box_around
from custom_networks.labelmap.components import NEIGHBOURS_26
from custom_networks.labelmap.labels import TUMOR, Labels, Mask
from custom_networks.labelmap.segments import SEGMENTS, lesion_segments


def segment_dice(found: Labels, truth: Labels, labels: Labels) -> dict[int, float]:
    """Dice of each segment, by number (1 to 8); nan if neither map has the segment.

    Voxels of the true liver without a true segment do not count.

    Args:
        found: map of segments to score, (i, j, k).
        truth: the expert's map of segments on the same grid.
        labels: the expert's label map on the same grid, 0 outside the liver.
    """
    box = box_around(found | labels) or NOWHERE  # no true segment lies outside the liver
    found, truth, labels = found[box], truth[box], labels[box]
    known = (truth > 0) | (labels == 0)
    both = np.bincount(truth[known & (found == truth)], minlength=9)
    sizes = np.bincount(found[known], minlength=9) + np.bincount(truth[known], minlength=9)
    return {n: float(2 * both[n] / sizes[n]) if sizes[n] else float("nan") for n in SEGMENTS}


@dataclass(frozen=True)
class PlacedLesion:
    """A lesion in an expert's mask.

    Attributes:
        volume_mm3: volume, mm3.
        truth: main segment in the truth.
        found: main segment in the scored map, 0 if there is none.
        near_border: whether another true segment is within 5 mm of the lesion.
    """

    volume_mm3: float
    truth: int
    found: int
    near_border: bool


def placed_lesions(found: Labels, truth: Labels, labels: Labels, spacing: Sequence[float]) -> list[PlacedLesion]:
    """The main segment of each lesion in the truth and in a scored map; lesions in no true segment are left out.

    Args:
        found: map of segments to score, (i, j, k).
        truth: the expert's map of segments on the same grid.
        labels: the expert's label map on the same grid; lesions are its 26-connected tumors.
        spacing: voxel spacing along i, j, k in mm.
    """
    components, _ = ndimage.label(labels == TUMOR, NEIGHBOURS_26)
    placed = []
    for number, box in enumerate(ndimage.find_objects(components), start=1):
        lesion: Mask = components[box] == number
        true, ours = (lesion_segments(segments, lesion, box, spacing) for segments in (truth, found))
        if true.shares:
            volume = np.count_nonzero(lesion) * float(np.prod(spacing))
            segment = ours.shares[0][0] if ours.shares else 0
            placed.append(PlacedLesion(volume, true.shares[0][0], segment, true.near_border))
    return placed
