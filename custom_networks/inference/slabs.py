"""How a volume is cut into slabs: equal ones, small enough for a memory budget, the same for the same shape."""

import math
from collections.abc import Iterator
from itertools import pairwise

# Bytes by which the process grows for each pixel of each slice that goes into the network, halo included, in float32.
# Measured with slabs of 4 + 8 to 16 + 8 slices of 288 x 288 and 416 x 416 pixels: OpenVINO 308 to 312; PyTorch 510 to
# 560, and up to 710 where freed memory is kept meanwhile.
BYTES_PER_PIXEL = {"torch": 700, "openvino": 312}


def most_slices(pixels: int, halo: int, runtime: str, slab: int, memory_mb: float) -> int:
    """Slices that a slab of so many pixels a slice may answer: at most `slab`, and as many as the budget holds.

    Never fewer than the halo on one side, though, for then the halo would cost more than two thirds of the time.
    """
    within = int(memory_mb * 2**20 / (BYTES_PER_PIXEL[runtime] * pixels)) - 2 * halo
    return min(slab, max(1, halo, within))


def cut(depth: int, step: int, most: int) -> Iterator[range]:
    """Slices of each slab: every `step`-th slice, until all sub-volumes are answered.

    A sub-volume of `n` slices becomes as few slabs of at most `most` slices as can be, whose sizes differ by one at
    most: 65 slices are 5 x 13, not 4 x 16 and one.
    """
    for offset in range(min(step, depth)):
        own = range(offset, depth, step)
        pieces = math.ceil(len(own) / most)
        size, larger = divmod(len(own), pieces)
        starts = [i * size + min(i, larger) for i in range(pieces + 1)]
        yield from (own[start:end] for start, end in pairwise(starts))
