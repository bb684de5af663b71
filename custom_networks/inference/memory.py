"""Memory that was freed, but not given back."""

import ctypes
import sys


def return_freed_memory() -> None:
    """Give freed blocks back to the system where the C library keeps them (glibc: all blocks up to 32 MB).

    The layers of a slab leave hundreds of MB behind, which post-processing could not use.
    """
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # not in other C libraries than glibc
        if trim is not None:
            trim(0)
