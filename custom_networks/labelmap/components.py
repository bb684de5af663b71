"""Connected components of masks, and how near one lies to another."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from custom_networks.labelmap.boxes import Box, box_around
from custom_networks.labelmap.labels import Mask

VOXELS_AT_ONCE = 2**21

NEIGHBOURS_26 = np.ones((3, 3, 3), bool)
NEIGHBOURS_6 = ndimage.generate_binary_structure(3, 1)


def box_of_large_parts(mask: Mask, min_voxels: float) -> Box:
    """Box that holds all components (26-neighbourhood) of at least `min_voxels`, or the largest groups if none is.

    Found on blocks of 4 x 4 x 4 voxels, where whatever is connected stays so: specks all over a scan of a thousand
    slices then cost neither a labelling nor 4 bytes a voxel of that size. The mask must not be empty.
    """
    counts = mask.view(np.uint8)
    for axis in range(3):
        counts = _sums_of_four(counts, axis)
    groups, _ = ndimage.label(counts, NEIGHBOURS_26)
    voxels = np.bincount(groups.ravel(), counts.ravel())
    large = voxels >= min(min_voxels, voxels.max())
    large[0] = False
    blocks = box_around(large[groups])
    if blocks is None:
        raise ValueError("box_of_large_parts needs a mask with at least one voxel, got an empty one.")
    x, y, z = (slice(4 * part.start, min(4 * part.stop, size)) for part, size in zip(blocks, mask.shape, strict=True))
    return x, y, z


def _sums_of_four(counts: npt.NDArray[np.uint8], axis: int) -> npt.NDArray[np.uint8]:
    """Sums of four neighbours each along an axis, or of what is left at its end. (np.add.reduceat is slower.)"""
    first, *others = (counts[(slice(None),) * axis + (slice(offset, None, 4),)] for offset in range(4))
    sums = first.copy()
    for other in others:
        sums[tuple(slice(size) for size in other.shape)] += other
    return sums


def component_sizes(components: npt.NDArray[np.int32], count: int) -> npt.NDArray[np.int64]:
    """Voxels of each of `count` components by number, 0 for the background."""
    flat = components.ravel()
    sizes = np.zeros(count + 1, np.int64)
    for start in range(0, flat.size, VOXELS_AT_ONCE):  # np.bincount makes 8 bytes of every voxel that it is given
        sizes += np.bincount(flat[start : start + VOXELS_AT_ONCE], minlength=count + 1)
    sizes[0] = 0
    return sizes


def is_within(part: Mask, target: Mask, distance_mm: float, spacing: Sequence[float]) -> bool:
    """Whether any voxel of `part` is at most `distance_mm` from one of `target`, measured between voxel centres."""
    if not target.any():
        return False
    if (ndimage.binary_dilation(part, NEIGHBOURS_6) & target).any() and distance_mm >= max(spacing):
        return True
    distances = ndimage.distance_transform_edt(~target, sampling=spacing)
    return bool((distances[part] <= distance_mm).any())


def enclosed(mask: Mask, structure: Mask) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Holes of a mask by number, 0 elsewhere, and their voxels by number.

    A hole is a component of the background, by `structure`, that does not reach the array's border.
    """
    padded = np.pad(mask, 1)
    components, count = ndimage.label(~padded, structure)
    open_ones = np.zeros(count + 1, bool)
    # The padding around each slice is background, so these four sides touch all that is open, above and below too.
    for side in (components[0], components[-1], components[:, 0], components[:, -1]):
        open_ones[side.ravel()] = True
    components[open_ones[components]] = 0
    return components[1:-1, 1:-1, 1:-1], component_sizes(components, count)
