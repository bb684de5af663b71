"""Segments a volume of any depth slab by slab, each with its real neighbours as halo; in training, stack by stack."""

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

FULL = 255  # a probability of one in compact form


class SliceStackInferer(Inferer):
    """Runs a 2.5D network over a volume `(B, C, H, W, D)`, slices last, in slabs of consecutive slices.

    A volume with thin slices is taken apart into `k` interleaved sub-volumes (every k-th slice, all of them answered),
    so that a stack spans the anatomy it was trained on. Every slice is encoded once, but for the halo of a slab. Memory
    beyond input and answer is that of one slab, and slabs are cut to a budget. The same input is cut the same way
    everywhere; another way changes the answer by rounding alone.

    The network says by `slab`, `halo` and `stride` how it wants to be run (see `ContextNet25D`); one without them is
    called as a whole and taken to look at no neighbours.

    Args:
        roi_size: greatest in-plane size that is run at once, in pixels; larger slices are tiled and blended.
        slab: most slices that are answered at once.
        overlap: overlap of neighbouring tiles, as a part of `roi_size`.
        context_spacing: distance in mm that the slices of a stack should have.
        precision: "float32", "bfloat16", or "auto" (see `precision`).
        runtime: "torch"; "openvino"; or "auto": OpenVINO on a CPU where it is there and can run the network, else
            PyTorch.
        memory_mb: by how many MB the process may grow while slabs are run, which cuts the slabs of large slices, though
            not below as many slices as the halo has on one side.
        compact: give class probabilities x 255 as uint8 `(B, K, H, W, D)`; otherwise float32 logits.
        sw_device: where slabs are run; by default where the input is.
        device: where the answer is put together; by default where the input is.
        progress: show a progress bar, where stderr is a terminal.
        sub_volumes: how many of the `k` sub-volumes are answered; the slices of the others are interpolated between
            their neighbours. None: all of them. A coarse answer for speed; without thin slices it changes nothing.

    Raises:
        ValueError: for arguments that cannot be met.
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
        self.network_seconds = 0.0  # of the last volume, forward passes alone
        self.on_slab: Callable[[int, int], None] | None = None  # told how many slabs of how many are answered

    def open(self, network: Callable[..., Any], device: torch.device) -> Runtime:
        """The runtime in which this inferer runs a network, by default on `device`, with the weights it has now.

        Raises:
            UsageError: the runtime that is asked for by name cannot run the network.
            BundleError: its weights are not finite.
        """
        network = getattr(network, "module", network)
        return open_runtime(network, self.runtime, self.precision, torch.device(self.sw_device or device))

    @torch.no_grad()
    def __call__(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Tensor:
        """Class probabilities (or logits) of `inputs` on its own grid, a MetaTensor if `inputs` is one.

        The slice spacing (mm) is taken from a MetaTensor's affine; a plain tensor is run with consecutive slices.

        Raises:
            ValueError: for a volume without slices, or a batch whose volumes need different `k`.
            InputError: the volume holds numbers that are not finite.
            BundleError: the network gives numbers that are not finite.
        """
        network = getattr(network, "module", network)
        volume = torch.as_tensor(inputs).as_subclass(torch.Tensor)
        if not volume.shape[-1]:
            raise ValueError(f"volume has no slices: shape {tuple(volume.shape)}")
        step = _shared_step(inputs, self.context_spacing) if isinstance(inputs, MetaTensor) else 1
        self.network_seconds = 0.0
        runtime = self.open(network, volume.device)
        logger.info("the network is run by %s in %s", runtime.name, runtime.precision)
        with runtime.running():
            answer = self._answer(volume, network, runtime, step)
        result: Tensor = convert_to_dst_type(answer, inputs, dtype=answer.dtype, device=answer.device)[0]
        return result

    def _answer(self, volume: Tensor, network: Callable[..., Any], runtime: Runtime, step: int) -> Tensor:
        """The answer to all slices of a plain tensor, every `step`-th of which make up a stack."""
        halo, stride = int(getattr(network, "halo", 0)), int(getattr(network, "stride", 1))
        size = _tile_size([n + -n % stride for n in volume.shape[2:4]], self.roi_size, stride)
        most = most_slices(volume.shape[0] * size[0] * size[1], halo, runtime.name, self.slab, self.memory_mb)
        offsets = chosen_offsets(min(step, volume.shape[-1]), self.sub_volumes)
        slabs = [slab for slab in cut(volume.shape[-1], step, most) if slab[0] % step in offsets]
        longest = max(map(len, slabs))
        answer = torch.empty(())
        for number, slices in enumerate(tqdm(slabs, desc="slabs", disable=None if self.progress else True), start=1):
            stack = _stack(volume, slices, step, halo)
            if not _finite(stack):  # layers may make a zero of what is not
                raise InputError("The image holds numbers that are not finite: write it anew from its source.")
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
        """Run a stack whole, or in overlapping tiles blended with Gaussian weights where it exceeds `size`."""
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
        """Logits of a tile, all finite: a cast to uint8 would make zero of what is not."""
        started = time.perf_counter()
        logits = runtime(tile, longest)
        self.network_seconds += time.perf_counter() - started  # on a GPU, of starting the kernels
        if not _finite(logits):
            raise BundleError(
                f"The network gave numbers that are not finite ({runtime.name}, {runtime.precision}): its weights are "
                "damaged or too large for it; take others, or --precision float32."
            )
        return logits


class StackInferer(Inferer):
    """Logits of stacks `(B, C, H, W, N + S - 1)` that hold real neighbours, as in training: `(B, K, H, W, N)` float32.

    For the precision see `chosen_precision`, in training.
    """

    def __init__(self, precision: str = "auto") -> None:
        self.precision = precision

    def __call__(self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        # Through forward, not slab: DistributedDataParallel hooks into forward alone.
        with autocast(inputs.device, self.precision, training=True):
            logits: torch.Tensor = network(torch.as_tensor(inputs).as_subclass(torch.Tensor), with_halo=True)
        return logits.float()


def _shared_step(volumes: MetaTensor, target: float) -> int:
    """The `slice_step` of a batch, from the affine that its volumes share or from those that they bring."""
    spacings = torch.linalg.vector_norm(volumes.affine.reshape(-1, 4, 4)[:, :3, 2], dim=1).tolist()
    steps = {slice_step(spacing, target) for spacing in spacings}
    if len(steps) != 1:
        raise ValueError(
            f"slices of a batch must lie about as far apart, got {spacings} mm: run the volumes one by one"
        )
    return steps.pop()


def _tile_size(size: list[int], roi_size: tuple[int, ...], stride: int) -> list[int]:
    """Rows and columns that are run at once of slices of `size`, which are multiples of `stride`."""
    return [min(n, max(stride, roi // stride * stride)) for n, roi in zip(size, roi_size)]


def _stack(volume: Tensor, slices: range, step: int, halo: int) -> Tensor:
    """The slices and the `halo` slices of the same sub-volume before and behind them, where end slices repeat."""
    wanted = range(slices[0] - halo * step, slices[-1] + halo * step + 1, step)
    first, last = slices[0] % step, slices[0] + (volume.shape[-1] - 1 - slices[0]) // step * step
    return volume[..., [min(max(i, first), last) for i in wanted]]


def _finite(tensor: Tensor) -> bool:
    """Whether all numbers are finite: the extremes are where they are, and NaN is an extreme."""
    lowest, highest = torch.aminmax(tensor)
    return bool(lowest.isfinite() & highest.isfinite())
