"""What a liver can look like, applied to a label map: one organ, without holes (its lesions: `predicted_lesions`).

Arrays: label maps (H, W, D) uint8 with 0 background, 1 liver, 2 tumor, slices last; probabilities (2, H, W, D) uint8
of liver and tumor, x 255; spacing in mm along the three axes. The organ is liver and tumor together. Inputs are never
changed, empty label maps pass, and work is done in the box around what is looked at, so that the volume's size hardly
matters.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

LIVER, TUMOR = 1, 2

GRID_MM = 2.5  # fine enough to see how thick an organ is
MIN_CORE_ML = 0.1
SLICES_AT_ONCE = 32
VOXELS_AT_ONCE = 2**21

Labels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Box = tuple[slice, slice, slice]

NEIGHBOURS_26 = np.ones((3, 3, 3), bool)
_NEIGHBOURS_6 = ndimage.generate_binary_structure(3, 1)
# Connects pixels of one slice only: all slices are labelled in one call, each on its own.
_NEIGHBOURS_4_IN_SLICE = _NEIGHBOURS_6 & np.array([False, True, False])


def box_around(mask: Labels | Mask) -> Box | None:
    """Smallest box of a 3D array that holds all its non-zero voxels; None where there are none."""
    plane = np.any(mask, axis=2)
    if not np.any(plane):
        return None
    rows, columns = (np.flatnonzero(np.any(plane, axis=axis)) for axis in (1, 0))
    box = (slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
    slices = np.flatnonzero(np.any(mask[box], axis=(0, 1)))
    return *box, slice(int(slices[0]), int(slices[-1]) + 1)


def grown_box(box: Box, margin_mm: float, spacing: Sequence[float], shape: Sequence[int]) -> Box:
    """The box with at least `margin_mm` more on every side, cut at the array's borders."""
    margins = [int(np.ceil(margin_mm / mm)) for mm in spacing]
    x, y, z = (
        slice(max(0, part.start - margin), min(size, part.stop + margin))
        for part, margin, size in zip(box, margins, shape, strict=True)
    )
    return x, y, z


def box_of_large_parts(mask: Mask, min_voxels: float) -> Box:
    """Box that holds all components (26-neighbourhood) of at least `min_voxels`, or the largest groups if none is.

    Found on blocks of 4 x 4 x 4 voxels, where whatever is connected stays so: specks all over a scan of a thousand
    slices then cost neither a labelling nor 4 bytes a voxel of that size. The mask must not be empty.
    """
    counts = mask.view(np.uint8)
    for axis, size in enumerate(mask.shape):
        counts = np.add.reduceat(counts, np.arange(0, size, 4), axis=axis, dtype=np.uint8)
    groups, _ = ndimage.label(counts, NEIGHBOURS_26)
    voxels = np.bincount(groups.ravel(), counts.ravel())
    large = voxels >= min(min_voxels, voxels.max())
    large[0] = False
    blocks = box_around(large[groups])
    if blocks is None:
        raise ValueError("box_of_large_parts needs a mask with at least one voxel, got an empty one.")
    x, y, z = (slice(4 * part.start, min(4 * part.stop, size)) for part, size in zip(blocks, mask.shape, strict=True))
    return x, y, z


def component_sizes(components: npt.NDArray[np.int32], count: int) -> npt.NDArray[np.int64]:
    """Voxels of each of `count` components by number, 0 for the background.

    (Counted block by block: np.bincount makes 8 bytes of every voxel that it is given.)
    """
    flat = components.ravel()
    sizes = np.zeros(count + 1, np.int64)
    for start in range(0, flat.size, VOXELS_AT_ONCE):
        sizes += np.bincount(flat[start : start + VOXELS_AT_ONCE], minlength=count + 1)
    sizes[0] = 0
    return sizes


def is_within(part: Mask, target: Mask, distance_mm: float, spacing: Sequence[float]) -> bool:
    """Whether any voxel of `part` is at most `distance_mm` from one of `target`, measured between voxel centres."""
    if not target.any():
        return False
    if (ndimage.binary_dilation(part, _NEIGHBOURS_6) & target).any() and distance_mm >= max(spacing):
        return True
    distances = ndimage.distance_transform_edt(~target, sampling=spacing)
    return bool((distances[part] <= distance_mm).any())


def keep_organ(
    labels: Labels,
    spacing: Sequence[float],
    min_part_ml: float = 50.0,
    gap_mm: float = 10.0,
    neck_mm: float = 8.0,
) -> Labels:
    """Keep the largest part of the organ, and large parts that it nearly touches; the rest becomes background.

    Parts are components of liver or tumor by 26-neighbourhood, so a tumor that cuts the liver in two keeps both
    halves. Thick slices can cut off a left lobe: parts of `min_part_ml` or more stay where a voxel of theirs is
    within `gap_mm` of one of the largest part. The other way round, neighbours of the liver can leak into it: what
    hangs on a part by a neck thinner than `neck_mm` must have `min_part_ml` as well, or goes. Necks are looked for on
    every n-th voxel, at most 2.5 mm apart if the voxels are no larger.

    Args:
        labels: (H, W, D) label map.
        spacing: voxel size, mm.
        min_part_ml: smallest volume of a further part, ml.
        gap_mm: largest distance of a further part from the largest, mm, between voxel centres.
        neck_mm: thinnest neck of a smaller part, mm; 0 cuts nothing.

    Returns:
        (H, W, D) label map, a new array.
    """
    kept = np.zeros_like(labels)
    organ_box = box_around(labels)
    if organ_box is None:
        return kept
    box = grown_box(organ_box, GRID_MM, spacing, labels.shape)
    # Rounded, so that a part of exactly the volume asked for counts; one voxel at least, for 0 is the background.
    min_voxels = max(1.0, round(min_part_ml * 1000 / float(np.prod(spacing)), 6))
    components, sizes, place = _large_components(labels[box] > 0, spacing, min_voxels)
    largest = int(sizes.argmax())
    parts = ndimage.find_objects(components)
    keep = np.zeros(sizes.size, bool)
    for part in {largest, *np.flatnonzero(sizes >= min_voxels)}:
        near = components[grown_box(parts[part - 1], gap_mm, spacing, components.shape)]
        keep[part] = part == largest or is_within(near == part, near == largest, gap_mm, spacing)
    components[~keep[components]] = 0
    if neck_mm > 0:
        components[_hanging(components, spacing, min_part_ml, neck_mm)] = 0
    kept[box][place] = labels[box][place] * (components > 0)
    return kept


def _hanging(components: npt.NDArray[np.int32], spacing: Sequence[float], min_part_ml: float, neck_mm: float) -> Mask:
    """Where something hangs on a component by a thin neck; see `keep_organ`.

    Cores are what lies deeper than half a neck, and each voxel belongs to its nearest core. A component's largest core
    stays, and what belongs to it; so does what belongs to any core of `min_part_ml` or more in all.
    """
    steps = [max(1, int(GRID_MM / mm + 1e-6)) for mm in spacing]
    coarse = components[tuple(slice(None, None, step) for step in steps)]
    sampling = [step * mm for step, mm in zip(steps, spacing, strict=True)]
    voxel_ml = float(np.prod(sampling)) / 1000
    cores, count = ndimage.label(ndimage.distance_transform_edt(coarse > 0, sampling=sampling) > neck_mm / 2)
    core_ml = component_sizes(cores, count) * voxel_ml
    cores[core_ml[cores] < MIN_CORE_ML] = 0  # specks of depth where the surface is rough
    if not cores.any():
        return np.zeros(components.shape, bool)
    nearest = ndimage.distance_transform_edt(cores == 0, sampling=sampling, return_distances=False, return_indices=True)
    belongs = cores[tuple(nearest)]
    keep = np.bincount(belongs[coarse > 0], minlength=count + 1) * voxel_ml >= min_part_ml
    component = np.zeros(count + 1, np.int32)
    component[cores] = coarse
    by_size = np.argsort(-core_ml)
    keep[by_size[np.unique(component[by_size], return_index=True)[1]]] = True
    hangs = ~keep[belongs]
    return hangs[np.ix_(*(np.arange(size) // step for size, step in zip(components.shape, steps)))]


def _large_components(
    organ: Mask, spacing: Sequence[float], min_voxels: float
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], Box]:
    """Components in a box that holds the largest and all of `min_voxels` or more, their voxels by number, and the box.

    Voxels by number start with 0 for the background. Around the parts the box has room for background, `GRID_MM`.
    """
    box = grown_box(box_of_large_parts(organ, min_voxels), GRID_MM, spacing, organ.shape)
    components, count = ndimage.label(organ[box], NEIGHBOURS_26)
    sizes = component_sizes(components, count)
    if sizes.max() < min_voxels:
        # A component outside might be larger than all in this box, which was laid around larger ones only.
        box = grown_box(box_of_large_parts(organ, sizes.max()), GRID_MM, spacing, organ.shape)
        components, count = ndimage.label(organ[box], NEIGHBOURS_26)
        sizes = component_sizes(components, count)
    return components, sizes, box


def enclosed(mask: Mask, structure: Mask) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Holes of a mask: components of its background, by `structure`, that do not reach the array's border.

    Returns:
        An array of the mask's shape with 0 outside holes and else the hole's number, and the voxels by number.
    """
    padded = np.pad(mask, 1)
    components, count = ndimage.label(~padded, structure)
    open_ones = np.zeros(count + 1, bool)
    # The padding around each slice is background, so these four sides touch all that is open, above and below too.
    for side in (components[0], components[-1], components[:, 0], components[:, -1]):
        open_ones[side.ravel()] = True
    components[open_ones[components]] = 0
    return components[1:-1, 1:-1, 1:-1], component_sizes(components, count)


def organ_holes(organ: Mask, spacing: Sequence[float], max_hole_mm2: float) -> Mask:
    """Holes of the organ: in slices up to `max_hole_mm2`, then all that are enclosed in 3D; see `fill_organ`."""
    filled = organ.copy()
    for start in range(0, organ.shape[2], SLICES_AT_ONCE):
        part = slice(start, start + SLICES_AT_ONCE)
        holes, sizes = enclosed(organ[..., part], _NEIGHBOURS_4_IN_SLICE)
        small = sizes * spacing[0] * spacing[1] <= max_hole_mm2
        small[0] = False
        filled[..., part] |= small[holes]
    filled |= enclosed(filled, _NEIGHBOURS_6)[0] > 0
    return filled & ~organ


def fill_organ(
    labels: Labels,
    probabilities: npt.NDArray[np.uint8],
    spacing: Sequence[float],
    max_hole_mm2: float = 100.0,
) -> Labels:
    """Fill the organ's holes; a filled voxel is tumor where tumor is more probable than liver, else liver.

    So a necrotic core belongs to its tumor, and a vessel to the liver. Holes that are enclosed in 3D are filled
    whatever their size; experts leave next to none (at most 0.2 ml in 29 livers of LiTS and 3D-IRCADb). Holes of
    single slices are filled up to `max_hole_mm2`: the vena cava and the gallbladder are true holes of a slice. Of the
    633 slice holes in those masks the 120 above 100 mm2 have 89 % of the area.

    Args:
        labels: (H, W, D) label map, slices last.
        probabilities: (2, H, W, D) of liver and tumor.
        spacing: voxel size, mm.
        max_hole_mm2: largest hole of a slice that is filled, mm2.

    Returns:
        (H, W, D) label map, a new array.
    """
    filled = labels.copy()
    box = box_around(labels)
    if box is None:
        return filled
    holes = organ_holes(labels[box] > 0, spacing, max_hole_mm2)
    liver, tumor = (probability[box][holes] for probability in probabilities)
    filled[box][holes] = np.where(tumor > liver, TUMOR, LIVER)
    return filled
