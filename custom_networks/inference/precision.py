"""Number format, chosen by a short self-test of the machine at hand.

Machines differ: with bf16 instructions bfloat16 may be faster than float32, without them it is emulated and several
times slower (docs/performance.md). The margins are wide, so that noise does not change the choice from run to run.
"""

import functools
import logging
import time

import torch
from torch import nn

PRECISIONS = ("auto", "float32", "bfloat16")
WORTHWHILE = 1.2  # how many times faster an option must be before it replaces the plain one
logger = logging.getLogger(__name__)


def _seconds(layers: nn.Module, image: torch.Tensor, dtype: torch.dtype | None, repeats: int = 4) -> float:
    """Best of a few timed runs of `layers` in s, after one that warms up."""
    times = []
    for _ in range(repeats + 1):
        if image.is_cuda:
            torch.cuda.synchronize(image.device)
        start = time.perf_counter()
        with torch.inference_mode(), torch.autocast(image.device.type, dtype=dtype, enabled=dtype is not None):
            layers(image)
        if image.is_cuda:
            torch.cuda.synchronize(image.device)
        times.append(time.perf_counter() - start)
    return min(times[1:])


def _sample(device: torch.device) -> tuple[nn.Module, torch.Tensor]:
    """A depthwise and a pointwise convolution as the network has them, and an input for them, channels last."""
    layers = nn.Sequential(nn.Conv2d(48, 48, 3, padding=1, groups=48), nn.Conv2d(48, 96, 1))
    image = torch.randn(8, 48, 80, 80, device=device).contiguous(memory_format=torch.channels_last)
    return layers.to(device).eval(), image


@functools.lru_cache(maxsize=None)
def bfloat16_pays(device: torch.device) -> bool:
    """Whether bfloat16 autocast is clearly faster than float32 on this device; measured once a process."""
    layers, image = _sample(device)
    full, half = _seconds(layers, image, None), _seconds(layers, image, torch.bfloat16)
    logger.info("Precision on %s: bfloat16 %.1f ms, float32 %.1f ms", device, 1e3 * half, 1e3 * full)
    return half * WORTHWHILE < full


def autocast_dtype(device: torch.device, precision: str) -> torch.dtype | None:
    """The dtype to autocast to on `device`, or None for plain float32.

    Raises:
        ValueError: if `precision` is none of `PRECISIONS`.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {PRECISIONS}, got {precision!r}")
    wanted = precision == "bfloat16" or (precision == "auto" and bfloat16_pays(device))
    return torch.bfloat16 if wanted else None
