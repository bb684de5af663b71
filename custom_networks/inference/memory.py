"""How the C library's allocator treats the large blocks that layers take and free.

glibc asks the system for every block above 32 MB anew and gives it back when it is freed. A feature map of one layer is
such a block, and filling fresh pages costs more than computing it: half of a training step (docs/performance.md).
"""

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
LARGE = 2**31 - 1  # the greatest value mallopt takes
# The greatest values that glibc reaches by itself.
MMAP_DEFAULT, TRIM_DEFAULT = 32 * 2**20, 64 * 2**20

_kept = _managed = False


@cache
def _glibc(name: str) -> Callable[..., int] | None:
    """A function of glibc's allocator; None on other systems and in other C libraries."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None


def _set_thresholds(mmap: int, trim: int) -> None:
    if mallopt := _glibc("mallopt"):
        mallopt(M_MMAP_THRESHOLD, mmap)
        mallopt(M_TRIM_THRESHOLD, trim)


def keep_freed_memory() -> None:
    """Keep freed blocks for the next layer, for the rest of this process: for training, which needs them in each step.

    Changes no result. Does nothing on GPUs, whose allocator does so by itself, and with other C libraries than glibc.
    """
    global _kept
    _kept = True
    _set_thresholds(LARGE, LARGE)


def manage_this_process() -> None:
    """Let inference by PyTorch keep freed blocks while it runs: for a process that belongs to this package alone.

    Eager layers need a third of the processor time then. In a process of somebody else (a notebook, MONAI Label's
    server) the allocator stays as it is.
    """
    global _managed
    _managed = True


@contextmanager
def reuse_freed_memory() -> Iterator[None]:
    """Keep freed blocks while layers run, then give them back, for post-processing needs the memory for itself.

    Only where `manage_this_process` was called.
    """
    if not _managed:
        yield
        return
    _set_thresholds(LARGE, LARGE)
    try:
        yield
    finally:
        if not _kept:
            _set_thresholds(MMAP_DEFAULT, TRIM_DEFAULT)
            if malloc_trim := _glibc("malloc_trim"):
                malloc_trim(0)
