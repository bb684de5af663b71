"""A coarse answer for speed: some of the interleaved sub-volumes are answered, the slices between are interpolated."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor


def chosen_offsets(step: int, wanted: int | None) -> set[int]:
    """First slices of the sub-volumes that are answered of `step` ones, evenly spread; all of them for None."""
    count = step if wanted is None else min(wanted, step)
    return {i * step // count for i in range(count)}


def fill_between(answer: Tensor, answered: Sequence[int]) -> None:
    """Fill the slices of (..., D) that are not among the `answered` ones, which are sorted, in place.

    Between two that are answered, linearly; before the first and behind the last, as these. Integers are rounded.
    """
    for before, behind in pairwise(answered):
        for slice_ in range(before + 1, behind):
            share = (slice_ - before) / (behind - before)
            between = answer[..., before].float().lerp(answer[..., behind].float(), share)
            answer[..., slice_] = between if answer.is_floating_point() else between.round_()
    answer[..., : answered[0]] = answer[..., answered[0], None]
    answer[..., answered[-1] + 1 :] = answer[..., answered[-1], None]
