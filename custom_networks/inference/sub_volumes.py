"""Trade accuracy for speed: run the network on some interleaved sub-volumes and interpolate the other slices."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor


def chosen_offsets(step: int, wanted: int | None) -> set[int]:
    """The index of the first slice of each sub-volume to run: `wanted` of `step` sub-volumes, spread evenly.

    If `wanted` is None or more than `step`, all are run.
    """
    count = step if wanted is None else min(wanted, step)
    return {i * step // count for i in range(count)}


def fill_between(answer: Tensor, answered: Sequence[int]) -> None:
    """Fill the slices of (..., D) that are not in the sorted list `answered`, in place.

    Slices between two listed ones are interpolated linearly (integers are rounded). Slices before the first listed one
    are copies of it, and so are slices after the last listed one.
    """
    for before, after in pairwise(answered):
        for slice_ in range(before + 1, after):
            share = (slice_ - before) / (after - before)
            between = answer[..., before].float().lerp(answer[..., after].float(), share)
            answer[..., slice_] = between if answer.is_floating_point() else between.round_()
    answer[..., : answered[0]] = answer[..., answered[0], None]
    answer[..., answered[-1] + 1 :] = answer[..., answered[-1], None]
