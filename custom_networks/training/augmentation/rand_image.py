"""The base class of random intensity transforms for training stacks, and filters within slices."""

import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform
from torch.nn import functional as F


class RandImaged(RandomizableTransform, MapTransform, ABC):
    """Changes the images of a stack with probability `prob`; subclasses define the change and draw from `self.R`.

    Args:
        keys: float32 tensors `(C, H, W, D)`, which are changed independently. For subclasses that work in HU, 0 and 1
            stand for the ends of their `window`.
        prob: probability of a change.
    """

    def __init__(self, keys: KeysCollection, prob: float = 0.1) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            self.randomize(None)
            if self._do_transform:
                d[key] = self.changed(plain(d[key]))
        return d

    @abstractmethod
    def changed(self, image: torch.Tensor) -> torch.Tensor:
        """A changed copy of `image` `(C, H, W, D)`."""

    def uniform(self, limits: Sequence[float]) -> float:
        """A random number between the two `limits`."""
        return float(self.R.uniform(limits[0], limits[1]))


def plain(image: Any) -> torch.Tensor:
    """The values as a plain tensor without metadata, because a stack no longer has a position in the patient."""
    return torch.as_tensor(image).as_subclass(torch.Tensor)


def gaussian_kernel(sigma: float) -> torch.Tensor:
    """A Gaussian kernel of `sigma` pixels with sum 1, float32 `(2 * max(1, ceil(3 * sigma)) + 1,)`."""
    reach = max(1, math.ceil(3 * sigma))
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (offsets / max(sigma, 1e-3)) ** 2)
    return kernel / kernel.sum()


def filter_slices(slices: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """Filter float32 `(B, N, H, W)` with `kernel` `(k,)` along H and along W; each loses k - 1 pixels.

    Each slice is treated as a channel, because depthwise 2D convolutions are about ten times as fast as 3D ones here.
    """
    n, k = slices.shape[1], len(kernel)
    weight = kernel.to(slices).expand(n, 1, 1, k).contiguous()
    along_w = F.conv2d(slices, weight, groups=n)
    return F.conv2d(along_w, weight.transpose(2, 3).contiguous(), groups=n)


def blur_in_plane(image: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian blur of float32 `(C, H, W, D)` by `sigma` pixels within the slices, with replicated borders."""
    kernel = gaussian_kernel(sigma)
    reach = len(kernel) // 2
    slices = F.pad(image.permute(0, 3, 1, 2), [reach] * 4, mode="replicate")
    return filter_slices(slices, kernel).permute(0, 2, 3, 1)
