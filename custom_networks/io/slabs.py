"""Voxels collected slab by slab into the narrowest type that holds them: no float copy of a volume ever exists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from custom_networks.errors import InputError
from custom_networks.io.checks import check_geometry, spatial_shape
from custom_networks.io.volume import Volume

# A cache line of int16 along the last axis: the transposition into C order then costs little.
SLAB_SLICES = 32


def collect_slabs(
    slabs: Iterable[np.ndarray], shape: tuple[int, int, int], *, whole_numbers: bool, lowest: float | None, source: Path
) -> np.ndarray:
    """Join slabs of slices to one array of the given shape.

    Args:
        slabs: arrays (i, j, n) that follow each other along the last axis.
        shape: (i, j, k) of the result.
        whole_numbers: the values are integers by type and scaling: int16 where they fit, else int32; else float32.
        lowest: values below are set to it; None leaves all as they are.
        source: named in the error.

    Raises:
        InputError: a value is NaN, infinite or beyond float32.
    """
    array = np.empty(shape, np.int16 if whole_numbers else np.float32)
    start = 0
    for slab in slabs:
        _check_finite(slab, source)
        if lowest is not None and slab.min() < lowest:
            slab = np.maximum(slab, lowest)
        array = _wide_enough(array, slab)
        array[..., start : start + slab.shape[-1]] = slab
        start += slab.shape[-1]
    return array


def _check_finite(slab: np.ndarray, source: Path) -> None:
    """Refuse NaN, infinities and numbers that float32 cannot hold (min and max pass NaN on)."""
    limit = np.finfo(np.float32).max
    if not (-limit <= slab.min() and slab.max() <= limit):
        raise InputError(
            f"{source} holds values that are not finite numbers (NaN or infinity): export the image again."
        )


def _wide_enough(array: np.ndarray, slab: np.ndarray) -> np.ndarray:
    """`array` itself, or a wider copy when an integer array cannot hold the values of `slab`."""
    if array.dtype.kind == "f":
        return array
    low, high = slab.min(), slab.max()
    for dtype in (np.int16, np.int32):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return array.astype(np.promote_types(array.dtype, dtype), copy=False)
    return array.astype(np.float32)


def slabs_of(array: Any) -> Iterator[np.ndarray]:
    """Yield an array or nibabel's array proxy, its scaling applied, a few slices along its last axis at a time."""
    for start in range(0, array.shape[-1], SLAB_SLICES):
        yield np.asarray(array[..., start : start + SLAB_SLICES])


def volume_of(
    array: Any,
    affine: np.ndarray,
    slabs: Iterable[np.ndarray] | None = None,
    *,
    source: Path,
    lowest: float | None,
    whole_numbers: bool | None = None,
) -> Volume:
    """Voxels as a checked volume.

    Args:
        array: an array, or nibabel's array proxy.
        affine: (4, 4), voxel index to RAS mm.
        slabs: where its voxels come from, if not from `array` itself.
        source, lowest, whole_numbers: as for `collect_slabs`; by default the numbers are whole by type and scaling.

    Raises:
        InputError: it is not 3D, holds no plain or finite numbers, or the affine is not usable.
    """
    shape, notes = spatial_shape(array.shape, source)
    notes += check_geometry(shape, affine, source)
    if array.dtype.kind not in "iuf":
        raise InputError(f"{source} holds {array.dtype} voxels, plain numbers are needed: export the CT again.")
    slabs = slabs_of(array.reshape(shape)) if slabs is None else slabs
    whole = _is_whole(array) if whole_numbers is None else whole_numbers
    joined = collect_slabs(slabs, shape, whole_numbers=whole, lowest=lowest, source=source)
    return Volume(joined, affine, notes, source=source)


def _is_whole(array: Any) -> bool:
    """Whether an array holds integers, and its scaling, if it is a proxy, keeps them so."""
    scaling = [float(getattr(array, name, 0)) for name in ("slope", "inter")]
    return array.dtype.kind in "iu" and all(number.is_integer() for number in scaling)
