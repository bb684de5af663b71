"""Cut a volume into slabs of about equal size that fit a memory budget, regardless of how much memory is free."""

import math
from collections.abc import Iterator
from itertools import pairwise

# Bytes by which the process grows for each pixel of the slices that enter the network, halo included, in float32.
# Measured with slabs of 4 + 8 to 16 + 8 slices of 288 x 288 and 416 x 416 pixels: OpenVINO 308 to 312; PyTorch 510 to
# 560, or up to 710 if freed memory is kept.
BYTES_PER_PIXEL = {"torch": 700, "openvino": 312}


def most_slices(pixels: int, halo: int, runtime: str, slab: int, memory_mb: float) -> int:
    """The largest number of slices per slab, without halo, that fits the memory budget and the limit `slab`.

    Unless `slab` is smaller, it is at least `halo`: in smaller slabs the halo takes more than two thirds of the time.

    Args:
        pixels: pixels per slice.
        halo: neighbouring slices on each side of a slab.
        runtime: a key of BYTES_PER_PIXEL.
        slab: upper limit, slices.
        memory_mb: memory budget by which the process may grow, MB.
    """
    within = int(memory_mb * 2**20 / (BYTES_PER_PIXEL[runtime] * pixels)) - 2 * halo
    return min(slab, max(1, halo, within))


def cut(depth: int, step: int, most: int) -> Iterator[range]:
    """Yield the slice numbers of each slab, which are `step` apart; together, the slabs contain all slices.

    Each sub-volume (every `step`-th slice) is cut into the smallest possible number of slabs of at most `most` slices,
    whose sizes differ by at most one; 65 slices become 5 x 13 instead of 4 x 16 and 1.
    """
    for offset in range(min(step, depth)):
        own = range(offset, depth, step)
        pieces = math.ceil(len(own) / most)
        size, larger = divmod(len(own), pieces)
        starts = [i * size + min(i, larger) for i in range(pieces + 1)]
        yield from (own[start:end] for start, end in pairwise(starts))
