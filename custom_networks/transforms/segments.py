"""Label Couinaud's segments in a segmented liver, by a separate network on a coarse grid."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.data.utils import affine_to_spacing
from monai.transforms.transform import MapTransform

from custom_networks.errors import BundleError, UsageError
from custom_networks.inference.slice_stack_inferer import SliceStackInferer
from custom_networks.labelmap.boxes import Box, box_around
from custom_networks.labelmap.grid import spacing_of
from custom_networks.labelmap.labels import Floats, Labels, Mask
from custom_networks.labelmap.segment_planes import with_planes
from custom_networks.labelmap.segments import connected_segments
from custom_networks.labelmap.whole_liver import why_incomplete, why_unusual
from custom_networks.transforms.anatomy import Corrected, Data, _LabelMapTransform
from custom_networks.transforms.resample import resampled_size, resize_volume, set_affine, slice_chunks, with_meta_of

FOUND, LEFT_OUT, NO_LIVER = "found", "left out", "no liver"
CONTRAST = 0.25  # the network sees intensities up to this share of the window above and below the liver's median
TIPS = 0.01  # share of the liver at each end that its box leaves out, so that thin tips do not change it
MARGINS = (4, 4, 2)  # voxels of the coarse grid around the liver


class CoarseCopyd(MapTransform):
    """Keep a coarse copy of the image for `LabelSegmentsd`, by default with voxels of about 3 x 3 x 6 mm.

    The item is a MetaTensor (1, H, W, D), slices last, windowed as for the network for liver and tumor. The copy covers
    exactly the same extent, and its affine is exact. In-plane, it is resampled bilinearly with anti-aliasing; along the
    slices, each of its voxels is the mean over the region it covers.

    Args:
        spacing: desired pixel size, mm.
        slice_spacing: desired slice distance, mm.
        copy_key: key of the copy.

    Raises:
        UsageError: a spacing is not positive.
    """

    def __init__(
        self,
        keys: KeysCollection,
        spacing: float = 3.0,
        slice_spacing: float = 6.0,
        copy_key: str = "coarse",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if not min(spacing, slice_spacing) > 0:
            raise UsageError(
                f"CoarseCopyd needs spacings above 0 mm, got {spacing} and {slice_spacing}: correct the configuration."
            )
        self.spacings, self.copy_key = (spacing, spacing, slice_spacing), copy_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Data with the copy; the image is not modified."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[self.copy_key] = coarse_copy(d[key], self.spacings)
        return d


def coarse_copy(image: MetaTensor, spacings: Sequence[float]) -> MetaTensor:
    """An image (1, H, W, D) resampled to voxels of about `spacings` mm over the same extent: (1, h, w, d), float32."""
    shape = tuple(image.shape[1:])
    own = affine_to_spacing(image.affine, dtype=float).tolist()
    size = [resampled_size(n, mm, wanted) for n, mm, wanted in zip(shape, own, spacings, strict=True)]
    planes = resize_volume(image.as_tensor(), size[:2], "bilinear", torch.float32)
    scale = [n / m for n, m in zip(shape, size, strict=True)]
    averaged = planes @ torch.from_numpy(cell_means(shape[2], size[2], scale[2], (scale[2] - 1) / 2).T)
    copy = with_meta_of(image, averaged)
    to_own = torch.diag(torch.tensor([*scale, 1.0], dtype=torch.float64))
    to_own[:3, 3] = torch.tensor([(s - 1) / 2 for s in scale], dtype=torch.float64)
    copy.applied_operations = []
    set_affine(copy, image.affine.cpu() @ to_own)
    return copy


def cell_means(size: int, cells: int, scale: float, offset: float) -> np.ndarray:
    """Weights (cells, size), float32, of the voxels along an axis, for their mean over each cell of a coarser grid.

    Cell c is `scale` voxels wide and centred at voxel `offset + scale * c`; whatever it covers beyond the axis counts
    as zero.
    """
    centres = offset + scale * np.arange(cells)[:, None]
    voxels = np.arange(size)[None]
    reach = np.minimum(centres + scale / 2, voxels + 0.5) - np.maximum(centres - scale / 2, voxels - 0.5)
    return np.asarray(np.maximum(reach, 0) / scale, np.float32)


def share_of_cells(mask: Mask, affine: Floats, shape: Sequence[int], coarse_affine: Floats) -> np.ndarray:
    """How much of each cell of a coarse grid a mask fills, 0 to 1: (h, w, d) float32.

    Args:
        mask: (H, W, D).
        affine: (4, 4) of the mask, voxel index to mm.
        shape: h, w, d.
        coarse_affine: (4, 4) of the coarse grid, whose axes have the same directions.
    """
    box = box_around(mask)
    if box is None:
        return np.zeros(tuple(shape), np.float32)
    steps = np.linalg.solve(affine, coarse_affine)
    filled = mask[box].astype(np.float32)
    for axis in range(3):
        offset = steps[axis, 3] - box[axis].start
        weights = cell_means(filled.shape[axis], shape[axis], steps[axis, axis], offset)
        filled = np.moveaxis(np.tensordot(weights, filled, (1, axis)), 0, axis)
    return filled


def liver_cells(liver: np.ndarray) -> Box | None:
    """The box of the coarse grid that the network sees: the liver with `MARGINS`; None if there is no liver."""
    box = box_around(liver > 0)
    if box is None:
        return None
    x, y, z = (
        slice(max(0, part.start - margin), min(size, part.stop + margin))
        for part, margin, size in zip(box, MARGINS, liver.shape, strict=True)
    )
    return x, y, z


def segment_input(image: torch.Tensor, liver: torch.Tensor) -> torch.Tensor:
    """The network's input, float32 (5, H, W, D), from an image windowed to [0, 1] and the liver's share (H, W, D).

    The first channel is the difference from the liver's median (or from 0.5 if no voxel is mostly liver), divided by
    `CONTRAST` and clipped to [-1, 1], so that phase and fat matter little. The second is the liver's share. The others
    are the position along each axis, from -1 to 1 within the liver's box (without the `TIPS`) and clipped to
    [-1.5, 1.5] outside it.
    """
    inside = liver > 0.5
    middle = image[inside].median() if inside.any() else image.new_tensor(0.5)
    channels = [((image - middle) / CONTRAST).clamp(-1, 1), liver]
    for axis in range(3):
        mass = liver.sum([other for other in range(3) if other != axis]).cumsum(0)
        low, high = (float(torch.searchsorted(mass, mass[-1] * share)) for share in (TIPS, 1 - TIPS))
        place = (torch.arange(liver.shape[axis], dtype=torch.float32) - low) / max(1.0, high - low) * 2 - 1
        channels.append(place.clamp(-1.5, 1.5).view([-1 if a == axis else 1 for a in range(3)]).expand(liver.shape))
    return torch.stack(channels)


class LabelSegmentsd(_LabelMapTransform):
    """Label Couinaud's segments of the organ in a label map (1, H, W, D), on its grid.

    `d[segments_key]` becomes a map (1, H, W, D) uint8, 1 to 8 in liver and tumor and 0 outside, each segment in one
    piece (see `connected_segments`). It has the label map's recorded operations, so that stock `Invertd` brings it to
    the file's grid. There is no such map if there is no liver, or if the liver is incomplete or its shape is unusual,
    as after a resection, since the segments of a partial liver would be guesses. `d[state_key]` has the `state`
    ("found", "left out" or "no liver") and, if the map was left out, the `reason` as a clause, else None.

    The network runs on the coarse grid in float32 on the CPU, so that on one machine a mask always gets the same
    answer. Its probabilities are interpolated, and the most probable segment is chosen at each voxel.

    Args:
        network: maps (B, 5, h, w, d), see `segment_input`, to logits (B, 8, h, w, d).
        planes: whether to separate segments by planes, see `with_planes`.
        most_unusual: largest `unusualness` of a liver's shape that still counts as complete; None for no limit.
        coarse_key: key of the copy that `CoarseCopyd` made.
        segments_key: key of the map of segments.
        state_key: key of the state.

    Raises:
        BundleError: on call, there is no such copy.
    """

    def __init__(
        self,
        keys: KeysCollection,
        network: Callable[..., Any],
        planes: bool = False,
        most_unusual: float | None = None,
        coarse_key: str = "coarse",
        segments_key: str = "segments",
        state_key: str = "segments_state",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.network, self.planes, self.most_unusual, self.coarse_key = network, planes, most_unusual, coarse_key
        self.segments_key, self.state_key = segments_key, state_key
        self.inferer = SliceStackInferer(slab=64, precision="float32")

    def corrected(self, labels: Labels, affine: Floats, data: Data) -> Corrected:
        """The unchanged label map, the map of segments if there is one, and the state."""
        coarse = data.get(self.coarse_key)
        if not isinstance(coarse, MetaTensor):
            raise BundleError(
                f"LabelSegmentsd needs {self.coarse_key!r}, got none: include CoarseCopyd in preprocessing."
            )
        organ = labels > 0
        liver = share_of_cells(organ, affine, coarse.shape[1:], _affine_of(coarse))
        if not liver.any():
            return labels, {self.state_key: {"state": NO_LIVER, "reason": None}}
        if reason := why_incomplete(organ, affine) or self._why_unusual(liver, coarse):
            return labels, {self.state_key: {"state": LEFT_OUT, "reason": reason}}
        segments = self.segments_of(organ, affine, coarse, liver)
        return labels, {self.segments_key: segments, self.state_key: {"state": FOUND, "reason": None}}

    def _why_unusual(self, liver: np.ndarray, coarse: MetaTensor) -> str | None:
        """Why the liver's shape is unusual, or None if it is not or there is no limit."""
        return (
            None if self.most_unusual is None else why_unusual(liver, spacing_of(_affine_of(coarse)), self.most_unusual)
        )

    def segments_of(self, organ: Mask, affine: Floats, coarse: MetaTensor, liver: np.ndarray) -> Labels:
        """The segments 1 to 8 of an organ, (H, W, D) uint8, 0 outside it.

        Args:
            organ: mask (H, W, D).
            affine: (4, 4) of the mask, voxel index to mm.
            coarse: coarse copy of the image, (1, h, w, d).
            liver: (h, w, d) share of the organ in each voxel of the coarse copy.
        """
        cells = liver_cells(liver)
        if cells is None:
            return np.zeros(organ.shape, np.uint8)
        seen = segment_input(coarse.as_tensor()[0].cpu()[cells], torch.from_numpy(liver[cells].copy()))
        shares = self.inferer(seen[None], self.network)[0].float()
        if self.planes:
            shares = torch.from_numpy(with_planes(shares.numpy(), liver[cells]))
        steps = np.linalg.solve(_affine_of(coarse), affine).astype(np.float64)
        steps[:3, 3] -= [part.start for part in cells]
        return connected_segments(likeliest(shares, organ, steps))


def _affine_of(coarse: MetaTensor) -> Floats:
    return np.asarray(coarse.affine.cpu().numpy(), np.float64)


def likeliest(shares: torch.Tensor, organ: Mask, steps: Floats, chunk: int = 16) -> Labels:
    """The most probable of K classes at each voxel of a mask (H, W, D): 1 to K, uint8, and 0 outside the mask.

    Args:
        shares: (K, h, w, d) on a coarse grid, interpolated linearly; beyond its border, the border values are used.
        organ: the mask.
        steps: (4, 4) from voxel indices of the mask to those of the coarse grid, whose axes have the same directions.
        chunk: slices handled at once.
    """
    labels = np.zeros(organ.shape, np.uint8)
    box = box_around(organ)
    if box is None:
        return labels
    places = [steps[axis, axis] * np.arange(part.start, part.stop) + steps[axis, 3] for axis, part in enumerate(box)]
    for part in slice_chunks(box[2].stop - box[2].start, chunk):
        values = _interpolated(shares, 3, places[2][part])
        for axis in (0, 1):
            values = _interpolated(values, axis + 1, places[axis])
        here = (box[0], box[1], slice(box[2].start + part.start, box[2].start + part.stop))
        labels[here] = (values.argmax(0).numpy().astype(np.uint8) + 1) * organ[here]
    return labels


def _interpolated(values: torch.Tensor, axis: int, places: np.ndarray) -> torch.Tensor:
    """Interpolate values at fractional places along an axis; places beyond its ends give the end values."""
    last = values.shape[axis] - 1
    held = np.clip(places, 0, last)
    below = np.minimum(held.astype(np.int64), max(0, last - 1))
    weight = torch.from_numpy((held - below).astype(np.float32))
    weight = weight.view([-1 if a == axis else 1 for a in range(values.dim())])
    low, high = (values.index_select(axis, torch.from_numpy(np.minimum(i, last))) for i in (below, below + 1))
    return torch.lerp(low, high, weight)
