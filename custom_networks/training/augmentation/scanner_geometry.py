"""Vary the geometry of a scan: thicker slices, a narrow field of view, a scan that ends inside the liver."""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform

from custom_networks.training.augmentation.rand_image import RandImaged, plain


class RandThickSlicesd(RandImaged):
    """Imitates thicker slices by averaging each slice with its neighbours, weighted `(w, 1, w) / (1 + 2w)`.

    With w = 0.5, slices 3 mm apart look about 6 mm thick; with w = 1, they are 9 mm thick. End slices are repeated.
    Labels do not change.

    Args:
        weight: range of the weight `w` of a neighbour.
    """

    def __init__(self, keys: KeysCollection, prob: float = 0.1, weight: Sequence[float] = (0.1, 0.6)) -> None:
        super().__init__(keys, prob)
        self.weight = tuple(weight)

    def changed(self, image: torch.Tensor) -> torch.Tensor:
        """The image with thicker slices."""
        weight = self.uniform(self.weight)
        numbers = torch.arange(image.shape[-1])
        mixing = torch.eye(len(numbers))
        for step in (-1, 1):
            neighbour = (numbers + step).clamp(0, len(numbers) - 1)
            mixing.index_put_((neighbour, numbers), torch.tensor(weight), accumulate=True)
        return image @ (mixing / (1 + 2 * weight)).to(image)


class RandScanEndsd(RandImaged):
    """Imitates a scan that ends within the stack: its slice at that end is repeated for the missing ones.

    Inference also repeats the end slices of a scan.

    Args:
        most: largest number of slices to replace; at most the halo, whose slices have no label.
    """

    def __init__(self, keys: KeysCollection, prob: float = 0.1, most: int = 1) -> None:
        super().__init__(keys, prob)
        self.most = most

    def changed(self, image: torch.Tensor) -> torch.Tensor:
        """The image with some slices at one end replaced by the next one that remains."""
        missing = int(self.R.randint(1, self.most + 1))
        numbers, last = torch.arange(image.shape[-1]), image.shape[-1] - 1
        kept = numbers.clamp(min=missing) if self.R.randint(2) else numbers.clamp(max=last - missing)
        return image[..., kept.clamp(0, last)]


class RandFieldOfViewd(RandomizableTransform, MapTransform):
    """Sets everything outside a circle to 0 (air, background), as in a field of view smaller than the patient.

    All tensors are masked by the same circle. Its edge is `distance` away from the slice's centre in a random
    direction; the larger the radius, the straighter the edge.

    Args:
        keys: image and label, `(C, H, W, D)` of the same H and W; their depths may differ.
        prob: probability of a change.
        distance: range of the distance between the slice's centre and the circle's edge, in pixels.
        radius: range of the circle's radius, in pixels.
    """

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.1,
        distance: Sequence[float] = (48.0, 96.0),
        radius: Sequence[float] = (100.0, 200.0),
    ) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob)
        self.distance = tuple(distance)
        self.radius = tuple(radius)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        self.randomize(None)
        if self._do_transform:
            inside = self._circle(*d[self.first_key(d)].shape[1:3])
            for key in self.key_iterator(d):
                d[key] = plain(d[key]) * inside
        return d

    def _circle(self, rows: int, columns: int) -> torch.Tensor:
        """Mask `(H, W, 1)` of the circle."""
        direction = self.R.uniform(-math.pi, math.pi)
        radius = self.R.uniform(self.radius[0], self.radius[1])
        behind = radius - self.R.uniform(self.distance[0], self.distance[1])  # from the slice's centre to the circle's
        row = torch.arange(rows) - (rows - 1) / 2 + behind * math.sin(direction)
        column = torch.arange(columns) - (columns - 1) / 2 + behind * math.cos(direction)
        return (row[:, None] ** 2 + column**2 <= radius**2)[..., None]
