"""Slabs of equal size within a memory budget, with worked examples."""

import pytest

from custom_networks.inference.slabs import cut, most_slices


def sizes(depth: int, step: int, most: int) -> list[int]:
    return [len(slices) for slices in cut(depth, step, most)]


@pytest.mark.parametrize(
    "depth, step, most, expected",
    [
        (65, 1, 16, [13] * 5),
        (130, 2, 16, [13] * 10),
        (131, 2, 16, [14, 13, 13, 13, 13] + [13] * 5),
        (16, 1, 16, [16]),
        (17, 1, 16, [9, 8]),
        (15, 3, 3, [3, 2] * 3),
        (2, 3, 16, [1, 1]),
        (5, 1, 1, [1] * 5),
    ],
)
def test_slabs_of_a_sub_volume_differ_by_one_slice_at_most(
    depth: int, step: int, most: int, expected: list[int]
) -> None:
    assert sizes(depth, step, most) == expected


@pytest.mark.parametrize("depth, step, most", [(1, 1, 16), (37, 1, 16), (100, 3, 7), (50, 4, 16)])
def test_every_slice_is_in_one_slab_and_those_of_a_slab_are_a_step_apart(depth: int, step: int, most: int) -> None:
    slabs = list(cut(depth, step, most))
    assert sorted(index for slices in slabs for index in slices) == list(range(depth))
    assert all(slices.step == step for slices in slabs if len(slices) > 1)


@pytest.mark.parametrize(
    "runtime, expected", [("openvino", {288: 16, 320: 16, 416: 9}), ("torch", {288: 8, 320: 5, 416: 4})]
)
def test_slabs_of_large_slices_are_cut_to_the_budget(runtime: str, expected: dict[int, int]) -> None:
    """900 MB are enough for 17.4 slices of 416 x 416 pixels at 312 bytes, 8 of which are halo."""
    assert {side: most_slices(side * side, 4, runtime, 16, 900.0) for side in expected} == expected


def test_the_budget_and_the_largest_slab_are_separate_limits() -> None:
    assert most_slices(416 * 416, 4, "openvino", 16, 1e6) == 16
    assert most_slices(288 * 288, 4, "openvino", 5, 900.0) == 5
    assert most_slices(2048 * 2048, 4, "openvino", 16, 900.0) == 4  # the halo, the least there is
    assert most_slices(2048 * 2048, 0, "openvino", 16, 90.0) == 1
    assert most_slices(2048 * 2048, 4, "openvino", 2, 900.0) == 2
