"""From the network's answer to a label map on the input's grid, without ever holding float classes of that size."""

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
    """Class probabilities x 255, float32, of the network's answer, both (K, H, W, D).

    Integers are probabilities x 255 already, floating values are logits; one that is not finite is an InputError.
    """
    if not scores.is_floating_point():
        return scores.float()
    probabilities = torch.softmax(scores.float(), dim=0)
    # Not-a-number compares as false everywhere: unchecked, it would be written as an empty mask.
    if not torch.isfinite(probabilities).all():
        raise InputError("The network's answer must be finite, got NaN or infinity: run it in float32.")
    return probabilities.mul_(255)


def labels_from_probabilities(
    probabilities: torch.Tensor, tumor_threshold: float = 0.5, organ_threshold: float = 0.5
) -> torch.Tensor:
    """Label map from class probabilities.

    A voxel is organ where liver and tumor together have at least the share `organ_threshold` of all three (one half:
    they are at least as probable as background), and an organ voxel is tumor where tumor has at least the share
    `tumor_threshold` of the two. So tumor is weighed against liver inside the organ; with three classes side by side,
    background could win between the two.

    Args:
        probabilities: (3, H, W, D) of background, liver, tumor, in any common unit; all zero is background.
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
    """Bring the network's answer to the grid of the input before `ResampleInPlaned`, and decide there.

    Reads `d[key]`, (3, h, w, D) as tensor, MetaTensor or array on the network's grid: integers are class
    probabilities x 255, floating values are logits. Writes a uint8 MetaTensor (1, H, W, D) of labels 0, 1, 2 with the
    affine of the grid and the operations that had led to it, and (2, H, W, D) uint8 liver and tumor probabilities
    x 255 for the anatomy transforms. Both are still oriented as the network's input: stock
    `Invertd(keys="pred", transform="@preprocessing", orig_keys="image", nearest_interp=False)` brings them to the
    file's own grid. Where the image is a region of its grid, so is the answer: outside of it all is background, with
    zero probabilities. The work is done `chunk` slices at a time on the answer's device; results are on the CPU.

    Args:
        keys: the network's answer.
        ref_key: the preprocessed image whose record says what the input's grid was.
        probability_key: where the probabilities go; None keeps none.
        tumor_threshold: of `labels_from_probabilities`, as `organ_threshold` is.
        chunk: slices worked on at once.

    Raises:
        UsageError: `chunk` or a threshold is out of range.
        BundleError: the image has no record of `ResampleInPlaned`, or the answer does not lie on its grid.
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
                "LabelsOnInputGridd needs chunks of at least 1 slice, and tumor_threshold and organ_threshold between "
                f"0 and 1, got {chunk}, {tumor_threshold} and {organ_threshold}: correct the configuration."
            )
        self.ref_key, self.probability_key, self.chunk = ref_key, probability_key, chunk
        self.thresholds = tumor_threshold, organ_threshold

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Data with the answer replaced by its label map and, where asked for, the probabilities beside it."""
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
        shape = [int(n) for n in record[TraceKeys.ORIG_SIZE]]
        labels = _untouched_zeros(1, shape)
        kept = None if self.probability_key is None else _untouched_zeros(2, shape)
        first = int(record[TraceKeys.EXTRA_INFO]["corner"][2])
        for part in slice_chunks(scores.shape[3], self.chunk):
            probabilities = class_probabilities(scores[..., part])
            # Half a unit of 255 is below any sensible threshold, and most of a scan is no liver.
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
    """Probabilities (3, h, w, n) of a region's slices in their place in-plane, where all else is zero."""
    depth = probabilities.shape[3]
    info = record[TraceKeys.EXTRA_INFO]
    in_plane = {"grid": (*info["grid"][:2], depth), "corner": (*info["corner"][:2], 0)}
    return in_its_place(probabilities, {**in_plane, "resampled_shape": (*info["resampled_shape"][:2], depth)})


def _untouched_zeros(channels: int, shape: Sequence[int]) -> torch.Tensor:
    """Zeros (channels, H, W, D), uint8, that take memory only where something is written to them."""
    return torch.from_numpy(np.zeros((channels, *shape), np.uint8))


def _reached(probabilities: torch.Tensor, shape: Sequence[int]) -> tuple[slice, slice]:
    """Rows and columns of slices resized to `shape` that can hold any organ; the probabilities (3, h, w, n) hold some.

    A pixel reaches as far as bilinear interpolation takes it, to the middles of its neighbours.
    """
    seen = (probabilities[1:] >= 0.5).any(dim=0).any(dim=2)
    rows, columns = (_resized_range(seen.any(dim=1 - axis), shape[axis]) for axis in (0, 1))
    return rows, columns


def _resized_range(seen: torch.Tensor, size: int) -> slice:
    """The part of an axis of `size` pixels that the `seen` ones, a mask of another size, can reach."""
    pixels = seen.nonzero().flatten().tolist()
    scale = size / len(seen)
    return slice(max(0, int((pixels[0] - 0.5) * scale) - 1), min(size, int((pixels[-1] + 1.5) * scale) + 1))


def _resampling_step(image: Any, name: str) -> int:
    """Index of the last entry that `ResampleInPlaned` left in the image's operations."""
    operations = image.applied_operations if isinstance(image, MetaTensor) else []
    classes = [str(operation.get(TraceKeys.CLASS_NAME)) for operation in operations]
    if ResampleInPlaned.__name__ in classes:
        return len(classes) - 1 - classes[::-1].index(ResampleInPlaned.__name__)
    raise BundleError(
        f"LabelsOnInputGridd needs {name!r} with a record of ResampleInPlaned, got {type(image).__name__} with "
        f"{classes}: put ResampleInPlaned into preprocessing and keep the image as a MetaTensor."
    )


def _check_grid(scores: torch.Tensor, record: Mapping[str, Any], key: Hashable) -> None:
    expected = (3, *(int(n) for n in record[TraceKeys.EXTRA_INFO]["resampled_shape"]))
    if tuple(scores.shape) != expected:
        raise BundleError(
            f"LabelsOnInputGridd needs {key!r} on the grid of the resampled image, {expected}, got "
            f"{tuple(scores.shape)}: remove steps that change the grid between ResampleInPlaned and the network."
        )


def _on_grid_before(image: MetaTensor, step: int, values: torch.Tensor) -> MetaTensor:
    """Values with the metadata that the image had before operation `step`, a `ResampleInPlaned`."""
    out = with_meta_of(image, values)
    out.applied_operations = out.applied_operations[:step]
    set_affine(out, image.applied_operations[step][TraceKeys.EXTRA_INFO]["original_affine"])
    return out
