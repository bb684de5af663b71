"""Training data for the network of Couinaud's segments: livers on the coarse grid, with their true segments."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import MapTransform, Randomizable
from torch.nn import functional as F

from custom_networks.errors import InputError
from custom_networks.labelmap.segments import SEGMENTS
from custom_networks.training.augmentation.rand_image import RandImaged, plain
from custom_networks.transforms.segments import liver_cells, segment_input, share_of_cells


class LiverBoxd(MapTransform):
    """Bring liver and segments to the grid of the image's coarse copy, and crop all three to the liver's box.

    It reads label maps on the image's own grid, MetaTensors (1, H, W, D): `label` (organ where not 0) and `segments`
    (1 to 8, 0 where unknown). It writes plain tensors (1, h, w, d): `image`, windowed, float32; `liver`, the share of
    each cell that is organ, float32; and `segments`, uint8, the segment with the largest share of each cell, or 0 if
    all segments together fill less than `least` of the cell. All other items are dropped.

    Args:
        keys: the coarse copy of the image, from `CoarseCopyd`.
        least: smallest share of a cell that the segments together must fill.

    Raises:
        InputError: on call, the case has no liver.
    """

    def __init__(self, keys: KeysCollection = "coarse", least: float = 0.5) -> None:
        super().__init__(keys)
        self.least = least

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        coarse: MetaTensor = data[self.first_key(dict(data))]
        grid = (tuple(coarse.shape[1:]), coarse.affine.cpu().numpy().astype(np.float64))
        liver = _share(data["label"], 0, *grid)
        cells = liver_cells(liver)
        if cells is None:
            raise InputError("A training case for segments must have a liver, got none: leave it out of the list.")
        shares = np.stack([_share(data["segments"], number, *grid)[cells] for number in SEGMENTS])
        segments = np.where(shares.sum(0) >= self.least, shares.argmax(0) + 1, 0)
        return {
            "image": plain(coarse)[:, cells[0], cells[1], cells[2]].clone(),
            "liver": torch.from_numpy(liver[cells].copy())[None],
            "segments": torch.from_numpy(segments.astype(np.uint8))[None],
        }


def _share(label: MetaTensor, number: int, shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """The share of each coarse cell that has label `number` in a label map (1, H, W, D); 0 stands for all labels."""
    values = label[0].cpu().numpy()
    mask = values == number if number else values > 0
    return share_of_cells(mask, label.affine.cpu().numpy().astype(np.float64), shape, affine)


class RandLiverBorderd(RandImaged):
    """Smoothly move the border of a liver's mask (1, H, W, D), shares 0 to 1, by up to about `most` voxels.

    This imitates inference, where a network made the mask, which is a little too small in some places and too large in
    others. The random field that moves the border has a knot about every `coarseness` voxels.
    """

    def __init__(self, keys: KeysCollection, prob: float = 0.8, most: float = 1.5, coarseness: int = 6) -> None:
        super().__init__(keys, prob)
        self.most, self.coarseness = most, coarseness

    def changed(self, image: torch.Tensor) -> torch.Tensor:
        """The mask with its border moved outwards where a smooth random field is high, and inwards where it is low."""
        blurred = F.avg_pool3d(F.pad(image[None], [1, 1, 2, 2, 2, 2], mode="replicate"), (5, 5, 3), 1)
        knots = [max(2, -(-n // self.coarseness)) for n in image.shape[1:]]
        noise = torch.from_numpy(self.R.standard_normal((1, 1, *knots)).astype(np.float32))
        field = F.interpolate(noise, size=tuple(image.shape[1:]), mode="trilinear", align_corners=True)
        # Across a straight border, the blurred share decreases by a fifth per voxel.
        moved = (blurred - 0.5) * 5 + field.clamp(-2, 2) * self.most / 2 + 0.5
        return moved.clamp_(0, 1)[0]


class RandSegmentStackd(Randomizable, MapTransform):
    """Cut a stack of slices out of a liver's box and turn it into the input of the segments' network.

    It reads `image`, `liver` and `segments`, (1, H, W, D), and returns `image` (5, h, w, slices + 2 halo), see
    `segment_input`, with positions relative to the whole box, and `label` (1, h, w, slices). The stack has a random
    position along the box, with end slices repeated as in inference; repeated slices are labelled 0. In-plane, the box
    is placed at random in a frame of `size`, or cropped at random if it is larger.

    Args:
        size: in-plane size, in pixels.
        slices: number of slices to label.
        halo: slices of context on each side.
    """

    def __init__(self, keys: KeysCollection, size: Sequence[int], slices: int, halo: int) -> None:
        MapTransform.__init__(self, keys)
        self.size, self.slices, self.halo = tuple(size), slices, halo

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        image, liver, segments = (plain(data[key]).float() for key in ("image", "liver", "segments"))
        seen = segment_input(image[0], liver[0])
        depth = seen.shape[3]
        first = int(self.R.randint(-(self.slices // 4), max(1, depth - self.slices + self.slices // 4)))
        wanted = torch.arange(first - self.halo, first + self.slices + self.halo)
        corner = [self._corner(n, size) for n, size in zip(seen.shape[1:3], self.size, strict=True)]
        labelled = wanted[self.halo : self.halo + self.slices]
        inside = (labelled >= 0) & (labelled < depth)  # repeated slices have no label
        label = self._framed(segments[..., labelled.clamp(0, depth - 1)] * inside, corner)
        return {"image": self._framed(seen[..., wanted.clamp(0, depth - 1)], corner), "label": label}

    def _corner(self, extent: int, size: int) -> int:
        """A random start of the frame relative to the box, in pixels, such that one contains the other."""
        low, high = sorted((0, extent - size))
        return int(self.R.randint(low, high + 1))

    def _framed(self, stack: torch.Tensor, corner: Sequence[int]) -> torch.Tensor:
        """Crop or zero-pad a stack in-plane to `size`, with its first pixel at `corner`."""
        pads: list[int] = [0, 0]
        for extent, first, size in reversed(list(zip(stack.shape[1:3], corner, self.size, strict=True))):
            pads += [-first, first + size - extent]
        return F.pad(stack, pads)
