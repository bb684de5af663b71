"""Checks that apply to volumes of all formats."""

from pathlib import Path

import numpy as np

from custom_networks.errors import InputError
from custom_networks.io.limits import check_extent
from custom_networks.labelmap.grid import slice_axis_of, spacing_of

MIN_SLICES = 5
# Scanners pad outside their field of view with -2000, -3024 or less; air is -1000 HU.
LOWEST_HU = -1024
# Every CT of a body shows fat (about -100 HU) and air (-1000 HU), unless its values were rescaled or shifted.
FAT_HU = -100
SHEAR_DEGREES = 0.5
# Pixels of axial CT are at most about 1.5 mm wide. Wider voxels are accepted only if they are about as long along z.
THICK_MM = 2.5

NO_AFFINE = "has no usable affine"


def spatial_shape(shape: tuple[int, ...], source: Path) -> tuple[tuple[int, int, int], tuple[str, ...]]:
    """Return the 3D shape of an array, without trailing axes of size 1, and a note if such axes were dropped.

    Raises:
        InputError: the array is not a single 3D volume, or a size is below 1.
    """
    sizes = tuple(int(size) for size in shape)
    text = " x ".join(map(str, sizes))
    if any(size < 1 for size in sizes):
        raise InputError(f"{source} has an impossible size ({text}): correct it, or export the image again.")
    if len(sizes) < 3:
        raise InputError(f"{source} is {len(sizes)}D ({text}), but a 3D volume is needed: give the whole CT series.")
    if any(size != 1 for size in sizes[3:]):
        raise InputError(
            f"{source} is {len(sizes)}D ({text}), but one 3D volume is needed: save a single time point or channel."
        )
    note = f"Trailing axes of size 1 were dropped from {text}."
    return (sizes[0], sizes[1], sizes[2]), (note,) if len(sizes) > 3 else ()


def check_geometry(
    shape: tuple[int, int, int], affine: np.ndarray, source: Path, *, axial: bool = False
) -> tuple[str, ...]:
    """Check that a volume with this shape and (4, 4) affine (RAS mm) can be segmented.

    Thick coronal or sagittal slices are refused, because axial slices resampled from them are of poor quality. This
    check is skipped with `axial`, for slices known to be axial.

    Returns:
        Notes about unusual but accepted geometry.

    Raises:
        InputError: the affine is not finite or not invertible, there are fewer than 5 slices along the patient's z, the
            spacing, size or origin is impossible (see `check_extent`; not checked for a placeholder affine), or the
            slices are not axial.
    """
    spacing = _checked_spacing(affine, source)
    axis = slice_axis_of(affine)
    if shape[axis] < MIN_SLICES:
        raise InputError(
            f"{source} holds {shape[axis]} slice{'s' * (shape[axis] != 1)}, but at least {MIN_SLICES} are needed: "
            "give the whole series."
        )
    if not is_placeholder(affine):  # a placeholder has no real lengths
        check_extent(shape, affine, source)
    across = max(spacing)
    if not axial and across > THICK_MM and across > 2 * spacing[axis]:
        raise InputError(
            f"{source} does not hold axial slices: voxels measure {across:g} mm across the patient and "
            f"{spacing[axis]:g} mm along the patient's z; give the axial series."
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
    """Return the spacing in mm; raises InputError if the affine is not finite or not invertible."""
    spacing, fault = spacing_of(affine), ""
    if not np.isfinite(affine).all():
        fault = "it contains values that are not finite numbers"
    elif min(spacing) <= 0:
        fault = f"its spacing, {' x '.join(f'{step:g}' for step in spacing)} mm, is not positive"
    elif abs(np.linalg.det(affine[:3, :3] / spacing)) < 1e-3:
        fault = "its voxel axes lie in one plane"
    if fault:
        raise InputError(f"{source} {NO_AFFINE} ({fault}): correct it, or export the image again.")
    return spacing


def is_placeholder(affine: np.ndarray) -> bool:
    """Whether an affine is probably a placeholder for an unknown geometry.

    Placeholders have voxels of 1 mm along the patient's axes and an origin of 0 or, from MATLAB, 1 mm. Here, any origin
    from -1 to 1 mm counts. Some copies of LiTS have placeholders (LITS-CHALLENGE issue 14, nnU-Net issue 2751).
    """
    unit = np.allclose(np.abs(affine[:3, :3]), np.eye(3), atol=1e-3)
    return bool(unit and (np.abs(affine[:3, 3]) <= 1).all())


def shear_degrees(affine: np.ndarray) -> float:
    """Return the largest deviation from a right angle between two voxel axes of a (4, 4) affine, in degrees."""
    directions = affine[:3, :3] / spacing_of(affine)
    cosines = np.abs(directions.T @ directions)[np.triu_indices(3, 1)]
    return float(np.degrees(np.arcsin(min(1.0, cosines.max()))))


def check_ct_values(array: np.ndarray, source: Path) -> None:
    """Check whether voxel values, which must be finite, can be Hounsfield units.

    Raises:
        InputError: all voxels have the same value, or none is as dark as fat.
    """
    low, high = array.min(), array.max()  # needs no temporary array of the volume's size
    if low == high:
        raise InputError(f"{source} is constant: every voxel is {low:g}; export the original CT.")
    if low > FAT_HU:
        raise InputError(
            f"{source}: intensities are not Hounsfield units (the lowest value is {low:g}, but air and fat lie below "
            f"{FAT_HU} HU): export the original CT without windowing or normalisation."
        )


LABELS = "0 (background), 1 (liver) and 2 (tumor)"
SEGMENTS = "0 (none) and 1 to 8 (Couinaud's segments)"


def label_map(array: np.ndarray, source: Path, highest: int = 2) -> np.ndarray:
    """Convert a label map to uint8.

    Args:
        array: labels of any numeric type.
        source: the file, for the message.
        highest: largest label: 2 for liver and tumor, 8 for the liver's segments.

    Raises:
        InputError: a value is not an integer from 0 to `highest`.
    """
    labels = array.astype(np.uint8) if 0 <= array.min() and array.max() <= highest else None
    if labels is None or not np.array_equal(labels, array):
        others = np.setdiff1d(array, np.arange(highest + 1))
        named = ", ".join(f"{value:g}" for value in others[:5]) + ", ..." * (len(others) > 5)
        raise InputError(
            f"{source} holds the label{'s' * (len(others) != 1)} {named}, but only "
            f"{LABELS if highest == 2 else SEGMENTS} are allowed: change the others to these."
        )
    return labels
