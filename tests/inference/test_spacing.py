"""The step between the slices of a stack."""

from fractions import Fraction
from math import inf, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_networks.inference import slice_step


@pytest.mark.parametrize(
    "spacing, step",
    [(0.7, 4), (1.0, 3), (1.25, 2), (1.6, 2), (1.999, 2), (2.0, 2), (2.001, 2), (2.5, 1), (3.0, 1), (5.0, 1)],
)
def test_the_step_makes_the_distance_closest_to_three_millimetres(spacing: float, step: int) -> None:
    assert slice_step(spacing) == step


def test_spacing_is_rounded_to_a_twentieth_of_a_millimetre() -> None:
    # 2.0 mm lies midway (2 or 4 mm are 1 mm off) and ties go up; 2.05 mm is nearer to 3 than 4.1 mm
    assert [slice_step(spacing) for spacing in (1.98, 2.02, 2.03, 2.05)] == [2, 2, 1, 1]


def test_target_is_an_argument() -> None:
    assert [slice_step(1.0, target) for target in (1.0, 1.4, 1.5, 5.0)] == [1, 1, 2, 5]


def test_slices_thinner_than_the_rounding_still_have_a_step() -> None:
    assert slice_step(0.01) == slice_step(0.05) == 60


@settings(max_examples=50, deadline=None)
@given(twentieths=st.integers(1, 200), off=st.sampled_from([-0.02, 0.0, 0.02]))
def test_the_step_is_the_best_of_all_steps_and_ties_go_to_the_larger_one(twentieths: int, off: float) -> None:
    spacing = Fraction(twentieths, 20)
    best = min(range(61, 0, -1), key=lambda step: abs(step * spacing - 3))  # min keeps the first, the larger
    assert slice_step(float(spacing) + off) == best


@pytest.mark.parametrize("spacing, target", [(0.0, 3.0), (-1.0, 3.0), (nan, 3.0), (inf, 3.0), (1.0, 0.0), (1.0, inf)])
def test_distances_that_are_not_positive_are_refused(spacing: float, target: float) -> None:
    with pytest.raises(ValueError, match="positive and finite, got"):
        slice_step(spacing, target)
