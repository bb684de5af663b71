"""A coarse answer for speed: only some interleaved sub-volumes are answered, and the other slices interpolated."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor


def chosen_offsets(step: int, wanted: int | None) -> set[int]:
    """The first slices of the `wanted` sub-volumes to answer out of `step`, evenly spread; all of them for None."""
    count = step if wanted is None else min(wanted, step)
    return {i * step // count for i in range(count)}


def fill_between(answer: Tensor, answered: Sequence[int]) -> None:
    """Fill the slices of (..., D) that are not in the sorted list `answered`, in place.

    Slices between two answered ones are interpolated linearly (integers are rounded); those before the first and after
    the last one are copies of these.
    """
    for before, behind in pairwise(answered):
        for slice_ in range(before + 1, behind):
            share = (slice_ - before) / (behind - before)
            between = answer[..., before].float().lerp(answer[..., behind].float(), share)
            answer[..., slice_] = between if answer.is_floating_point() else between.round_()
    answer[..., : answered[0]] = answer[..., answered[0], None]
    answer[..., answered[-1] + 1 :] = answer[..., answered[-1], None]
