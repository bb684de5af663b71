"""Turn the network's output into a label map on the input's grid, without float class maps on that whole grid."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import MapTransform
from monai.utils.enums import TraceKeys
from monai.utils.type_conversion import convert_to_tensor

from custom_networks.errors import BundleError, InputError, UsageError
from custom_networks.transforms.resample import (
    ResampleInPlaned,
    in_its_place,
    resize_slices,
    set_affine,
    slice_chunks,
    with_meta_of,
)


def class_probabilities(scores: torch.Tensor) -> torch.Tensor:
    """Class probabilities x 255, float32 (K, H, W, D), from the network's output (K, H, W, D).

    Integers are already probabilities x 255; floating values are logits.

    Raises:
        InputError: the logits lead to a probability that is not finite.
    """
    if not scores.is_floating_point():
        return scores.float()
    probabilities = torch.softmax(scores.float(), dim=0)
    # All comparisons with NaN are false, so without this check NaN would become an empty mask.
    if not torch.isfinite(probabilities).all():
        raise InputError("The network's output must be finite, got NaN or infinity: run it in float32.")
    return probabilities.mul_(255)


def labels_from_probabilities(
    probabilities: torch.Tensor, tumor_threshold: float = 0.5, organ_threshold: float = 0.5
) -> torch.Tensor:
    """Label map from class probabilities.

    A voxel is organ if liver and tumor together have at least the share `organ_threshold` of the three classes (0.5
    means that they are at least as probable as background). An organ voxel is tumor if tumor has at least the share
    `tumor_threshold` of liver and tumor. With an argmax over the three classes instead, background could win where
    organ is certain but undecided between liver and tumor.

    Args:
        probabilities: (3, H, W, D) of background, liver, tumor, in any common unit; all zero means background.
        tumor_threshold: 0 to 1.
        organ_threshold: 0 to 1.

    Returns:
        (H, W, D), uint8: 0 background, 1 liver, 2 tumor.
    """
    background, liver, tumor = probabilities
    organ = liver + tumor
    is_organ = ((1 - organ_threshold) * organ >= organ_threshold * background) & (organ > 0)
    is_tumor = is_organ & (tumor >= tumor_threshold * organ)
    return is_organ.to(torch.uint8) + is_tumor.to(torch.uint8)


class LabelsOnInputGridd(MapTransform):
    """Bring the network's output to the grid that the input had before `ResampleInPlaned`, and label the voxels there.

    It reads `d[key]`, (3, h, w, d) as tensor, MetaTensor or array on the network's grid: integers are class
    probabilities x 255, floating values are logits. It writes a uint8 MetaTensor (1, H, W, D) of labels 0, 1, 2, with
    the affine of the input's grid and the operations recorded before the resampling, and liver and tumor probabilities
    x 255, (2, H, W, D) uint8, for the anatomy transforms. Both still have the orientation of the network's input; stock
    `Invertd(keys="pred", transform="@preprocessing", orig_keys="image", nearest_interp=False)` brings them to the
    file's own grid. If the image is only a region of its grid, everything outside the region is background with zero
    probabilities. The work is done `chunk` slices at a time on the output's device; results are on the CPU.

    Args:
        keys: the network's output.
        ref_key: the preprocessed image, whose recorded operations describe the input's grid.
        probability_key: key of the probabilities; None discards them.
        tumor_threshold: see `labels_from_probabilities`.
        organ_threshold: see `labels_from_probabilities`.
        chunk: slices handled at once.

    Raises:
        UsageError: `chunk` or a threshold is out of range.
        BundleError: on call, the image has no record of `ResampleInPlaned`, or the output is not on its grid.
        InputError: on call, the output is not finite.
    """

    def __init__(
        self,
        keys: KeysCollection = "pred",
        ref_key: str = "image",
        probability_key: str | None = "probabilities",
        tumor_threshold: float = 0.5,
        organ_threshold: float = 0.5,
        chunk: int = 16,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if chunk < 1 or not 0 < tumor_threshold < 1 or not 0 < organ_threshold < 1:
            raise UsageError(
                "LabelsOnInputGridd needs a chunk of at least 1, and thresholds above 0 and below 1, got chunk "
                f"{chunk}, tumor_threshold {tumor_threshold}, organ_threshold {organ_threshold}: correct the config."
            )
        self.ref_key, self.probability_key, self.chunk = ref_key, probability_key, chunk
        self.thresholds = tumor_threshold, organ_threshold

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Data with a label map in place of the network's output, and with probabilities unless they are discarded."""
        d = dict(data)
        image: Any = d.get(self.ref_key)
        for key in self.key_iterator(d):
            step = _resampling_step(image, self.ref_key)
            record = image.applied_operations[step]
            scores = convert_to_tensor(d[key], track_meta=False)
            _check_grid(scores, record, key)
            labels, probabilities = self._decided(scores, record)
            d[key] = _on_grid_before(image, step, labels)
            if probabilities is not None:
                d[self.probability_key] = _on_grid_before(image, step, probabilities)
        return d

    def _decided(self, scores: torch.Tensor, record: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Label map (1, H, W, D) and, unless discarded, probabilities (2, H, W, D), on the grid before resampling."""
        shape = [int(n) for n in record[TraceKeys.ORIG_SIZE]]
        labels = _untouched_zeros(1, shape)
        kept = None if self.probability_key is None else _untouched_zeros(2, shape)
        first = int(record[TraceKeys.EXTRA_INFO]["corner"][2])
        for part in slice_chunks(scores.shape[3], self.chunk):
            probabilities = class_probabilities(scores[..., part])
            # Most of a scan is not liver, and half a unit of 255 is below any sensible threshold.
            if probabilities[1:].max() < 0.5:
                continue
            probabilities = _whole_slices(probabilities, record)
            rows, columns = _reached(probabilities, shape)
            probabilities = resize_slices(probabilities, shape[:2], antialias=False)[:, rows, columns]
            place = slice(first + part.start, first + part.stop)
            labels[0, rows, columns, place] = labels_from_probabilities(probabilities, *self.thresholds).cpu()
            if kept is not None:
                kept[:, rows, columns, place] = probabilities[1:].round().clamp_(0, 255).to(torch.uint8).cpu()
        return labels, kept


def _whole_slices(probabilities: torch.Tensor, record: Mapping[str, Any]) -> torch.Tensor:
    """Zero-pad probabilities (3, h, w, n) of a region in-plane to whole slices of the resampled grid."""
    depth = probabilities.shape[3]
    info = record[TraceKeys.EXTRA_INFO]
    in_plane = {"grid": (*info["grid"][:2], depth), "corner": (*info["corner"][:2], 0)}
    return in_its_place(probabilities, {**in_plane, "resampled_shape": (*info["resampled_shape"][:2], depth)})


def _untouched_zeros(channels: int, shape: Sequence[int]) -> torch.Tensor:
    """Zeros (channels, H, W, D), uint8, which take up memory only where something is written."""
    return torch.from_numpy(np.zeros((channels, *shape), np.uint8))


def _reached(probabilities: torch.Tensor, shape: Sequence[int]) -> tuple[slice, slice]:
    """The ranges of rows and columns that can contain organ once slices are resized to `shape`.

    Bilinear interpolation spreads each pixel as far as the centres of its neighbours. At least one liver or tumor
    probability x 255 in (3, h, w, n) must be 0.5 or more.
    """
    seen = (probabilities[1:] >= 0.5).any(dim=0).any(dim=2)
    rows, columns = (_resized_range(seen.any(dim=1 - axis), shape[axis]) for axis in (0, 1))
    return rows, columns


def _resized_range(seen: torch.Tensor, size: int) -> slice:
    """The range of pixels on an axis resized to `size` that the pixels marked in the mask `seen` can affect."""
    pixels = seen.nonzero().flatten().tolist()
    scale = size / len(seen)
    return slice(max(0, int((pixels[0] - 0.5) * scale) - 1), min(size, int((pixels[-1] + 1.5) * scale) + 1))


def _resampling_step(image: Any, name: str) -> int:
    """Index of the last `ResampleInPlaned` in the image's recorded operations; BundleError if there is none."""
    operations = image.applied_operations if isinstance(image, MetaTensor) else []
    classes = [str(operation.get(TraceKeys.CLASS_NAME)) for operation in operations]
    if ResampleInPlaned.__name__ in classes:
        return len(classes) - 1 - classes[::-1].index(ResampleInPlaned.__name__)
    raise BundleError(
        f"LabelsOnInputGridd needs {name!r} with a record of ResampleInPlaned, got {type(image).__name__} with "
        f"{classes}: include ResampleInPlaned in preprocessing and keep the image as a MetaTensor."
    )


def _check_grid(scores: torch.Tensor, record: Mapping[str, Any], key: Hashable) -> None:
    """Raise BundleError if the network's output is not on the grid of the resampled image."""
    expected = (3, *(int(n) for n in record[TraceKeys.EXTRA_INFO]["resampled_shape"]))
    if tuple(scores.shape) != expected:
        raise BundleError(
            f"LabelsOnInputGridd needs {key!r} on the grid of the resampled image, {expected}, got "
            f"{tuple(scores.shape)}: remove what changes the grid between ResampleInPlaned and the network."
        )


def _on_grid_before(image: MetaTensor, step: int, values: torch.Tensor) -> MetaTensor:
    """Values with the image's metadata, but its affine and operations from before `step`, a `ResampleInPlaned`."""
    out = with_meta_of(image, values)
    out.applied_operations = out.applied_operations[:step]
    set_affine(out, image.applied_operations[step][TraceKeys.EXTRA_INFO]["original_affine"])
    return out
