"""Draw class-balanced stacks of slices from whole volumes."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Randomizable
from torch.nn import functional as F

from custom_networks.errors import InputError
from custom_networks.inference.spacing import slice_step


class RandSliceStacksd(Randomizable, MapTransform):
    """Crop `num_samples` stacks of `slices + 2 halo` slices around voxels drawn by class.

    First the class of the centre is drawn by `ratios` among the classes that occur in the case, then one of its voxels;
    if there is no such class, any voxel is drawn.

    The stack has every `k`-th slice, with the `k` of inference or another one that keeps the slice distance within
    `distances`; end slices are repeated as in the network's forward. In-plane, the centre has a random position in the
    crop, which is mostly within the volume and zero-padded outside. Each stack also has the items `slice_distance`, the
    distance between its slices, and `slice_thickness`, the distance between the volume's slices, in mm.

    Args:
        keys: tensors `(C, H, W, D)` with the same H, W and D; the volume's slice distance is taken from the first if it
            is a MetaTensor, and is otherwise assumed to be 3 mm.
        indices_key: key of a list with one array of flat voxel indices per class, from MONAI's `ClassesToIndicesd`.
        ratios: one weight for each class in `indices_key`.
        size: in-plane size of the crop, in pixels.
        slices: number of slices to segment.
        halo: slices of context on each side (`ContextNet25D.halo`).
        num_samples: number of crops from a volume.
        distances: smallest and largest distance between the slices of a stack, mm.

    Raises:
        InputError: on call, the tensors differ in shape or position.
    """

    def __init__(
        self,
        keys: KeysCollection,
        indices_key: str,
        ratios: Sequence[float],
        size: Sequence[int],
        slices: int,
        halo: int,
        num_samples: int = 1,
        distances: Sequence[float] = (2.0, 6.0),
    ) -> None:
        MapTransform.__init__(self, keys)
        self.indices_key = indices_key
        self.ratios = np.asarray(ratios, dtype=float)
        self.size = tuple(size)
        self.depth = slices + 2 * halo
        self.slices = slices
        self.num_samples = num_samples
        self.distances = tuple(distances)

    def __call__(self, data: Mapping[Hashable, Any]) -> list[dict[Hashable, Any]]:
        return [self._stack(data) for _ in range(self.num_samples)]

    def _stack(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Draw one stack, and return it with the other items of the case."""
        volume = data[self.first_key(dict(data))]
        self._check_grids(data, volume)
        centre = self._centre(data[self.indices_key], volume.shape[1:])
        spacing = float(volume.pixdim[-1]) if isinstance(volume, MetaTensor) else 3.0
        step, slices = self._slices(centre[2], spacing, volume.shape[3])
        corner = [self._corner(centre[axis], self.size[axis], volume.shape[axis + 1]) for axis in (0, 1)]
        d = {key: value for key, value in data.items() if key != self.indices_key}
        d |= {"slice_distance": step * spacing, "slice_thickness": spacing}
        for key in self.key_iterator(d):
            d[key] = self._crop(torch.as_tensor(data[key]).as_subclass(torch.Tensor), corner, slices)
        return d

    def _check_grids(self, data: Mapping[Hashable, Any], volume: torch.Tensor) -> None:
        """Raise InputError if a tensor is not on the grid of the first one; all are cropped by the same indices."""
        for key in self.key_iterator(dict(data)):
            other = data[key]
            same = other.shape[1:] == volume.shape[1:]
            if same and isinstance(other, MetaTensor) and isinstance(volume, MetaTensor):
                same = torch.allclose(other.affine, volume.affine, atol=0.05)
            if not same:
                raise InputError(
                    f"{key!r} must be on its image's grid, {_grid(volume)}, got {_grid(other)}: save it on that grid."
                )

    def _centre(self, indices: Sequence[np.ndarray], shape: Sequence[int]) -> tuple[int, ...]:
        """Draw a class by `ratios` and a voxel of it, as (i, j, k); any voxel if no class occurs."""
        weights = self.ratios * np.array([len(of_class) > 0 for of_class in indices])
        if weights.sum() == 0:
            return tuple(int(self.R.randint(n)) for n in shape)
        of_class = indices[self.R.choice(len(weights), p=weights / weights.sum())]
        return tuple(int(i) for i in np.unravel_index(int(of_class[self.R.randint(len(of_class))]), tuple(shape)))

    def _slices(self, centre: int, spacing: float, depth: int) -> tuple[int, list[int]]:
        """Step and slice numbers of a stack whose labelled slices include `centre`; end slices are repeated."""
        low, high = self.distances
        steps = {k for k in range(1, 1 + int(high / spacing)) if k * spacing >= low} | {slice_step(spacing)}
        step = sorted(steps)[self.R.randint(len(steps))]
        first = centre - step * (self.depth // 2 - self.slices // 2 + int(self.R.randint(self.slices)))
        last = (depth - 1 - centre) // step * step + centre
        return step, [min(max(first + step * i, centre % step), last) for i in range(self.depth)]

    def _corner(self, centre: int, size: int, extent: int) -> int:
        """First pixel of a window with `centre` in its middle half, moved if much of it would be outside the volume.

        An eighth of it may be outside, about as much as is cropped after rotation and scaling.
        """
        corner = centre - size // 2 + int(self.R.randint(-(size // 4), size // 4 + 1))
        return max(min(0, extent - size) - size // 8, min(corner, max(0, extent - size) + size // 8))

    def _crop(self, volume: torch.Tensor, corner: Sequence[int], slices: Sequence[int]) -> torch.Tensor:
        """Crop the given slices in-plane to `size` from `corner`, with zeros outside the volume."""
        stack = volume[..., slices]
        for axis in (0, 1):
            start, stop = corner[axis], corner[axis] + self.size[axis]
            extent = stack.shape[axis + 1]
            stack = stack.narrow(axis + 1, max(start, 0), min(stop, extent) - max(start, 0))
            pad = [max(-start, 0), max(stop - extent, 0)]
            stack = F.pad(stack, [0, 0] * (2 - axis) + pad)
        return stack.clone()


def _grid(volume: torch.Tensor) -> str:
    """A phrase that gives the shape of a volume and, if known, its origin and file."""
    text = f"{tuple(volume.shape[1:])}"
    if isinstance(volume, MetaTensor):
        origin = [round(float(x), 2) for x in volume.affine[:3, 3]]
        text += f" at {origin} mm in {volume.meta.get('filename_or_obj', 'memory')}"
    return text
