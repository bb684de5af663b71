"""Connected components of masks: their sizes, their distances, and holes."""

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
    """Return a box that contains all components (26-neighbourhood) of at least `min_voxels`.

    Components are found on blocks of 4 x 4 x 4 voxels, because labels at full resolution would take 4 bytes per voxel.
    Components in neighbouring blocks count as one, so the box can be larger than necessary. If no component has
    `min_voxels`, the box contains the largest one.

    Raises:
        ValueError: the mask is empty.
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
    """Return sums over groups of four along an axis; the last group may be smaller. Faster than np.add.reduceat."""
    first, *others = (counts[(slice(None),) * axis + (slice(offset, None, 4),)] for offset in range(4))
    sums = first.copy()
    for other in others:
        sums[tuple(slice(size) for size in other.shape)] += other
    return sums


def component_sizes(components: npt.NDArray[np.int32], count: int) -> npt.NDArray[np.int64]:
    """Return the number of voxels of each component, (count + 1,); entry 0, for the background, is 0."""
    flat = components.ravel()
    sizes = np.zeros(count + 1, np.int64)
    for start in range(0, flat.size, VOXELS_AT_ONCE):  # np.bincount converts its input to 8 bytes per voxel
        sizes += np.bincount(flat[start : start + VOXELS_AT_ONCE], minlength=count + 1)
    sizes[0] = 0
    return sizes


def is_within(part: Mask, target: Mask, distance_mm: float, spacing: Sequence[float]) -> bool:
    """Whether a voxel of `part` lies within `distance_mm` of a voxel of `target`, measured between their centres."""
    if not target.any():
        return False
    if (ndimage.binary_dilation(part, NEIGHBOURS_6) & target).any() and distance_mm >= max(spacing):
        return True
    distances = ndimage.distance_transform_edt(~target, sampling=spacing)
    return bool((distances[part] <= distance_mm).any())


def enclosed(mask: Mask, structure: Mask) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Return the holes of a mask (i, j, k): a number for each, at its voxels (0 elsewhere), and their sizes in voxels.

    A hole is a connected component of the background that does not touch the array's border; `structure` defines the
    neighbourhood. Numbers can have gaps, and sizes are indexed by them.
    """
    padded = np.pad(mask, 1)
    components, count = ndimage.label(~padded, structure)
    open_ones = np.zeros(count + 1, bool)
    # The padding joins all background that reaches a border, above and below too, so these four sides suffice.
    for side in (components[0], components[-1], components[:, 0], components[:, -1]):
        open_ones[side.ravel()] = True
    components[open_ones[components]] = 0
    return components[1:-1, 1:-1, 1:-1], component_sizes(components, count)
