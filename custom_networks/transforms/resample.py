"""In-plane resampling of CT volumes and label maps: anti-aliased, in chunks of slices, invertible.

MONAI's `Spacingd` samples without anti-aliasing and builds a sampling grid of three floats for each voxel of the
volume. `ResampleInPlaned` works on a few slices at a time and changes neither their number nor their distance.
"""

import copy
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import torch
from monai.config.type_definitions import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.data.utils import affine_to_spacing
from monai.transforms.inverse import InvertibleTransform
from monai.transforms.transform import MapTransform
from monai.utils.enums import MetaKeys, TraceKeys
from monai.utils.misc import ensure_tuple_rep
from torch.nn.functional import interpolate

from custom_networks.errors import BundleError, InputError, UsageError


def slice_chunks(depth: int, chunk: int) -> Iterator[slice]:
    """Consecutive ranges of at most `chunk` slices that cover `depth` slices."""
    return (slice(start, min(start + chunk, depth)) for start in range(0, depth, chunk))


def resampled_size(size: int, spacing: float, target: float) -> int:
    """How many pixels of about `target` mm cover the extent of `size` pixels of `spacing` mm; at least 1."""
    # Rounded to a thousandth of a pixel first, since the affines of an image and its mask can differ by rounding.
    return max(1, math.floor(round(size * spacing / target, 3) + 0.5))


def in_plane_scaling(shape: Sequence[int], size: Sequence[int]) -> torch.Tensor:
    """Affine (4, 4), float64, from indices on slices of `size` to indices on slices of `shape` of the same extent."""
    scaling = torch.eye(4, dtype=torch.float64)
    for axis in (0, 1):
        scale = shape[axis] / size[axis]
        scaling[axis, axis], scaling[axis, 3] = scale, (scale - 1) / 2
    return scaling


def resize_slices(stack: torch.Tensor, size: Sequence[int], antialias: bool = True) -> torch.Tensor:
    """Resample each slice of (C, H, W, D) bilinearly over the same extent to (C, rows, columns, D), float32.

    `antialias` widens the kernel where pixels get larger, so that frequencies above the new Nyquist limit do not alias.
    """
    if tuple(stack.shape[1:3]) == tuple(size):
        return stack.float()
    if size[1] == 1 and size[0] > 1:
        # PyTorch 2.13 fills a result one pixel wide with the value of its first pixel; one pixel high is correct.
        return resize_slices(stack.transpose(1, 2), (size[1], size[0]), antialias).transpose(1, 2)
    # Slices become channels without a copy; PyTorch treats this layout as channels_last, which is the fastest.
    planes = stack.permute(0, 3, 1, 2).float()
    planes = interpolate(planes, size=tuple(size), mode="bilinear", antialias=antialias, align_corners=False)
    return planes.permute(0, 2, 3, 1)


def resize_labels(stack: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Resample label maps (C, H, W, D) by class: each class's mask is resampled, and the largest share wins.

    Each channel is a separate label map. Ties go to the lower label.

    Returns:
        (C, rows, columns, D), uint8.

    Raises:
        InputError: a value is not a whole number from 0 to 255.
    """
    whole = stack.to(torch.uint8)
    if not torch.equal(whole.to(stack.dtype), stack):
        raise InputError(
            f"A label map must contain whole numbers from 0 to 255, got values from {stack.min()} to {stack.max()}: "
            "resample it as an image, or save it as labels."
        )
    classes = torch.bincount(whole.flatten()).nonzero().flatten().tolist()
    new_shape = (stack.shape[0], *size, stack.shape[3])
    labels = torch.full(new_shape, classes[0], dtype=torch.uint8, device=stack.device)
    if len(classes) == 1:
        return labels
    share = resize_slices(whole == classes[0], size)
    for value in classes[1:]:
        other = resize_slices(whole == value, size)
        # The margin keeps exact ties from being decided by rounding.
        wins = other > share + 1e-5
        labels[wins] = value
        share = torch.maximum(share, other)
    return labels


def _nearest_slices(stack: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Resample each slice of (C, H, W, D) by nearest neighbour, keeping the type."""
    planes = stack.permute(0, 3, 1, 2).double()
    return interpolate(planes, size=tuple(size), mode="nearest-exact").permute(0, 2, 3, 1).to(stack.dtype)


def resize_volume(
    volume: torch.Tensor,
    size: Sequence[int],
    mode: str,
    dtype: torch.dtype,
    chunk: int = 16,
    kept: tuple[slice, slice] = (slice(None), slice(None)),
) -> torch.Tensor:
    """Resample a volume (C, H, W, D) in-plane to (C, rows, columns, D), `chunk` slices at a time on its device.

    Args:
        volume: if it already has the size, it is only cast, without rounding.
        size: rows and columns of the result.
        mode: "bilinear" (anti-aliased), "label" (by class) or "nearest".
        dtype: type of the result; resampled values are rounded before they become integers.
        chunk: slices handled at once.
        kept: the rows and columns to return; their values are bit-identical to the whole result's.

    Raises:
        InputError: a label map has values other than whole numbers from 0 to 255.
    """
    if tuple(volume.shape[1:3]) == tuple(size):
        return volume[:, kept[0], kept[1]].to(dtype)
    resize = {"bilinear": resize_slices, "label": resize_labels, "nearest": _nearest_slices}[mode]
    rows, columns = (len(range(n)[part]) for n, part in zip(size, kept, strict=True))
    resized = torch.empty((volume.shape[0], rows, columns, volume.shape[3]), dtype=dtype, device=volume.device)
    for part in slice_chunks(volume.shape[3], chunk):
        values = resize(volume[..., part], size)[:, kept[0], kept[1]]
        resized[..., part] = values if dtype.is_floating_point else values.round()
    return resized


class ResampleInPlaned(MapTransform, InvertibleTransform):
    """Resample slices to one in-plane pixel size; the third axis is not changed.

    Each item is a MetaTensor (C, H, W, D), slices last, whose affine gives the size of its voxels in mm. An axis of
    n pixels of s mm becomes `max(1, round(n * s / spacing))` pixels over exactly the same extent, so the new pixel
    size is only approximately `spacing`; the new affine is exact. Images are resampled bilinearly, with anti-aliasing
    where pixels grow, and label maps by class. Apart from the output, only `chunk` slices are in memory at a time.

    The step is recorded in `applied_operations`, so stock `Invertd` can undo it. The inverse restores the recorded
    affine exactly and resizes to the recorded shape. **A tensor that already has that shape keeps its values**: this
    is how a label map that `LabelsOnInputGridd` put on the input's grid passes through unchanged. Integer tensors are
    inverted as label maps, floating ones bilinearly (or by nearest value with `Invertd(nearest_interp=True)`); they
    may have any number of channels, and keep their type.

    If the data contain a region (see `FindLiverd`), only that part of the result is computed, with exactly the values
    that the whole result would have there; its position is also recorded. The inverse pads a tensor of the region's
    shape with zeros to the whole grid, and treats other shapes as usual.

    Args:
        spacing: pixel size of both in-plane axes, mm.
        mode: "image" or "label", one for all keys or one per key.
        dtype: type of resampled images ("float32", "float16", ... or a torch.dtype); label maps become uint8.
        chunk: slices handled at once.
        region_key: key of the region, if any: integers (3, 2), for each axis the first index to compute and the one
            after the last.

    Raises:
        UsageError: `spacing` or `chunk` is not positive, or `mode` is neither "image" nor "label".
        BundleError: on call, an item is not a MetaTensor (C, H, W, D), or the region exceeds its grid.
        InputError: on call, a label map to be resampled has values other than whole numbers from 0 to 255.
    """

    def __init__(
        self,
        keys: KeysCollection,
        spacing: float = 1.25,
        mode: str | Sequence[str] = "image",
        dtype: str | torch.dtype = torch.float32,
        chunk: int = 16,
        region_key: str = "region",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.region_key = region_key
        self.mode = ensure_tuple_rep(mode, len(self.keys))
        if not spacing > 0 or chunk < 1:
            raise UsageError(
                f"ResampleInPlaned needs a spacing above 0 mm and chunks of at least 1 slice, got {spacing} and "
                f"{chunk}: correct the configuration."
            )
        if not set(self.mode) <= {"image", "label"}:
            raise UsageError(f"ResampleInPlaned's mode must be 'image' or 'label', got {mode!r}: correct it.")
        self.spacing, self.chunk = spacing, chunk
        self.dtype: torch.dtype = getattr(torch, dtype) if isinstance(dtype, str) else dtype

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Data with the volume under each key resampled and the step recorded; the inputs are not modified."""
        d = dict(data)
        for key, mode in self.key_iterator(d, self.mode):
            d[key] = self._resampled(key, d[key], mode, d.get(self.region_key))
        return d

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Data with the volume under each key back on its original grid; see the class for details."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self._restored(d[key])
        return d

    def _resampled(self, key: Hashable, volume: Any, mode: str, region: Any = None) -> MetaTensor:
        """Resample a volume or its region and record the step; BundleError if it is not a MetaTensor (C, H, W, D)."""
        if not isinstance(volume, MetaTensor) or volume.ndim != 4:
            raise BundleError(
                f"ResampleInPlaned needs {key!r} as a MetaTensor (C, H, W, D), got {type(volume).__name__} of shape "
                f"{tuple(getattr(volume, 'shape', ()))}: load it with its affine and put the channel first."
            )
        shape = tuple(volume.shape[1:])
        spacings = affine_to_spacing(volume.affine, dtype=float).tolist()
        size = [resampled_size(n, mm, self.spacing) for n, mm in zip(shape[:2], spacings, strict=False)]
        rows, columns, slices = _slices_of(region, (*size, shape[2]))
        method, dtype = ("bilinear", self.dtype) if mode == "image" else ("label", torch.uint8)
        values = resize_volume(volume.as_tensor()[..., slices], size, method, dtype, self.chunk, (rows, columns))
        # "mode" and its values are MONAI's names, so that Invertd(nearest_interp=True) finds and changes them.
        record = {
            "mode": "bilinear" if mode == "image" else "nearest",
            "original_affine": volume.affine.clone(),
            "grid": (*size, shape[2]),
            "corner": (rows.start, columns.start, slices.start),
            "resampled_shape": tuple(values.shape[1:]),
        }
        place = torch.eye(4, dtype=torch.float64)
        place[:3, 3] = torch.tensor(record["corner"])
        affine = in_plane_scaling(shape, size) @ place
        return self.push_transform(with_meta_of(volume, values), affine=affine, orig_size=shape, extra_info=record)

    def _restored(self, volume: MetaTensor) -> MetaTensor:
        """Bring a volume back to the grid recorded before resampling."""
        out = with_meta_of(volume, volume.as_tensor())
        record = self.pop_transform(out)
        shape = [int(n) for n in record[TraceKeys.ORIG_SIZE]]
        values = volume.as_tensor()
        if list(values.shape[1:]) != shape:
            values = in_its_place(values, record[TraceKeys.EXTRA_INFO])
        floating = "nearest" if record[TraceKeys.EXTRA_INFO]["mode"] == "nearest" else "bilinear"
        mode = floating if volume.is_floating_point() else "label"
        out = with_meta_of(out, resize_volume(values, shape[:2], mode, volume.dtype, self.chunk))
        set_affine(out, record[TraceKeys.EXTRA_INFO]["original_affine"])
        return out


def _slices_of(region: Any, grid: Sequence[int]) -> tuple[slice, slice, slice]:
    """The region (3, 2) as slices of the grid, or the whole grid for None; BundleError if it exceeds the grid."""
    bounds = [(0, n) for n in grid] if region is None else [(int(first), int(stop)) for first, stop in region]
    if any(not 0 <= first < stop <= n for (first, stop), n in zip(bounds, grid, strict=True)):
        raise BundleError(
            f"A region must be within the grid {tuple(grid)}, got {bounds}: use the same spacing in both steps."
        )
    rows, columns, slices = (slice(first, stop) for first, stop in bounds)
    return rows, columns, slices


def in_its_place(values: torch.Tensor, record: Mapping[str, Any]) -> torch.Tensor:
    """Zero-pad the values (C, h, w, d) of a region to its whole grid, (C, H, W, D).

    Args:
        values: if they do not have the region's shape, they are returned unchanged.
        record: extra info that `ResampleInPlaned` recorded.
    """
    grid, corner, shape = ([int(n) for n in record[name]] for name in ("grid", "corner", "resampled_shape"))
    if list(values.shape[1:]) != shape or shape == grid:
        return values
    whole = values.new_zeros((values.shape[0], *grid))
    rows, columns, slices = (slice(first, first + n) for first, n in zip(corner, shape, strict=True))
    whole[:, rows, columns, slices] = values
    return whole


def set_affine(volume: MetaTensor, affine: torch.Tensor) -> None:
    """Set the affine (4, 4) of `volume`, and the voxel size in mm in its metadata if it is recorded there."""
    volume.affine = affine.clone()
    if MetaKeys.PIXDIM in volume.meta:
        volume.meta[MetaKeys.PIXDIM][1:4] = affine_to_spacing(affine)


def with_meta_of(source: MetaTensor, values: torch.Tensor) -> MetaTensor:
    """Values as a MetaTensor with a deep copy of the source's metadata (MONAI's own copy shares arrays)."""
    out = MetaTensor(values)
    out.meta = copy.deepcopy(source.meta)
    out.applied_operations = copy.deepcopy(source.applied_operations)
    return out
