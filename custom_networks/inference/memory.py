"""Let glibc's allocator keep the large blocks that layers allocate and free, instead of returning them to the system.

By default, glibc requests every block above 32 MB from the system and returns it when it is freed. The feature map of a
layer is such a block, and touching fresh pages takes longer than computing it: half of a training step (measured in
docs/decisions/0013-graphs-without-weights.md).
"""

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
LARGE = 2**31 - 1  # the largest value that mallopt accepts
# The largest values that glibc sets by itself.
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
    """Make the allocator keep freed blocks for the rest of this process.

    Training calls it, since each step needs the blocks again. Results do not change. It has an effect only with glibc;
    on GPUs, PyTorch's own allocator already works like this.
    """
    global _kept
    _kept = True
    _set_thresholds(LARGE, LARGE)


def manage_this_process() -> None:
    """Allow `reuse_freed_memory` to change the allocator; for processes that run nothing but this package.

    Eager layers then need a third of the processor time. In other processes (a notebook, MONAI Label's server) the
    allocator is not changed.
    """
    global _managed
    _managed = True


@contextmanager
def reuse_freed_memory() -> Iterator[None]:
    """A context in which freed blocks are kept for the next layer; at its end they are returned to the system.

    It does nothing unless `manage_this_process` was called. After `keep_freed_memory`, blocks are not returned.
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
