"""Inferers that run a 2.5D network with real neighbouring slices: over whole volumes, or on stacks in training."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from monai.data.utils import compute_importance_map, dense_patch_slices
from monai.inferers import Inferer
from monai.utils import convert_to_dst_type
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from custom_networks.errors import BundleError, InputError
from custom_networks.inference.precision import autocast
from custom_networks.inference.runtimes import Runtime, open_runtime
from custom_networks.inference.slabs import cut, most_slices
from custom_networks.inference.spacing import slice_step
from custom_networks.inference.sub_volumes import chosen_offsets, fill_between

logger = logging.getLogger(__name__)

FULL = 255  # a probability of 1 in compact output


class SliceStackInferer(Inferer):
    """Runs a 2.5D network over a volume `(B, C, H, W, D)`, slices last, in slabs of consecutive slices.

    A volume with thin slices is split into `k` interleaved sub-volumes (each has every k-th slice, and together they
    have all slices), so that a stack spans as much anatomy as in training. Each slice is encoded once, except in the
    halo of a slab. Besides input and output, only one slab is in memory, and its size is limited by a budget. How a
    volume is cut depends only on its shape, its slice distance, the runtime and the options; other slabs change the
    output only by rounding.

    The network's `slab`, `halo` and `stride` determine how it is run (see `ContextNet25D`); a network without them is
    called directly and assumed to need no neighbouring slices.

    Args:
        roi_size: largest in-plane size that is run at once, in pixels; larger slices are tiled and blended.
        slab: largest number of slices that are predicted at once.
        overlap: overlap of neighbouring tiles, as a fraction of `roi_size`.
        context_spacing: desired distance between the slices of a stack, mm.
        precision: "float32", "bfloat16", or "auto" (see `precision`).
        runtime: "torch", "openvino" or "auto" (see `runtimes`).
        memory_mb: memory budget, in MB, by which the process may grow while slabs are run; it limits the size of slabs,
            though not to fewer slices than the halo has on one side.
        compact: return class probabilities x 255 as uint8 `(B, K, H, W, D)` instead of float32 logits.
        sw_device: where slabs are run; by default the device of the input.
        device: where the output is assembled; by default the device of the input.
        progress: show a progress bar if stderr is a terminal.
        sub_volumes: number of the `k` sub-volumes to run, None for all; the other slices are interpolated between their
            neighbours. It trades accuracy for speed, and has no effect unless slices are thin.

    Attributes:
        network_seconds: time of the forward passes of the last volume, s; on a GPU, the time to launch them.
        on_slab: called with the numbers of finished slabs and of all slabs after each slab; or None.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        roi_size: Sequence[int] = (512, 512),
        slab: int = 16,
        overlap: float = 0.25,
        context_spacing: float = 3.0,
        precision: str = "auto",
        compact: bool = True,
        sw_device: torch.device | str | None = None,
        device: torch.device | str | None = None,
        progress: bool = False,
        runtime: str = "torch",
        memory_mb: float = 900.0,
        sub_volumes: int | None = None,
    ) -> None:
        if len(roi_size) != 2 or min(roi_size) < 1:
            raise ValueError(f"roi_size must be a height and a width in pixels, got {list(roi_size)}")
        if slab < 1:
            raise ValueError(f"slab must be at least one slice, got {slab}")
        if sub_volumes is not None and sub_volumes < 1:
            raise ValueError(f"sub_volumes must be at least one, or None for all, got {sub_volumes}")
        if not 0 <= overlap < 1:
            raise ValueError(f"overlap must be at least 0 and below 1, got {overlap}")
        self.roi_size, self.slab, self.overlap = tuple(roi_size), slab, overlap
        self.context_spacing, self.precision, self.compact = context_spacing, precision, compact
        self.sw_device, self.device, self.progress = sw_device, device, progress
        self.runtime, self.memory_mb, self.sub_volumes = runtime, memory_mb, sub_volumes
        self.network_seconds = 0.0
        self.on_slab: Callable[[int, int], None] | None = None

    def open(self, network: Callable[..., Any], device: torch.device) -> Runtime:
        """Open the runtime for a network with its current weights and inputs on `device`.

        Raises:
            ValueError: the runtime or precision is unknown.
            UsageError: OpenVINO was requested by name and cannot run the network.
            BundleError: OpenVINO is to run the network, and its weights or outputs are not finite.
        """
        network = getattr(network, "module", network)
        return open_runtime(network, self.runtime, self.precision, torch.device(self.sw_device or device))

    @torch.no_grad()
    def __call__(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Tensor:
        """Class probabilities x 255 (or logits) on the grid of `inputs`; a MetaTensor if `inputs` is one.

        The slice distance in mm is taken from a MetaTensor's affine; a plain tensor is run with consecutive slices.

        Raises:
            ValueError: the volume has no slices, the volumes of a batch need different `k`, or the runtime or precision
                is unknown.
            InputError: the volume contains values that are not finite.
            UsageError: see `open`.
            BundleError: the network's weights or outputs are not finite.
        """
        network = getattr(network, "module", network)
        volume = torch.as_tensor(inputs).as_subclass(torch.Tensor)
        if not volume.shape[-1]:
            raise ValueError(f"volume has no slices: shape {tuple(volume.shape)}")
        step = _shared_step(inputs, self.context_spacing) if isinstance(inputs, MetaTensor) else 1
        self.network_seconds = 0.0
        runtime = self.open(network, volume.device)
        logger.info("The network is run by %s in %s", runtime.name, runtime.precision)
        with runtime.running():
            answer = self._answer(volume, network, runtime, step)
        result: Tensor = convert_to_dst_type(answer, inputs, dtype=answer.dtype, device=answer.device)[0]
        return result

    def _answer(self, volume: Tensor, network: Callable[..., Any], runtime: Runtime, step: int) -> Tensor:
        """The output for all slices of a plain tensor; a stack has every `step`-th slice."""
        halo, stride = int(getattr(network, "halo", 0)), int(getattr(network, "stride", 1))
        size = _tile_size([n + -n % stride for n in volume.shape[2:4]], self.roi_size, stride)
        most = most_slices(volume.shape[0] * size[0] * size[1], halo, runtime.name, self.slab, self.memory_mb)
        offsets = chosen_offsets(min(step, volume.shape[-1]), self.sub_volumes)
        slabs = [slab for slab in cut(volume.shape[-1], step, most) if slab[0] % step in offsets]
        longest = max(map(len, slabs))
        answer = torch.empty(())
        for number, slices in enumerate(tqdm(slabs, desc="slabs", disable=None if self.progress else True), start=1):
            stack = _stack(volume, slices, step, halo)
            if not _finite(stack):  # layers may turn NaN into 0, which would hide it
                raise InputError("The image contains values that are not finite: export it again from its source.")
            stack = stack.to(self.sw_device or volume.device)
            part = self._tiled(stack, size, stride, lambda tile: self._run(tile, runtime, longest))
            if self.compact:
                part = (part.softmax(dim=1) * FULL).round_().to(torch.uint8)
            if answer.dim() == 0:
                shape = (*part.shape[:-1], volume.shape[-1])
                answer = torch.empty(shape, dtype=part.dtype, device=self.device or volume.device)
            answer[..., slices] = part.to(answer.device)
            if self.on_slab:
                self.on_slab(number, len(slabs))
        fill_between(answer, sorted(i for slab in slabs for i in slab))
        return answer

    def _tiled(self, stack: Tensor, size: list[int], stride: int, run: Callable[[Tensor], Tensor]) -> Tensor:
        """Run a stack as a whole or, if it exceeds `size`, in overlapping tiles blended with Gaussian weights."""
        height, width = stack.shape[2:4]
        stack = F.pad(stack, [0, 0, 0, -width % stride, 0, -height % stride])
        if size == list(stack.shape[2:4]):
            return run(stack)[:, :, :height, :width]
        interval = [max(stride, int(n * (1 - self.overlap)) // stride * stride) for n in size]
        weight = compute_importance_map(tuple(size), mode="gaussian", device=stack.device)[..., None]
        total = torch.zeros(())
        norm = torch.zeros((*stack.shape[2:4], 1), device=stack.device)
        for rows, columns in dense_patch_slices(stack.shape[2:4], size, interval):
            logits = run(stack[:, :, rows, columns])
            if total.dim() == 0:
                total = logits.new_zeros((*logits.shape[:2], *stack.shape[2:4], logits.shape[-1]))
            total[:, :, rows, columns] += weight * logits
            norm[rows, columns] += weight
        return (total / norm)[:, :, :height, :width]

    def _run(self, tile: Tensor, runtime: Runtime, longest: int) -> Tensor:
        """Logits of a tile; BundleError if they are not finite, because a cast to uint8 would turn NaN into 0."""
        started = time.perf_counter()
        logits = runtime(tile, longest)
        self.network_seconds += time.perf_counter() - started  # on a GPU, the time to launch the kernels
        if not _finite(logits):
            raise BundleError(
                f"The network's output is not finite ({runtime.name}, {runtime.precision}): its weights are damaged or "
                "too large for this precision; use other weights, or the precision float32."
            )
        return logits


class StackInferer(Inferer):
    """Runs a network on training stacks, in which each of `N` slices to segment has a context of `S` slices.

    Inputs `(B, C, H, W, N + S - 1)` become float32 logits `(B, K, H, W, N)`. Layers compute in the precision that
    `chosen_precision` returns for training.
    """

    def __init__(self, precision: str = "auto") -> None:
        self.precision = precision

    def __call__(self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        # Call forward instead of slab, because DistributedDataParallel hooks into forward only.
        with autocast(inputs.device, self.precision, training=True):
            logits: torch.Tensor = network(torch.as_tensor(inputs).as_subclass(torch.Tensor), with_halo=True)
        return logits.float()


def _shared_step(volumes: MetaTensor, target: float) -> int:
    """The `slice_step` of a batch with one affine or one per volume; ValueError if the volumes' steps differ."""
    spacings = torch.linalg.vector_norm(volumes.affine.reshape(-1, 4, 4)[:, :3, 2], dim=1).tolist()
    steps = {slice_step(spacing, target) for spacing in spacings}
    if len(steps) != 1:
        raise ValueError(
            f"the volumes of a batch must have about the same slice distance, got {spacings} mm: run them one by one"
        )
    return steps.pop()


def _tile_size(size: list[int], roi_size: tuple[int, ...], stride: int) -> list[int]:
    """Rows and columns to run at once: multiples of `stride`, at most `size`, and at most `roi_size` if possible."""
    return [min(n, max(stride, roi // stride * stride)) for n, roi in zip(size, roi_size)]


def _stack(volume: Tensor, slices: range, step: int, halo: int) -> Tensor:
    """The given slices, with `halo` slices of the same sub-volume before and after them; end slices are repeated."""
    wanted = range(slices[0] - halo * step, slices[-1] + halo * step + 1, step)
    first, last = slices[0] % step, slices[0] + (volume.shape[-1] - 1 - slices[0]) // step * step
    return volume[..., [min(max(i, first), last) for i in wanted]]


def _finite(tensor: Tensor) -> bool:
    """Whether all values are finite; minimum and maximum suffice, since they propagate NaN."""
    lowest, highest = torch.aminmax(tensor)
    return bool(lowest.isfinite() & highest.isfinite())
