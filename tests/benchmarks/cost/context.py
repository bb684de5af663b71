"""The cost of wider stacks: FLOP of each kind of pass, and this network's time in eager PyTorch."""

import statistics
import time
from typing import Any

import torch

from custom_networks.networks import ContextNet25D
from tests.benchmarks.cost.machine import keep_freed_memory
from tests.benchmarks.cost.networks import Slab, flop, runnable, with_ordinary_convolutions

KERNELS = ((1, 1, 1, 1, 1), (1, 1, 1, 1, 3), (1, 1, 1, 3, 3), (1, 3, 3, 3, 3), (1, 3, 3, 5, 5), (1, 5, 5, 5, 5))
SLAB = 16  # slices


def context_cost(side: int, repeats: int) -> list[dict[str, Any]]:
    """For stacks of growing size: kFLOP for each labelled voxel, and eager float32 ms for each slice of `side` pixels.

    "slab" is this network in slabs of 16 slices, "stack" the same stack by stack, "ordinary" with ordinary convolutions
    in slabs. The stacks are timed alternately.
    """
    keep_freed_memory()
    networks = [ContextNet25D(depth_kernels=kernels) for kernels in KERNELS]
    shapes = [(1, 1, side, side, SLAB + network.stack - 1) for network in networks]
    ready = [runnable(Slab(network), "torch", "float32", shape) for network, shape in zip(networks, shapes)]
    seconds: list[list[float]] = [[] for _ in networks]
    for repeat in range(-1, repeats):
        for forward, shape, own in zip(ready, shapes, seconds):
            x = torch.rand(shape)
            started = time.perf_counter()
            forward(x)
            own += [time.perf_counter() - started] * (repeat >= 0)
    found = []
    for network, shape, own in zip(networks, shapes, seconds):
        ms = 1e3 * statistics.median(own) / SLAB
        found.append({"stack": network.stack, "ms": float(f"{ms:.3g}"), **_kflop(network, shape)})
    return found


def _kflop(network: ContextNet25D, shape: tuple[int, ...]) -> dict[str, float]:
    voxels = shape[2] * shape[3]
    slab = flop(Slab(network), shape) / (voxels * SLAB)
    stack = flop(Slab(network), (*shape[:4], network.stack)) / voxels
    ordinary = flop(with_ordinary_convolutions(Slab(network)), shape) / (voxels * SLAB)
    counted = {"slab": slab, "stack_by_stack": stack, "ordinary": ordinary}
    return {f"kflop_{name}": round(value / 1e3, 1) for name, value in counted.items()}
