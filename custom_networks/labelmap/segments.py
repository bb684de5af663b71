"""Couinaud's segments of the liver, in label maps (i, j, k) uint8 with 1 to 8 in the organ and 0 outside.

Couinaud (1957) divides the liver by its vessels: segment 1 is the caudate lobe, 2 to 4 lie on the patient's left, and
5 to 8 on the right.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from custom_networks.labelmap.boxes import Box, grown_box, moved_box
from custom_networks.labelmap.components import NEIGHBOURS_26, component_sizes, is_within
from custom_networks.labelmap.labels import Labels, Mask

SEGMENTS = tuple(range(1, 9))
ROMAN = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII")
BORDER_MM = 5.0

Part = tuple[int, Box, Mask]  # number of the segment, and the part's box in the map and mask in the box


@dataclass(frozen=True)
class LesionSegments:
    """The segments in which a lesion lies.

    Attributes:
        shares: pairs of a segment and its share of the lesion's voxels, 0 to 1, largest share first.
        near_border: whether the lesion comes within `BORDER_MM` of any segment other than the first in `shares`.
    """

    shares: tuple[tuple[int, float], ...]
    near_border: bool


def lesion_segments(segments: Labels, lesion: Mask, box: Box, spacing: Sequence[float]) -> LesionSegments:
    """Return the segments in which a lesion lies; there are no shares if none of its voxels is in a segment.

    Args:
        segments: map of segments (i, j, k).
        lesion: the lesion's mask within `box`.
        box: position of the mask in the map of segments.
        spacing: voxel spacing, mm.
    """
    counts = np.bincount(segments[box][lesion], minlength=len(SEGMENTS) + 1)[1:]
    order = [int(i) for i in np.argsort(-counts, kind="stable") if counts[i]]
    if not order:
        return LesionSegments((), False)
    around = grown_box(box, BORDER_MM, spacing, segments.shape)
    whole = np.zeros(segments[around].shape, bool)
    whole[tuple(slice(b.start - a.start, b.stop - a.start) for b, a in zip(box, around, strict=True))] = lesion
    others = (segments[around] > 0) & (segments[around] != order[0] + 1)
    shares = tuple((i + 1, float(counts[i] / counts.sum())) for i in order)
    return LesionSegments(shares, is_within(whole, others, BORDER_MM, spacing))


def connected_segments(segments: Labels) -> Labels:
    """Return a map in which each segment is one piece (26-neighbourhood), unless the liver itself is in several pieces.

    The largest part of each segment stays. Every other part joins the segment to which most of the voxels around it
    belong. A part that touches only other loose parts waits until one of them has joined a segment; a part that touches
    nothing (in a liver in several pieces) keeps its number.
    """
    kept = np.zeros_like(segments)
    loose: list[Part] = []
    for number, box in enumerate(ndimage.find_objects(segments), start=1):
        if box is not None:
            loose += _keep_largest(segments, number, box, kept)
    loose.sort(key=lambda part: -np.count_nonzero(part[2]))
    while loose:
        waiting = [part for part in loose if not _join(kept, part)]
        if len(waiting) == len(loose):
            break
        loose = waiting
    for number, box, mask in loose:
        kept[box][mask] = number
    return kept


def _keep_largest(segments: Labels, number: int, box: Box, kept: Labels) -> list[Part]:
    """Copy the largest part of a segment into `kept`, and return the other parts."""
    parts, count = ndimage.label(segments[box] == number, NEIGHBOURS_26)
    largest = int(component_sizes(parts, count).argmax())
    kept[box][parts == largest] = number
    boxes = enumerate(ndimage.find_objects(parts), start=1)
    return [(number, moved_box(inner, box), parts[inner] == part) for part, inner in boxes if part != largest]


def _join(kept: Labels, part: Part) -> bool:
    """Add a part, in place, to the segment that it touches most; False if it touches none.

    If it touches several segments equally, it is added to the one with the lowest number.
    """
    _, box, mask = part
    around = grown_box(box, 1.0, (1.0, 1.0, 1.0), kept.shape)
    whole = np.zeros(kept[around].shape, bool)
    whole[tuple(slice(b.start - a.start, b.stop - a.start) for b, a in zip(box, around, strict=True))] = mask
    touched = kept[around][ndimage.binary_dilation(whole, NEIGHBOURS_26) & ~whole]
    counts = np.bincount(touched, minlength=1)
    counts[0] = 0
    if not counts.any():
        return False
    kept[box][mask] = counts.argmax()
    return True
