"""What ContextNet25D costs beside its alternatives: a markdown table of parameters, FLOP and, with `--time`, ms.

    python tests/benchmarks/network_cost.py [--time] [--repeats 7] [--threads 2]

FLOP = 2 x multiply-add of convolutions and depth kernels, per output slice of 320 x 320 and per labelled voxel; counted
on tensors without data. Times are eager ones, of all networks in turn within each repeat, so that a busy machine slows
them alike; read them with the CPU that the table names.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from monai.networks.nets import DynUNet
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from custom_networks.inference import chosen_precision, keep_freed_memory
from custom_networks.networks import ContextNet25D
from custom_networks.networks.blocks import SeparableConv

SIDE = 320  # pixels
SLAB = 16  # slices
PATCH, TIMED_PATCH = 128, 96  # voxels; the smaller one keeps the timing affordable
CPU_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")


class OrdinaryConv(nn.Module):
    """Stands in for a `SeparableConv`: an ordinary `Conv3d` of the same reach, with the same contract."""

    def __init__(self, separable: SeparableConv) -> None:
        super().__init__()
        plane, out_channels = separable.plane, separable.point[0].out_channels
        depth = 1 if separable.depth is None else separable.depth.kernel
        stride, rate = plane.stride[0], plane.dilation[0]
        self.conv = nn.Conv3d(
            plane.in_channels,
            out_channels,
            (depth, 3, 3),
            (1, stride, stride),
            padding=(0, rate, rate),
            dilation=(1, rate, rate),
            bias=False,
        )
        self.norm = nn.BatchNorm3d(out_channels)

    def forward(self, x: Tensor, stacks: int) -> Tensor:
        """Map `(stacks * D, C, H, W)` to `(stacks * (D - depth + 1), C', H / stride, W / stride)`."""
        volume = x.unflatten(0, (stacks, -1)).transpose(1, 2)
        answer: Tensor = torch.relu(self.norm(self.conv(volume))).transpose(1, 2).flatten(0, 1)
        return answer


def with_ordinary_convolutions(network: nn.Module) -> nn.Module:
    """Replace, in place, each depthwise separable convolution of `network` by an ordinary one."""
    for name, child in network.named_children():
        if isinstance(child, SeparableConv):
            setattr(network, name, OrdinaryConv(child))
        else:
            with_ordinary_convolutions(child)
    return network


def nnunet_3d() -> nn.Module:
    """The 3D network that nnU-Net plans for liver CT, as MONAI's DynUNet: 6 stages, 32 to 320 channels."""
    strides = [1, 2, 2, 2, 2, 2]
    filters = [32, 64, 128, 256, 320, 320]
    return DynUNet(3, 1, 3, [3] * 6, strides, strides[1:], filters=filters, norm_name="instance")


@dataclass
class Contestant:
    """A network with the input it is counted and timed on, and the voxels that one such run labels."""

    name: str
    network: nn.Module
    shape: tuple[int, ...]
    labelled: int
    timed_shape: tuple[int, ...] = ()
    timed_labelled: int = 0


def logits(network: nn.Module, x: Tensor) -> Tensor:
    answer: Tensor = getattr(network, "slab", network)(x)
    return answer


def contestants() -> list[Contestant]:
    network, ordinary, flat = ContextNet25D(), ContextNet25D(), ContextNet25D(depth_kernels=[1] * 5)
    with_ordinary_convolutions(ordinary)
    slab = (1, 1, SIDE, SIDE, SLAB + network.stack - 1)
    stack = (1, 1, SIDE, SIDE, network.stack)
    slices = (1, 1, SIDE, SIDE, SLAB)
    square, cube, timed = SIDE**2, (1, 1, *[PATCH] * 3), (1, 1, *[TIMED_PATCH] * 3)
    return [
        Contestant(f"ContextNet25D, slabs of {SLAB}", network, slab, SLAB * square),
        Contestant(f"ContextNet25D, stack by stack (S = {network.stack})", network, stack, square),
        Contestant(f"the same without context: 2D, {SLAB} slices", flat, slices, SLAB * square),
        Contestant(f"the same with ordinary convolutions, slabs of {SLAB}", ordinary, slab, SLAB * square),
        Contestant(f"nnU-Net 3D (DynUNet), patch {PATCH}^3", nnunet_3d(), cube, PATCH**3, timed, TIMED_PATCH**3),
    ]


def multiply_add_flop(*args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """FLOP of one step of a depth kernel, which PyTorch's counter leaves out: a multiply-add for each element."""
    return 2 * prod(out_shape)


def flop(contestant: Contestant) -> int:
    """FLOP of one run, counted on the meta device: shapes alone."""
    steps = {torch.ops.aten.mul: multiply_add_flop, torch.ops.aten.addcmul: multiply_add_flop}
    network = copy.deepcopy(contestant.network).to("meta").eval()
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=steps) as counter:
        logits(network, torch.empty(contestant.shape, device="meta"))
    return counter.get_total_flops()


def channels_last(network: nn.Module) -> None:
    """Lay the weights of every `Conv3d` out channels last, in place: no alternative runs in a slower format."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last_3d)


def milliseconds(contestant: Contestant, dtype: torch.dtype | None) -> float:
    """Time of one eager run, in ms for as many voxels as a slice has."""
    x = torch.rand(contestant.timed_shape or contestant.shape)
    with torch.inference_mode(), torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
        start = time.perf_counter()
        logits(contestant.network, x)
        seconds = time.perf_counter() - start
    return 1e3 * seconds * SIDE**2 / (contestant.timed_labelled or contestant.labelled)


def timings(runners: list[Contestant], repeats: int) -> Iterator[tuple[str, list[list[float]]]]:
    """For each precision its name and, for each contestant, the ms of every repeat; all of them in turn."""
    fast = chosen_precision(torch.device("cpu"), "auto", training=True) == "bfloat16"
    dtypes = [None, torch.bfloat16] if fast else [None]  # emulated, bfloat16 would take minutes
    for runner in runners:
        channels_last(runner.network.eval())
    times: dict[torch.dtype | None, list[list[float]]] = {dtype: [[] for _ in runners] for dtype in dtypes}
    for repeat in range(-1, repeats):  # the first round warms up
        for dtype, rows in times.items():
            for runner, row in zip(runners, rows):
                ms = milliseconds(runner, dtype)
                if repeat >= 0:
                    row.append(ms)
    for dtype, rows in times.items():
        yield str(dtype or torch.float32).removeprefix("torch."), rows


def median_and_range(ms: list[float]) -> str:
    return f"{statistics.median(ms):.0f} ({min(ms):.0f} to {max(ms):.0f})"


def cpu_description() -> str:
    """Model, those of its instruction sets that matter here, and the threads in use."""
    info = Path("/proc/cpuinfo")
    fields = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line) if info.is_file() else {}
    values = {name.strip(): value.strip() for name, value in fields.items()}
    features = [feature for feature in CPU_FEATURES if feature in values.get("flags", "").split()]
    capability = torch.backends.cpu.get_cpu_capability()
    model = values.get("model name", "unknown CPU")
    return f"{model} ({', '.join(features) or 'no known instruction set'}; torch uses {capability}), " + (
        f"{torch.get_num_threads()} threads, torch {torch.__version__}"
    )


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cost_row(contestant: Contestant) -> list[str]:
    parameters = sum(parameter.numel() for parameter in contestant.network.parameters())
    per_voxel = flop(contestant) / contestant.labelled
    return [contestant.name, f"{parameters:,}", f"{per_voxel * SIDE**2 / 1e9:.2f}", f"{per_voxel / 1e3:.1f}"]


def report(repeats: int, write: Callable[[str], None] = print) -> None:
    """Write the table; with `repeats` above 0 it holds times."""
    runners = contestants()
    head = ["network", "parameters", f"GFLOP per {SIDE} x {SIDE} slice", "kFLOP per labelled voxel"]
    rows = [cost_row(runner) for runner in runners]
    if repeats > 0:
        for precision, times in timings(runners, repeats):
            head.append(f"ms per slice, {precision}")
            for row, ms in zip(rows, times):
                row.append(median_and_range(ms))
    write(table(head, rows))
    write("")
    write("A voxel in nnU-Net's patches is labelled once here; windows that overlap by half label it 2^3 = 8 times.")
    if repeats > 0:
        write(
            f"Eager, channels last, median (least to most) of {repeats} interleaved repeats on {cpu_description()}. "
            f"DynUNet was timed on one {TIMED_PATCH}^3 patch and scaled by voxels to a slice."
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--time", action="store_true", help="also measure eager ms per slice (minutes)")
    parser.add_argument("--repeats", type=int, default=7, help="timed repeats, default 7")
    parser.add_argument("--threads", type=int, help="threads of torch, default: its own choice")
    options = parser.parse_args()
    if options.repeats < 1:
        parser.error(f"--repeats must be at least 1, got {options.repeats}")
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    keep_freed_memory()  # as inference and training do
    report(options.repeats if options.time else 0)


if __name__ == "__main__":
    main()
