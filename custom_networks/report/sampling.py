"""Memory-efficient resampling of planes and volumes along their axes."""

from typing import Any

import numpy as np
import numpy.typing as npt

from custom_networks.labelmap.labels import Floats

AT_A_TIME = 2 << 20  # most voxels converted to float32 at a time


def weights(positions: Floats, size: int) -> npt.NDArray[np.float32]:
    """Return weights (n, size) that sample a line of `size` voxels at n evenly spaced voxel positions.

    Samples are interpolated linearly or, if positions are farther apart than voxels, weighted means of the voxels
    around each position. Positions outside the voxels have zero weights.
    """
    step = max(1.0, abs(float(positions[1] - positions[0]))) if len(positions) > 1 else 1.0
    near = np.clip(1 - np.abs(positions[:, None] - np.arange(size)) / step, 0, None)
    near[(positions <= -0.5) | (positions >= size - 0.5)] = 0
    total = near.sum(axis=1, keepdims=True)
    return np.asarray(near / np.where(total > 0, total, 1), np.float32)


class PlaneReader:
    """Resamples planes of shape (i, j) at the voxel positions `rows` x `columns`; values outside the plane are 0."""

    def __init__(self, shape: tuple[int, ...], rows: Floats, columns: Floats) -> None:
        reads = [weights(at, size) for at, size in zip((rows, columns), shape, strict=True)]
        (top, bottom), (left, right) = (_needed(read) for read in reads)
        self._part = slice(top, bottom), slice(left, right)
        self._rows, self._columns = reads[0][:, top:bottom], reads[1][:, left:right].T

    def part(self, plane: npt.NDArray[np.generic]) -> npt.NDArray[Any]:
        """Return the part of a plane that `read` needs."""
        return plane[self._part]

    def read(self, part: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
        """Return the resampled values (rows, columns) of a plane, given the part of it that `part` returns."""
        return np.asarray(self._rows @ part.astype(np.float32) @ self._columns)


def volume_at(volume: npt.NDArray[np.generic], *positions: Floats) -> npt.NDArray[np.float32]:
    """Resample a volume (i, j, k) at evenly spaced voxel positions along its three axes, a few planes at a time.

    Values outside the volume are 0.
    """
    order = sorted(range(3), key=lambda axis: -abs(volume.strides[axis]))
    reads = [weights(positions[axis], volume.shape[axis]) for axis in order]
    needed = [_needed(read) for read in reads]
    part = volume.transpose(order)[tuple(slice(first, stop) for first, stop in needed)]
    slow, middle, fast = (read[:, first:stop] for read, (first, stop) in zip(reads, needed, strict=True))
    found = np.empty((len(slow), len(middle), len(fast)), np.float32)
    plane = part.shape[1] * part.shape[2]
    chunk = max(1, AT_A_TIME // max(1, plane * (len(part) // len(slow))))
    for start in range(0, len(slow), chunk):
        some = slow[start : start + chunk]
        first, stop = _needed(some)
        planes = np.ascontiguousarray(part[first:stop], np.float32).reshape(stop - first, plane)
        read = (some[:, first:stop] @ planes).reshape(len(some), *part.shape[1:])
        found[start : start + chunk] = middle @ _along_last(read, fast)
    return found.transpose([order.index(axis) for axis in range(3)])


def nearest(positions: Floats, size: int) -> npt.NDArray[np.intp]:
    """Return the index of the voxel nearest to each position on a line of `size` voxels."""
    return np.asarray(np.clip(np.rint(positions), 0, size - 1).astype(np.intp))


def _along_last(part: npt.NDArray[np.float32], read: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Apply weights (n, size) to the last axis, 32 positions at a time, because most weights are 0."""
    found = np.empty((*part.shape[:-1], len(read)), np.float32)
    for start in range(0, len(read), 32):
        some = read[start : start + 32]
        first, last = _needed(some)
        found[..., start : start + 32] = part[..., first:last] @ some[:, first:last].T
    return found


def _needed(read: npt.NDArray[np.float32]) -> tuple[int, int]:
    """Return the start and stop index of the voxels with nonzero weights, or (0, 0) if there are none."""
    used = np.flatnonzero(read.any(axis=0))
    return (int(used[0]), int(used[-1]) + 1) if used.size else (0, 0)
