"""Deforms stacks in-plane: rotation, scale, shear and elastic deformation by one sampling, the same for all slices."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform
from monai.utils.misc import ensure_tuple_rep
from torch import Tensor
from torch.nn import functional as F


class RandInPlaneDeformd(RandomizableTransform, MapTransform):
    """Crop the middle of stacks (C, H, W, D) to `size` after a random in-plane deformation.

    Slices ride as channels of one 2D sampling: a tenth of the cost of a 3D grid. Outside, images repeat their border
    and label maps are 0.

    Args:
        keys: tensors of one shape.
        size: in-plane size of the answer, pixels.
        modes: "bilinear" or "nearest", one a key.
        prob: probability of a deformation; otherwise the middle is cropped.
        rotate: greatest angle, radians.
        scale: greatest change of size: of both axes together, from 1 - scale to 1 + scale.
        stretch: greatest change of one axis against the other.
        shear: greatest shear factor.
        elastic: standard deviation of the elastic displacement's control points, pixels.
        elastic_grid: distance of the control points, pixels.
        elastic_prob: share of the deformations that have an elastic part.
    """

    def __init__(
        self,
        keys: KeysCollection,
        size: Sequence[int],
        modes: Sequence[str] = ("bilinear", "nearest"),
        prob: float = 0.9,
        rotate: float = 0.26,
        scale: float = 0.25,
        stretch: float = 0.1,
        shear: float = 0.1,
        elastic: float = 4.0,
        elastic_grid: float = 32.0,
        elastic_prob: float = 0.5,
    ) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob)
        self.size = tuple(size)
        self.modes = ensure_tuple_rep(modes, len(self.keys))
        self.rotate, self.scale, self.stretch, self.shear = rotate, scale, stretch, shear
        self.elastic, self.elastic_grid, self.elastic_prob = elastic, elastic_grid, elastic_prob

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        self.randomize(None)
        places = self._places()
        for key, mode in self.key_iterator(d, self.modes):
            d[key] = sample_in_plane(torch.as_tensor(d[key]), places, mode)
        return d

    def _places(self) -> Tensor:
        """Where each pixel of the answer comes from: (h, w, 2) row and column in pixels from the middle."""
        axes = [torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in self.size]
        places = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
        if not self._do_transform:
            return places
        places = places @ torch.from_numpy(self._matrix().astype(np.float32)).T
        if self.R.rand() < self.elastic_prob:
            places = places + self._elastic()
        return places

    def _matrix(self) -> "np.ndarray[Any, np.dtype[np.float64]]":
        """In-plane matrix from the answer to the input: the inverse of what the picture goes through."""
        angle, stretch = self.R.uniform(-self.rotate, self.rotate), self.R.uniform(-self.stretch, self.stretch)
        scale, shear = self.R.uniform(1 - self.scale, 1 + self.scale), self.R.uniform(-self.shear, self.shear)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        sizes = np.diag([scale * (1 + stretch), scale * (1 - stretch)])
        return np.asarray(turn @ np.array([[1, shear], [0, 1]]) @ sizes)

    def _elastic(self) -> Tensor:
        """Smooth displacement (h, w, 2) in pixels: random control points, bicubically between."""
        controls = [int(np.ceil(n / self.elastic_grid)) + 1 for n in self.size]
        points = torch.from_numpy(self.R.normal(0, self.elastic, (1, 2, *controls)).astype(np.float32))
        field = F.interpolate(points, size=self.size, mode="bicubic", align_corners=True)
        return field[0].movedim(0, -1)


def sample_in_plane(stack: Tensor, places: Tensor, mode: str) -> Tensor:
    """Sample (C, H, W, D) at in-plane places (h, w, 2), pixels (row, column) from the middle: (C, h, w, D).

    Args:
        stack: any dtype; the answer has the same.
        places: where to sample.
        mode: "bilinear", border repeated outside, for images; "nearest", 0 outside, for label maps.
    """
    height, width = stack.shape[1:3]
    # grid_sample wants (x, y) with -1 and 1 at the outer pixels' centres
    grid = places.flip(-1) / torch.tensor([max(width - 1, 1) / 2, max(height - 1, 1) / 2])
    slices = stack.movedim(-1, 1).flatten(0, 1)[None].float()
    padding = "border" if mode == "bilinear" else "zeros"
    sampled = F.grid_sample(slices, grid[None], mode=mode, padding_mode=padding, align_corners=True)[0]
    return sampled.unflatten(0, (stack.shape[0], -1)).movedim(1, -1).to(stack.dtype)
