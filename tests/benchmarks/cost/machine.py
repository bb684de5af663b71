"""Name and peak rates of the machine, and memory of this process."""

import ctypes
import gc
import os
import platform
import re
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch

FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")
GEMM_SIDE = 2048
COPY_BYTES = 256 * 2**20
LARGE = 2**31 - 1  # the greatest value that mallopt takes
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def processor() -> dict[str, Any]:
    """Model, relevant instruction sets, and the number of cores that this process may use."""
    info = Path("/proc/cpuinfo")
    lines = [line.split(":", 1) for line in info.read_text().splitlines() if ":" in line] if info.is_file() else []
    values = {name.strip(): value.strip() for name, value in lines}
    flags = values.get("flags", "").split()
    return {
        "name": values.get("model name") or platform.processor() or platform.machine(),
        "features": [feature for feature in FEATURES if feature in flags],
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }


def slug(machine: dict[str, Any]) -> str:
    """A file name for a processor: its model and best instruction set, since models of the same name can differ."""
    name = f"{machine['name']} {(machine['features'] or ['other'])[-1]}"
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def versions() -> dict[str, str]:
    """Versions of the libraries that compute."""
    found = {"python": platform.python_version(), "torch": torch.__version__}
    try:
        import openvino
    except ImportError:
        return found
    return {**found, "openvino": openvino.__version__.partition("-")[0]}


def openvino_formats() -> tuple[str, ...]:
    """Number formats in which OpenVINO computes on this CPU; empty if it is not installed."""
    try:
        from openvino import Core
    except ImportError:
        return ()
    listed = Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ("float32", *(["bfloat16"] if "BF16" in listed else []))


def torch_formats() -> tuple[str, ...]:
    """Number formats for which this CPU has instructions; emulated bfloat16 would take minutes."""
    has = any(feature in processor()["features"] for feature in ("avx512_bf16", "amx_bf16"))
    return ("float32", "bfloat16") if has else ("float32",)


def gemm_gflops(dtype: torch.dtype) -> float:
    """GFLOP/s of one product of square matrices."""
    side = GEMM_SIDE
    a, b = (torch.ones(side, side, dtype=dtype) for _ in range(2))
    torch.mm(a, b)
    start = time.perf_counter()
    torch.mm(a, b)
    return 2 * side**3 / (time.perf_counter() - start) / 1e9


def copy_gb_s() -> float:
    """GB/s of copying a block of memory, counting bytes read and bytes written."""
    source, target = (torch.zeros(COPY_BYTES // 4) for _ in range(2))
    start = time.perf_counter()
    target.copy_(source)
    return 2 * COPY_BYTES / (time.perf_counter() - start) / 1e9


def keep_freed_memory() -> None:
    """Let glibc keep large blocks for the next layer; otherwise fresh pages cost eager PyTorch much time."""
    if sys.platform.startswith("linux") and hasattr(ctypes.CDLL(None), "mallopt"):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE)
        ctypes.CDLL(None).mallopt(M_TRIM_THRESHOLD, LARGE)


def give_memory_back() -> None:
    """Return unused memory of Python and the C library to the system, because other rows' processes need it."""
    gc.collect()
    if sys.platform.startswith("linux") and hasattr(ctypes.CDLL(None), "malloc_trim"):
        ctypes.CDLL(None).malloc_trim(0)


def peak_mb() -> float:
    """Peak resident memory of this process, MB (10^6 bytes)."""
    # Not ru_maxrss where it can be helped: a new process begins there with the memory of the one that started it.
    if STATUS.is_file():
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def forget_peak() -> None:
    """Reset the peak to the current memory if the system can, so that converting a network does not count."""
    give_memory_back()
    try:
        CLEAR.write_text("5")
    except OSError:  # another system, or not allowed: the peak includes the preparation then
        return
