"""The number format of a forward pass, chosen by what the device supports, never by timing.

"float32" and "bfloat16" are used as requested. "auto" means:

| device | runtime | inference | training |
|---|---|---|---|
| CPU | PyTorch | float32, the reference | bfloat16 if it has AVX-512 bf16 or AMX instructions, else float32 |
| CPU | OpenVINO | bfloat16 if its OPTIMIZATION_CAPABILITIES list BF16, else float32 | - |
| GPU | PyTorch | bfloat16 if it supports it natively, else float32 | the same |
| others | PyTorch | float32 | float32 |

On processors without instructions for bfloat16, PyTorch emulates it, several times slower than float32, and OpenVINO
silently uses float32. Therefore OpenVINO is not used there if bfloat16 is requested.
"""

import logging
import platform
from collections.abc import Collection
from pathlib import Path

import torch

from custom_networks.errors import UsageError

logger = logging.getLogger(__name__)

PRECISIONS = ("auto", "float32", "bfloat16")
# Keys of `torch.cpu.get_capabilities()`: with any of these instructions, training in bfloat16 is faster.
BFLOAT16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16")


def chosen_precision(device: torch.device, precision: str, training: bool = False) -> str:
    """The precision in which PyTorch computes on `device`, "float32" or "bfloat16"; the same on every run.

    "auto" means bfloat16 on GPUs that support it natively and, in training, on processors with
    `BFLOAT16_INSTRUCTIONS`; everywhere else it means float32.

    Raises:
        ValueError: `precision` is not one of `PRECISIONS`.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {PRECISIONS}, got {precision!r}")
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bfloat16" if training and device.type == "cpu" and _cpu_has_bfloat16() else "float32"


def openvino_precision(precision: str, capabilities: Collection[str]) -> str | None:
    """The precision in which OpenVINO computes on a processor with these OPTIMIZATION_CAPABILITIES.

    Returns:
        "float32" or "bfloat16"; None if bfloat16 is requested but not supported.

    Raises:
        ValueError: `precision` is not one of `PRECISIONS`.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {PRECISIONS}, got {precision!r}")
    if precision == "bfloat16" and "BF16" not in capabilities:
        return None
    return "bfloat16" if precision != "float32" and "BF16" in capabilities else "float32"


def checked_precision(name: str) -> str:
    """Return `name` if it is one of `PRECISIONS`, else raise UsageError."""
    if name not in PRECISIONS:
        raise UsageError(f"The precision must be {', '.join(PRECISIONS[:-1])} or {PRECISIONS[-1]}, got {name!r}.")
    return name


def device_override(name: str) -> str:
    """The value of the id `device` in inference.json for a device name; UsageError if there is no such device."""
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"Unknown device {name!r}: use cpu, cuda or cuda:1.") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"No GPU is available for --device {name}: leave it out, or use cpu.")
    try:
        torch.zeros(1, device=device).cpu()
    except Exception:  # backends have no common error for a device that this machine does not have
        raise UsageError(f"No device {name!r} is available here: leave --device out, or use cpu.") from None
    return f"$torch.device({str(device)!r})"


def processor_name() -> str:
    """The processor's name and the instruction set that PyTorch uses on it, such as `Intel(R) Xeon(R) ..., AVX512`."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        logger.debug("no /proc/cpuinfo with a model name")
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"


def _cpu_has_bfloat16() -> bool:
    """Whether this processor has `BFLOAT16_INSTRUCTIONS`; False in older versions of PyTorch, which cannot tell."""
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name) for name in BFLOAT16_INSTRUCTIONS)


def autocast(device: torch.device, precision: str, training: bool = False) -> torch.autocast:
    """A context in which layers compute in the precision that `chosen_precision` returns."""
    wanted = chosen_precision(device, precision, training) == "bfloat16"
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted)
