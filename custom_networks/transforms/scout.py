"""Find the liver on a coarse grid, so that the network has to run only on its box."""

import math
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.config.type_definitions import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.data.utils import affine_to_spacing
from monai.transforms.transform import MapTransform
from scipy import ndimage

from custom_networks.errors import BundleError, UsageError
from custom_networks.inference.slice_stack_inferer import FULL, SliceStackInferer
from custom_networks.inference.spacing import slice_step
from custom_networks.labelmap.boxes import Box, box_around
from custom_networks.labelmap.components import NEIGHBOURS_26, component_sizes
from custom_networks.labelmap.labels import Mask
from custom_networks.transforms.resample import resampled_size, resize_volume
from custom_networks.transforms.window import WindowIntensityd

FOUND, SKIPPED, NOTHING = "found", "skipped", "nothing found"
JOIN = 2  # coarse voxels by which the mask is dilated before its parts are separated
REACH = 6  # coarse voxels by which the box may grow over less certain liver


class FindLiverd(MapTransform):
    """Find the liver's box with a small network on a coarse grid, and restrict `ResampleInPlaned` to that region.

    It goes before `ResampleInPlaned` and needs its `spacing` and the context of the main network as arguments. The item
    is a MetaTensor (1, H, W, D) of HU, slices last, which is not modified. Slices are thinned to about `slice_spacing`
    mm and resampled in-plane to about `spacing` mm. The network runs on them in float32 on the CPU, so that on one
    machine an input always gets the same box. The box contains the largest part of liver and tumor, parts close to it,
    and less certain liver connected to it.

    `d[region_key]` becomes an int array (3, 2): for each axis the first index and the one after the last, on the main
    network's grid of the full scan. In-plane, the box is enlarged by `margin_mm` and then to multiples of `stride`
    pixels from the grid's corner, or to the end of the image, since other crops would shift the mask. Along the slices
    it is enlarged by `slice_margin_mm` and by the `halo` of each sub-volume, so that the network sees real neighbours.

    There is no region, and the whole volume is segmented, if the scan is smaller than `least_mm` along an axis (it then
    shows little but the liver, or too little of it), or if the largest part found is smaller than `least_ml`.
    `d[state_key]` has the `state` ("found", "skipped" or "nothing found") and the time of the search in `seconds`.

    Args:
        network: maps (B, 1, H, W, D), windowed to [0, 1], to logits (B, K, H, W, D); class 0 is the background.
        spacing: pixel size of the coarse grid, mm.
        slice_spacing: desired slice distance of the coarse grid, mm; slices are thinned to it by `slice_step`.
        window: HU that become 0 and 1.
        fine_spacing: `spacing` of the `ResampleInPlaned` that follows, mm.
        context_spacing: slice distance within a stack of the main network, mm.
        halo: slices on each side of a slice that the main network needs.
        stride: number of pixels by which the main network's in-plane size must be divisible.
        threshold: probability of liver or tumor from which a coarse voxel is liver.
        likely: a lower threshold for voxels connected to the liver, up to `REACH` coarse voxels away.
        margin_mm: in-plane margin of the box.
        slice_margin_mm: margin of the box along the slices.
        least_mm: smallest extent of a scan to search, for each axis, mm.
        least_ml: smallest volume to accept as a liver, ml.
        region_key: key of the region.
        state_key: key of the state.

    Raises:
        UsageError: a spacing or `stride` is not positive.
        BundleError: on call, an item is not a MetaTensor (1, H, W, D).
    """

    def __init__(
        self,
        keys: KeysCollection,
        network: Callable[..., Any],
        spacing: float = 4.0,
        slice_spacing: float = 5.0,
        window: Sequence[float] = (-160.0, 240.0),
        fine_spacing: float = 1.25,
        context_spacing: float = 3.0,
        halo: int = 4,
        stride: int = 16,
        threshold: float = 0.5,
        likely: float = 0.25,
        margin_mm: float = 20.0,
        slice_margin_mm: float = 15.0,
        least_mm: Sequence[float] = (200.0, 200.0, 100.0),
        least_ml: float = 20.0,
        region_key: str = "region",
        state_key: str = "scout",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if not min(spacing, slice_spacing, fine_spacing, context_spacing, stride) > 0:
            raise UsageError(
                f"FindLiverd needs spacings above 0 mm and a stride above 0 pixels, got {spacing}, {slice_spacing}, "
                f"{fine_spacing}, {context_spacing} and {stride}: correct the configuration."
            )
        self.network, self.spacing, self.slice_spacing = network, spacing, slice_spacing
        self.fine_spacing, self.context_spacing, self.halo, self.stride = fine_spacing, context_spacing, halo, stride
        self.thresholds, self.margin_mm, self.slice_margin_mm = (threshold, likely), margin_mm, slice_margin_mm
        self.least_mm, self.least_ml = tuple(least_mm), least_ml
        self.region_key, self.state_key = region_key, state_key
        self.windowed = WindowIntensityd("image", window)
        self.inferer = SliceStackInferer(slab=64, precision="float32")

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Data with the region, if there is one, and the state of the search; the volumes are not modified."""
        d = dict(data)
        for key in self.key_iterator(d):
            started = time.perf_counter()
            d.pop(self.region_key, None)  # left by an earlier call
            state, region = self._searched(_checked(d[key], key))
            if region is not None:
                d[self.region_key] = region
            d[self.state_key] = {"state": state, "seconds": time.perf_counter() - started}
        return d

    def _searched(self, volume: MetaTensor) -> tuple[str, npt.NDArray[np.int64] | None]:
        """The state of the search, and the region (3, 2) on the fine grid if a liver was found."""
        shape = tuple(volume.shape[1:])
        spacings = affine_to_spacing(volume.affine, dtype=float).tolist()
        if any(n * mm < least for n, mm, least in zip(shape, spacings, self.least_mm, strict=True)):
            return SKIPPED, None
        step = slice_step(spacings[2], self.slice_spacing)
        kept = range((shape[2] - 1) % step // 2, shape[2], step)
        liver, likely = self._coarse_liver(volume.as_tensor()[..., kept.start :: step], spacings)
        coarse_mm3 = math.prod(n * mm for n, mm in zip(shape[:2], spacings, strict=False)) / math.prod(liver.shape[:2])
        box = liver_box(liver, likely, 1000 * self.least_ml / (coarse_mm3 * step * spacings[2]))
        if box is None:
            return NOTHING, None
        rows, columns = (self._pixels(box[a], shape[a], spacings[a], liver.shape[a]) for a in (0, 1))
        return FOUND, np.array([rows, columns, self._slices(kept[box[2]], step, shape[2], spacings[2])])

    def _coarse_liver(self, slices: torch.Tensor, spacings: Sequence[float]) -> tuple[Mask, Mask]:
        """Masks of certain and of likely liver, tumor included, on the coarse grid, from HU slices (1, H, W, D)."""
        size = [resampled_size(n, mm, self.spacing) for n, mm in zip(slices.shape[1:3], spacings, strict=False)]
        coarse = self.windowed({"image": resize_volume(slices, size, "bilinear", torch.float32)})["image"]
        answer = self.inferer(coarse[None], self.network)[0]
        liver, likely = ((answer[0] <= round((1 - least) * FULL)).numpy() for least in self.thresholds)
        return liver, likely

    def _pixels(self, found: slice, size: int, mm: float, coarse: int) -> tuple[int, int]:
        """The range of fine pixels that covers the coarse pixels `found` and the margin.

        Both ends are multiples of `stride`, unless the range reaches the end of the grid.

        Args:
            found: range of pixels on the coarse grid.
            size: voxels of the scan along the axis.
            mm: size of these voxels.
            coarse: pixels of the coarse grid along the axis.
        """
        fine = resampled_size(size, mm, self.fine_spacing)
        margin = self.margin_mm / (size * mm / fine)
        first = max(0, math.floor((found.start * fine / coarse - margin) / self.stride)) * self.stride
        last = math.ceil((found.stop * fine / coarse + margin) / self.stride) * self.stride
        return first, min(fine, last)

    def _slices(self, found: range, step: int, depth: int, mm: float) -> tuple[int, int]:
        """The range of slices between the nearest searched slices without liver, plus margin and halo.

        Args:
            found: slices that were searched and show liver.
            step: distance of searched slices, in slices.
            depth: number of slices in the scan.
            mm: slice distance.
        """
        around = step - 1 + math.ceil(self.slice_margin_mm / mm) + self.halo * slice_step(mm, self.context_spacing)
        return max(0, found[0] - around), min(depth, found[-1] + around + 1)


def liver_box(liver: Mask, likely: Mask, least_voxels: float) -> Box | None:
    """Box of the largest part of a coarse mask (H, W, D) and the parts close to it.

    Parts that touch when dilated by `JOIN` voxels count as one, so that a liver in two parts stays whole. The box also
    includes connected voxels of `likely` liver up to `REACH` voxels away, because the thin tips of a liver are the
    least certain. The result is None if the parts have fewer than `least_voxels`, or if there are none.
    """
    near, count = ndimage.label(ndimage.binary_dilation(liver, NEIGHBOURS_26, JOIN), NEIGHBOURS_26)
    parts = np.where(liver, near, 0)
    sizes = component_sizes(parts, count)
    if sizes.max() < max(1, least_voxels):
        return None
    return box_around(ndimage.binary_dilation(parts == sizes.argmax(), NEIGHBOURS_26, REACH, mask=likely))


def _checked(volume: Any, key: Hashable) -> MetaTensor:
    """The volume; BundleError if it is not a MetaTensor (1, H, W, D)."""
    if not isinstance(volume, MetaTensor) or volume.ndim != 4 or volume.shape[0] != 1:
        raise BundleError(
            f"FindLiverd needs {key!r} as a MetaTensor (1, H, W, D), got {type(volume).__name__} of shape "
            f"{tuple(getattr(volume, 'shape', ()))}: place it after the transforms that load and orient the volume."
        )
    return volume
