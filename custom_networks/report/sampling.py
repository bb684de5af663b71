"""Reading a grid of voxels at other distances, axis by axis, in little memory."""

from typing import Any

import numpy as np
import numpy.typing as npt

from custom_networks.labelmap.labels import Floats

AT_A_TIME = 2 << 20  # voxels that are read as float32 at a time


def weights(positions: Floats, size: int) -> npt.NDArray[np.float32]:
    """(n, size) weights that sample a line of `size` voxels at n evenly spaced positions (voxel indices from 0).

    Linear between voxels; where positions are farther apart than voxels, a weighted mean of the voxels around each.
    Beyond half a voxel from the line all weights are 0.
    """
    step = max(1.0, abs(float(positions[1] - positions[0]))) if len(positions) > 1 else 1.0
    near = np.clip(1 - np.abs(positions[:, None] - np.arange(size)) / step, 0, None)
    near[(positions <= -0.5) | (positions >= size - 0.5)] = 0
    total = near.sum(axis=1, keepdims=True)
    return np.asarray(near / np.where(total > 0, total, 1), np.float32)


class PlaneReader:
    """Reads planes of one shape (i, j) at the positions `rows` x `columns`; 0 outside of them."""

    def __init__(self, shape: tuple[int, ...], rows: Floats, columns: Floats) -> None:
        reads = [weights(at, size) for at, size in zip((rows, columns), shape, strict=True)]
        (top, bottom), (left, right) = (_needed(read) for read in reads)
        self._part = slice(top, bottom), slice(left, right)
        self._rows, self._columns = reads[0][:, top:bottom], reads[1][:, left:right].T

    def part(self, plane: npt.NDArray[np.generic]) -> npt.NDArray[Any]:
        """The part of a plane that the samples need."""
        return plane[self._part]

    def read(self, part: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
        """The sampled values, from what `part` returned."""
        return np.asarray(self._rows @ part.astype(np.float32) @ self._columns)


def volume_at(volume: npt.NDArray[np.generic], *positions: Floats) -> npt.NDArray[np.float32]:
    """Values of a volume (i, j, k) at the positions along its axes, plane by plane as it lies in memory."""
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
    """Index of the voxel nearest to each position."""
    return np.asarray(np.clip(np.rint(positions), 0, size - 1).astype(np.intp))


def _along_last(part: npt.NDArray[np.float32], read: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The last axis read by weights, 32 positions at a time: most weights are 0."""
    found = np.empty((*part.shape[:-1], len(read)), np.float32)
    for start in range(0, len(read), 32):
        some = read[start : start + 32]
        first, last = _needed(some)
        found[..., start : start + 32] = part[..., first:last] @ some[:, first:last].T
    return found


def _needed(read: npt.NDArray[np.float32]) -> tuple[int, int]:
    """First voxel that has a weight, and the one after the last; (0, 0) where none has."""
    used = np.flatnonzero(read.any(axis=0))
    return (int(used[0]), int(used[-1]) + 1) if used.size else (0, 0)
