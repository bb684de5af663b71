"""Volumes with their affine, assembled slab by slab to avoid a float copy of the whole volume."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from custom_networks.errors import InputError
from custom_networks.io.checks import check_geometry, spatial_shape
from custom_networks.io.limits import check_voxels
from custom_networks.labelmap.grid import slice_axis_of, spacing_of

# 32 int16 values fill one cache line along the last axis, which makes the transposition to C order cheap.
SLAB_SLICES = 32
LARGEST_SLAB = 128 << 20  # bytes
LARGEST = np.finfo(np.float32).max


@dataclass(frozen=True, eq=False)
class Volume:
    """An image or label map with its geometry.

    Attributes:
        array: (i, j, k) voxels: HU for an image, labels for a label map.
        affine: (4, 4) float64, voxel index to RAS mm, as in nibabel.
        notes: sentences for the user about conversions, assumptions and unusual properties of the input.
        source: the file, folder or archive that was read, or "array" for an array from memory.
        headers: for a DICOM series, the attributes of each slice that DICOM results need, in the order of the array's
            last axis (`custom_networks.io.dicom.result_header`). They identify the patient.
        nifti_geometry: for a NIfTI file, the header fields that define its geometry (sform and qform with their
            codes), with lengths in mm; they are copied to results.
    """

    array: np.ndarray
    affine: np.ndarray
    notes: tuple[str, ...] = ()
    source: Path = field(kw_only=True)
    headers: tuple[Dataset, ...] = field(default=(), kw_only=True, repr=False)
    nifti_geometry: Mapping[str, Any] = field(default_factory=dict, kw_only=True, repr=False)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distances in mm between neighbouring voxels along the array axes."""
        return spacing_of(self.affine)

    @property
    def slice_axis(self) -> int:
        """The array axis whose direction is closest to the patient's z (feet to head)."""
        return slice_axis_of(self.affine)


def slab_slices(slice_bytes: int) -> int:
    """Return the number of slices to process at a time, given the size of a slice in bytes."""
    return max(1, min(SLAB_SLICES, LARGEST_SLAB // slice_bytes))


def slabs_of(array: Any) -> Iterator[np.ndarray]:
    """Yield the (scaled) values of an array or a nibabel array proxy, a few slices along the last axis at a time."""
    step = slab_slices(array.dtype.itemsize * prod(array.shape[:-1]))
    for start in range(0, array.shape[-1], step):
        yield np.asarray(array[..., start : start + step])


def collect_slabs(
    slabs: Iterable[np.ndarray], shape: tuple[int, int, int], *, whole_numbers: bool, lowest: float | None, source: Path
) -> np.ndarray:
    """Join slabs (i, j, n), consecutive along the last axis, into one array of the given shape (i, j, k).

    Args:
        slabs: the slabs, in order.
        shape: shape of the result.
        whole_numbers: whether all values are integers. If so, the result is int16 (int32 or float32 if values do not
            fit); otherwise, it is float32.
        lowest: smaller values are set to this; None keeps them.
        source: the file, for the message.

    Raises:
        InputError: a value is NaN, infinite or too large for float32.
    """
    array = np.empty(shape, np.int16 if whole_numbers else np.float32)
    start = 0
    for slab in slabs:
        if not (-LARGEST <= slab.min() and slab.max() <= LARGEST):  # min and max propagate NaN
            raise InputError(
                f"{source} holds values that are not finite numbers (NaN or infinity) or exceed single precision: "
                "replace them, or export the image again."
            )
        if lowest is not None and slab.min() < lowest:
            slab = np.maximum(slab, lowest)
        array = _wide_enough(array, slab)
        array[..., start : start + slab.shape[-1]] = slab
        start += slab.shape[-1]
    return array


def _wide_enough(array: np.ndarray, slab: np.ndarray) -> np.ndarray:
    """Return `array`, converted to a wider type if an integer array cannot represent the values of `slab`."""
    if array.dtype.kind == "f":
        return array
    low, high = slab.min(), slab.max()
    for dtype in (np.int16, np.int32):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return array.astype(np.promote_types(array.dtype, dtype), copy=False)
    return _as_float32(array)


def _as_float32(array: np.ndarray) -> np.ndarray:
    """Convert to float32, an int32 array in place."""
    if array.dtype.itemsize != 4:
        return array.astype(np.float32)
    turned = array.view(np.float32)
    for i in range(array.shape[0]):
        turned[i] = array[i].astype(np.float32)
    return turned


def volume_of(
    array: Any,
    affine: np.ndarray,
    slabs: Iterable[np.ndarray] | None = None,
    *,
    source: Path,
    lowest: float | None,
    allow_large: bool = False,
) -> Volume:
    """Make a checked volume from an array, a nibabel array proxy or the header of a file.

    Args:
        array: provides shape and type and, without `slabs`, the voxels.
        affine: (4, 4) voxel index to RAS mm.
        slabs: the voxels (i, j, n), a few slices at a time.
        source: the input, for messages.
        lowest: smaller values are set to this; None keeps them.
        allow_large: whether to lift the memory limits.

    Raises:
        InputError: the input is not 3D or too large, its voxels are not plain finite numbers, or `check_geometry`
            refuses its affine.
    """
    shape, notes = spatial_shape(array.shape, source)
    check_voxels(shape, source, allow_large)
    notes += check_geometry(shape, affine, source)
    if array.dtype.kind not in "iuf":
        raise InputError(
            f"{source} holds {array.dtype} voxels, but integers or real numbers are needed: convert them, or export "
            "the CT again."
        )
    scaling = [float(getattr(array, name, 0)) for name in ("slope", "inter")]
    whole_numbers = array.dtype.kind in "iu" and all(number.is_integer() for number in scaling)
    slabs = slabs_of(array.reshape(shape)) if slabs is None else slabs
    joined = collect_slabs(slabs, shape, whole_numbers=whole_numbers, lowest=lowest, source=source)
    return Volume(joined, affine, notes, source=source)
