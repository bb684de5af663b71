"""What every volume must be, whatever file it came from; each refusal is one sentence of its own."""

from pathlib import Path

import numpy as np

from custom_networks.errors import InputError
from custom_networks.io.limits import check_extent
from custom_networks.labelmap.grid import slice_axis_of, spacing_of

MIN_SLICES = 5
# Padding outside the scanner's field of view is written as -2000, -3024 or less; air is -1000 HU.
LOWEST_HU = -1024
# Each CT of a body holds fat (about -100 HU) and air (-1000 HU); 0..255, 0..1 and offset scales do not.
FAT_HU = -100
SHEAR_DEGREES = 0.5
# Pixels of axial CT are at most about 1.5 mm wide; coarse volumes may be coarse in all directions.
THICK_MM = 2.5

NO_AFFINE = "has no usable affine"


def spatial_shape(shape: tuple[int, ...], source: Path) -> tuple[tuple[int, int, int], tuple[str, ...]]:
    """The three spatial sizes of an array of any shape, and a note where single trailing axes were dropped.

    InputError where it is not one 3D volume, or a size is below 1.
    """
    sizes = tuple(int(size) for size in shape)
    text = " x ".join(map(str, sizes))
    if any(size < 1 for size in sizes):
        raise InputError(f"{source} has an impossible size ({text}): its header is damaged, export the image again.")
    if len(sizes) < 3:
        raise InputError(f"{source} is {len(sizes)}D ({text}), a 3D volume is needed: give the whole CT series.")
    if any(size != 1 for size in sizes[3:]):
        raise InputError(
            f"{source} is {len(sizes)}D ({text}), one 3D volume is needed: save one time point or channel."
        )
    note = f"Trailing axes of size 1 were dropped from {text}."
    return (sizes[0], sizes[1], sizes[2]), (note,) if len(sizes) > 3 else ()


def check_geometry(
    shape: tuple[int, int, int], affine: np.ndarray, source: Path, *, axial: bool = False
) -> tuple[str, ...]:
    """Hold an array shape and its (4, 4) RAS affine against what the pipeline needs; give notes back.

    InputError where the affine is not finite or not invertible, there are fewer than 5 slices along the patient's z, no
    body has that size (`check_extent`), or the slices are not axial: cut across thick coronal or sagittal ones, axial
    slices are poor. `axial`: the slices are known to be, however wide their pixels are.
    """
    spacing = _checked_spacing(affine, source)
    axis = slice_axis_of(affine)
    if shape[axis] < MIN_SLICES:
        raise InputError(
            f"{source} holds {shape[axis]} slice{'s' * (shape[axis] != 1)}, at least {MIN_SLICES} are needed: "
            "give the whole series."
        )
    if not is_placeholder(affine):  # of such a volume no length is known
        check_extent(shape, affine, source)
    across = max(spacing)
    if not axial and across > THICK_MM and across > 2 * spacing[axis]:
        raise InputError(
            f"{source} holds no axial slices: voxels measure {across:g} mm across the patient and {spacing[axis]:g} mm "
            "along the patient's z: give the axial series."
        )
    if is_placeholder(affine):
        return (
            "Voxels of exactly 1 x 1 x 1 mm at the origin are what programs write when they do not know the "
            "geometry: check the size of the liver before you use any length or volume.",
        )
    shear = shear_degrees(affine)
    note = f"The voxel axes are {shear:.1f} degrees off a right angle (gantry tilt): lengths in mm are approximate."
    return (note,) if shear > SHEAR_DEGREES else ()


def _checked_spacing(affine: np.ndarray, source: Path) -> tuple[float, float, float]:
    """The spacing in mm; InputError where the affine does not place every voxel at a point of its own."""
    spacing, fault = spacing_of(affine), ""
    if not np.isfinite(affine).all():
        fault = "entries that are not finite numbers"
    elif min(spacing) <= 0:
        fault = f"spacing {' x '.join(f'{step:g}' for step in spacing)} mm, positive ones needed"
    elif abs(np.linalg.det(affine[:3, :3] / spacing)) < 1e-3:
        fault = "two voxel axes run the same way"
    if fault:
        raise InputError(f"{source} {NO_AFFINE} ({fault}): export the image again.")
    return spacing


def is_placeholder(affine: np.ndarray) -> bool:
    """Whether a (4, 4) affine is what programs write that were given none: unit voxels, and 0 or (MATLAB) 1 as origin.

    Some copies of LiTS are like this (LITS-CHALLENGE issue 14, nnU-Net issue 2751).
    """
    unit = np.allclose(np.abs(affine[:3, :3]), np.eye(3), atol=1e-3)
    return bool(unit and (np.abs(affine[:3, 3]) <= 1).all())


def shear_degrees(affine: np.ndarray) -> float:
    """The largest departure, in degrees, of two voxel axes of a (4, 4) affine from a right angle."""
    directions = affine[:3, :3] / spacing_of(affine)
    cosines = np.abs(directions.T @ directions)[np.triu_indices(3, 1)]
    return float(np.degrees(np.arcsin(min(1.0, cosines.max()))))


def check_ct_values(array: np.ndarray, source: Path) -> None:
    """Refuse a CT volume (finite, already clipped from below) by an InputError where its voxels are all equal or none
    is as dark as fat: these are no Hounsfield units."""
    low, high = array.min(), array.max()  # reductions: no temporary of the volume's size
    if low == high:
        raise InputError(f"{source} is constant: every voxel is {low:g}; export the original CT.")
    if low > FAT_HU:
        raise InputError(
            f"{source}: intensities are not Hounsfield units: lowest value {low:g}, air or fat below {FAT_HU} HU "
            "expected; export the original CT without windowing or normalisation."
        )


LABELS = "0 (background), 1 (liver) and 2 (tumor)"
SEGMENTS = "0 (none) and 1 to 8 (Couinaud's segments)"


def label_map(array: np.ndarray, source: Path, highest: int = 2) -> np.ndarray:
    """The labels (0 background, 1 liver, 2 tumor) as uint8; InputError where a value is none of these three.

    With 8 for the highest, those of the liver's segments, 0 to 8.
    """
    labels = array.astype(np.uint8) if 0 <= array.min() and array.max() <= highest else None
    if labels is None or not np.array_equal(labels, array):
        others = np.setdiff1d(array, np.arange(highest + 1))
        named = ", ".join(f"{value:g}" for value in others[:5]) + ", ..." * (len(others) > 5)
        raise InputError(
            f"{source} holds the label{'s' * (len(others) != 1)} {named}, only {LABELS if highest == 2 else SEGMENTS} "
            "are known: map the others first."
        )
    return labels
