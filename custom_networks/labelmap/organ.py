"""Anatomy rules for the organ in a label map: it should be one piece without holes."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from custom_networks.labelmap.boxes import Box, box_around, copy_in, grown_box
from custom_networks.labelmap.components import (
    NEIGHBOURS_6,
    NEIGHBOURS_26,
    box_of_large_parts,
    component_sizes,
    enclosed,
    is_within,
)
from custom_networks.labelmap.grid import spacing_of, voxel_mm3
from custom_networks.labelmap.labels import LIVER, TUMOR, Floats, Labels, Mask, Probabilities

GRID_MM = 2.5  # fine enough to measure how thick an organ is
MIN_CORE_ML = 0.1
SLICES_AT_ONCE = 32
# Connects pixels within a slice only, so that one call labels all slices separately.
_NEIGHBOURS_4_IN_SLICE = NEIGHBOURS_6 & np.array([False, True, False])


def keep_organ(
    labels: Labels, affine: Floats, min_part_ml: float = 50.0, gap_mm: float = 10.0, neck_mm: float = 8.0
) -> Labels:
    """Keep the largest part of the organ and large parts close to it; the rest becomes background.

    Parts are connected components of liver and tumor (26-neighbourhood), so both halves of a liver that a tumor cuts
    in two are kept. Thick slices can separate the left lobe from the rest, so a part of at least `min_part_ml` is kept
    if it comes within `gap_mm` of the largest part. Conversely, the mask can leak into neighbouring organs, so anything
    smaller than `min_part_ml` that is attached by a neck thinner than `neck_mm` is removed. Necks are searched for on a
    grid of every n-th voxel, at most 2.5 mm apart unless the voxels are larger.

    Args:
        labels: label map.
        affine: affine of its grid.
        min_part_ml: smallest volume of any other part, ml.
        gap_mm: largest distance of any other part from the largest one, mm, between voxel centres.
        neck_mm: smallest thickness of a neck by which a small part may be attached, mm; 0 removes no attached part.

    Returns:
        A new label map.
    """
    kept = np.zeros(labels.shape, labels.dtype)  # not zeros_like, which writes to all of its memory
    organ_box = box_around(labels)
    if organ_box is None:
        return kept
    spacing = spacing_of(affine)
    box = grown_box(organ_box, GRID_MM, spacing, labels.shape)
    # Rounded, so that a part of exactly the minimum volume counts; at least one voxel, since 0 is the background.
    min_voxels = max(1.0, round(min_part_ml * 1000 / voxel_mm3(affine), 6))
    components, sizes, place = _large_components(labels[box] > 0, spacing, min_voxels)
    largest = int(sizes.argmax())
    parts = ndimage.find_objects(components)
    keep = np.zeros(sizes.size, bool)
    for part in {largest, *np.flatnonzero(sizes >= min_voxels)}:
        near = components[grown_box(parts[part - 1], gap_mm, spacing, components.shape)]
        keep[part] = part == largest or is_within(near == part, near == largest, gap_mm, spacing)
    components[~keep[components]] = 0
    if neck_mm > 0:
        components[_thinly_attached(components, affine, min_part_ml, neck_mm)] = 0
    kept[box][place] = labels[box][place] * (components > 0)
    return kept


def _thinly_attached(components: npt.NDArray[np.int32], affine: Floats, min_part_ml: float, neck_mm: float) -> Mask:
    """Return a mask of the parts that are attached to a component by a thin neck; see `keep_organ`.

    Cores are the regions deeper than half of `neck_mm`, without those below `MIN_CORE_ML`, and each voxel belongs to
    its nearest core. The mask contains the voxels that belong to a core, unless this core is the largest of its
    component or its voxels make up at least `min_part_ml`. It is empty if there is no core.
    """
    spacing = spacing_of(affine)
    steps = [max(1, int(GRID_MM / mm + 1e-6)) for mm in spacing]
    coarse = components[tuple(slice(None, None, step) for step in steps)]
    sampling = [step * mm for step, mm in zip(steps, spacing, strict=True)]
    voxel_ml = voxel_mm3(affine) * float(np.prod(steps)) / 1000
    cores, count = ndimage.label(ndimage.distance_transform_edt(coarse > 0, sampling=sampling) > neck_mm / 2)
    core_ml = np.round(component_sizes(cores, count) * voxel_ml, 9)  # rounded as in `keep_organ`
    cores[core_ml[cores] < MIN_CORE_ML] = 0  # specks under a rough surface
    if not cores.any():
        return np.zeros(components.shape, bool)
    nearest = ndimage.distance_transform_edt(cores == 0, sampling=sampling, return_distances=False, return_indices=True)
    belongs = cores[tuple(nearest)]
    keep = np.round(np.bincount(belongs[coarse > 0], minlength=count + 1) * voxel_ml, 9) >= min_part_ml
    component = np.zeros(count + 1, np.int32)
    component[cores] = coarse
    by_size = np.argsort(-core_ml)
    keep[by_size[np.unique(component[by_size], return_index=True)[1]]] = True
    hangs = ~keep[belongs]
    return hangs[np.ix_(*(np.arange(size) // step for size, step in zip(components.shape, steps)))]


def _large_components(
    organ: Mask, spacing: Sequence[float], min_voxels: float
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], Box]:
    """Return the numbered components within a box, their sizes in voxels (0 for the background), and the box.

    The box contains the largest component and all of at least `min_voxels`, with a margin of `GRID_MM` around them.
    """
    box = grown_box(box_of_large_parts(organ, min_voxels), GRID_MM, spacing, organ.shape)
    components, count = ndimage.label(organ[box], NEIGHBOURS_26)
    sizes = component_sizes(components, count)
    if sizes.max() < min_voxels:
        # No component is that large, so a component outside this box might be the largest.
        return _large_components(organ, spacing, float(sizes.max()))
    return components, sizes, box


def _organ_holes(organ: Mask, spacing: Sequence[float], max_hole_mm2: float) -> Mask:
    """Return a mask of the holes of at most `max_hole_mm2` within a slice, and of all holes that are enclosed in 3D."""
    filled = organ.copy()
    for start in range(0, organ.shape[2], SLICES_AT_ONCE):
        part = slice(start, start + SLICES_AT_ONCE)
        holes, sizes = enclosed(organ[..., part], _NEIGHBOURS_4_IN_SLICE)
        small = sizes * spacing[0] * spacing[1] <= max_hole_mm2
        small[0] = False
        filled[..., part] |= small[holes]
    filled |= enclosed(filled, NEIGHBOURS_6)[0] > 0
    return filled & ~organ


def fill_organ(labels: Labels, probabilities: Probabilities, affine: Floats, max_hole_mm2: float = 100.0) -> Labels:
    """Fill the organ's holes; a filled voxel is tumor where tumor is more probable than liver, else liver.

    A necrotic core thus becomes tumor, and a vessel becomes liver. Holes that are enclosed in 3D are filled whatever
    their size, because experts leave almost none (at most 0.2 ml in 29 livers of LiTS and 3D-IRCADb). Holes within a
    slice are filled only up to `max_hole_mm2`, because the vena cava and the gallbladder are real holes in a slice: of
    633 holes within slices of these experts' masks, the 120 above 100 mm2 make up 89 % of the area.

    Args:
        labels: label map, slices along the last axis.
        probabilities: liver and tumor probabilities (2, i, j, k).
        affine: affine of the grid.
        max_hole_mm2: largest area of a hole within a slice, mm2.

    Returns:
        A new label map.
    """
    box = box_around(labels)
    if box is None:
        return labels.copy()
    filled = copy_in(box, labels)
    holes = _organ_holes(labels[box] > 0, spacing_of(affine), max_hole_mm2)
    liver, tumor = (probability[box][holes] for probability in probabilities)
    filled[box][holes] = np.where(tumor > liver, TUMOR, LIVER)
    return filled
