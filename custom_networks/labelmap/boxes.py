"""Bounding boxes of the foreground, as one slice for each of the three axes."""

from collections.abc import Sequence

import numpy as np

from custom_networks.labelmap.labels import Labels, Mask

Box = tuple[slice, slice, slice]

NOWHERE: Box = (slice(0, 0), slice(0, 0), slice(0, 0))


def box_around(mask: Labels | Mask) -> Box | None:
    """Return the smallest box that contains all non-zero voxels of a 3D array, or None if there are none."""
    plane = np.any(mask, axis=2)
    if not np.any(plane):
        return None
    rows, columns = (np.flatnonzero(np.any(plane, axis=axis)) for axis in (1, 0))
    box = (slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
    slices = np.flatnonzero(np.any(mask[box], axis=(0, 1)))
    return *box, slice(int(slices[0]), int(slices[-1]) + 1)


def moved_box(box: Box, outer: Box) -> Box:
    """Convert a box from indices within the box `outer` to indices of the whole array."""
    x, y, z = (slice(o.start + b.start, o.start + b.stop) for b, o in zip(box, outer, strict=True))
    return x, y, z


def copy_in(box: Box, labels: Labels) -> Labels:
    """Return a copy of a label map that is zero outside a box.

    Only the box takes up memory: the operating system allocates pages of `np.zeros` when they are written to.
    """
    copied = np.zeros(labels.shape, labels.dtype)
    copied[box] = labels[box]
    return copied


def grown_box(box: Box, margin_mm: float, spacing: Sequence[float], shape: Sequence[int]) -> Box:
    """Return a box enlarged by at least `margin_mm` on every side and clipped to the array's shape; `spacing` in mm."""
    margins = [int(np.ceil(margin_mm / mm)) for mm in spacing]
    x, y, z = (
        slice(max(0, part.start - margin), min(size, part.stop + margin))
        for part, margin, size in zip(box, margins, shape, strict=True)
    )
    return x, y, z
