"""Makes stacks of one scanner, source or contrast phase look like those of another: intensities alone change.

All transforms take stacks (1, H, W, D), slices last, whose HU were windowed to [0, 1]; arguments are in HU and mm.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform
from torch import Tensor
from torch.nn import functional as F

DEFAULT_WINDOW = (-160.0, 240.0)


class _RandAppearanced(RandomizableTransform, MapTransform):
    """Applies `change` to the image of a stack with probability `prob`."""

    def __init__(self, keys: KeysCollection, prob: float, window: Sequence[float] = DEFAULT_WINDOW) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob)
        self.hu_per_unit = float(window[1] - window[0])
        self.lowest_hu = float(window[0])

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        self.randomize(None)
        if self._do_transform:
            for key in self.key_iterator(d):
                d[key] = self.change(torch.as_tensor(d[key]), d)
        return d

    def change(self, image: Tensor, item: Mapping[Hashable, Any]) -> Tensor:
        """A changed copy of `image` (1, H, W, D)."""
        raise NotImplementedError

    def uniform(self, bounds: Sequence[float]) -> float:
        """A number within `bounds`."""
        low, high = bounds
        return float(self.R.uniform(low, high))


class RandCTNoised(_RandAppearanced):
    """Add Gaussian noise with the grain of a reconstruction kernel, independent from slice to slice.

    Args:
        keys: images.
        prob: probability.
        std: range of the standard deviation, HU.
        grain: range of what each of the two neighbours along an in-plane axis weighs in white noise: 0 leaves it
            white, 1/3 makes grains of three pixels.
        window: HU that 0 and 1 stand for.
    """

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.3,
        std: Sequence[float] = (0.0, 30.0),
        grain: Sequence[float] = (0.0, 0.33),
        window: Sequence[float] = DEFAULT_WINDOW,
    ) -> None:
        super().__init__(keys, prob, window)
        self.std, self.grain = std, grain

    def change(self, image: Tensor, item: Mapping[Hashable, Any]) -> Tensor:
        """Image + noise; not clipped."""
        std, share = self.uniform(self.std) / self.hu_per_unit, self.uniform(self.grain)
        random = torch.Generator().manual_seed(int(self.R.randint(2**31)))
        noise = _with_neighbours(torch.randn(image.shape, generator=random), share)
        kept = (1 - 2 * share) ** 2 + 2 * share**2  # of the variance, along each of two axes
        return image + std / kept * noise


class RandSharpnessd(_RandAppearanced):
    """Smooth or sharpen in-plane, as softer and harder reconstruction kernels do.

    Args:
        keys: images.
        prob: probability.
        share: range of what each of the two neighbours along an axis weighs; below 0 it sharpens.
    """

    def __init__(self, keys: KeysCollection, prob: float = 0.4, share: Sequence[float] = (-0.12, 0.3)) -> None:
        super().__init__(keys, prob)
        self.share = share

    def change(self, image: Tensor, item: Mapping[Hashable, Any]) -> Tensor:
        """Image with that share of its neighbours."""
        return _with_neighbours(image, self.uniform(self.share))


class RandNarrowWindowd(_RandAppearanced):
    """Clip to a narrower window and round to steps, as 8-bit and JPEG copies of a scan do.

    Args:
        keys: images.
        prob: probability.
        low, high: ranges of the window's ends, HU.
        step: range of the step that values are rounded to, HU.
        window: HU that 0 and 1 stand for.
    """

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.3,
        low: Sequence[float] = (-160.0, -45.0),
        high: Sequence[float] = (160.0, 240.0),
        step: Sequence[float] = (1.0, 12.0),
        window: Sequence[float] = DEFAULT_WINDOW,
    ) -> None:
        super().__init__(keys, prob, window)
        self.low, self.high, self.step = low, high, step

    def change(self, image: Tensor, item: Mapping[Hashable, Any]) -> Tensor:
        """Image clipped and rounded."""
        low, high, step = self.uniform(self.low), self.uniform(self.high), self.uniform(self.step)
        hu = image * self.hu_per_unit + self.lowest_hu
        hu = (hu.clamp(low, high) / step).round() * step
        return (hu - self.lowest_hu) / self.hu_per_unit


class RandOrganShiftd(_RandAppearanced):
    """Make the liver, its lesions included, brighter or darker than the rest: fatty livers, contrast phases.

    Args:
        keys: images.
        label_key: label map (1, H, W, D); what is above 0 is the organ.
        prob: probability.
        shift: range of the shift, HU.
        edge: width of the box that the organ's edge is smoothed by, pixels, odd.
        window: HU that 0 and 1 stand for.
    """

    def __init__(
        self,
        keys: KeysCollection,
        label_key: str = "label",
        prob: float = 0.3,
        shift: Sequence[float] = (-45.0, 45.0),
        edge: int = 3,
        window: Sequence[float] = DEFAULT_WINDOW,
    ) -> None:
        super().__init__(keys, prob, window)
        self.label_key, self.shift, self.edge = label_key, shift, edge

    def change(self, image: Tensor, item: Mapping[Hashable, Any]) -> Tensor:
        """Image + the shift within the organ, half of it at the edge."""
        organ = (torch.as_tensor(item[self.label_key]) > 0).to(image.dtype)
        folded = F.avg_pool2d(organ.movedim(-1, 1), self.edge, 1, self.edge // 2, count_include_pad=False)
        return image + self.uniform(self.shift) / self.hu_per_unit * folded.movedim(1, -1)


class RandThickSlicesd(_RandAppearanced):
    """Let every slice take a share of its neighbours, as a thicker slice does; labels stay those of the middle.

    Args:
        keys: images.
        prob: probability.
        share: range of what each of the two neighbours weighs; 1/3 is a slice three times as thick.
    """

    def __init__(self, keys: KeysCollection, prob: float = 0.2, share: Sequence[float] = (0.1, 0.33)) -> None:
        super().__init__(keys, prob)
        self.share = share

    def change(self, image: Tensor, item: Mapping[Hashable, Any]) -> Tensor:
        """Weighted mean of each slice and its neighbours; the end slices are their own neighbours."""
        return _blend(image, self.uniform(self.share), dim=3)


def _with_neighbours(image: Tensor, share: float) -> Tensor:
    """In-plane weighted mean of each pixel and its neighbours along both axes."""
    return _blend(_blend(image, share, dim=1), share, dim=2)


def _blend(image: Tensor, share: float, dim: int) -> Tensor:
    """`share` of both neighbours along `dim` and the rest of each point itself; at the ends it is its own neighbour."""
    answer = (1 - 2 * share) * image
    count = image.shape[dim]
    for ahead, behind in ((0, 1), (1, 0)):
        answer.narrow(dim, ahead, count - 1).add_(image.narrow(dim, behind, count - 1), alpha=share)
        end = (count - 1) * (1 - ahead)
        answer.narrow(dim, end, 1).add_(image.narrow(dim, end, 1), alpha=share)
    return answer
