"""The curve increases within its slopes and does not change air; the organ is shifted as a whole."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_networks.errors import UsageError
from custom_networks.training.augmentation import RandTissueShiftd

HU = 1 / 400  # of the window [-160, 240]


def ramp() -> torch.Tensor:
    """Every HU from -160 to 240."""
    return torch.linspace(0, 1, 401).reshape(1, 1, -1, 1)


def bent(seed: int, **more: Any) -> np.ndarray:
    """The values of a random curve for each HU from -160 to 240."""
    transform = RandTissueShiftd("image", None, 1.0, **more).set_random_state(seed)
    return transform({"image": ramp()})["image"].flatten().numpy().astype(float) / HU - 160


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 9999))
def test_the_curve_increases_within_its_slopes_between_knots_and_keeps_air(seed: int) -> None:
    curve = bent(seed)
    assert curve[0] == pytest.approx(-160, abs=0.1)
    assert (np.diff(curve) >= 0).all()
    at_knots = curve[np.array([-160, -100, 0, 60, 120, 180, 240]) + 160]
    slopes = np.diff(at_knots) / [60, 100, 60, 60, 60, 60]
    assert slopes.min() >= 0.59 and slopes.max() <= 1.61


def test_each_knot_is_moved_by_up_to_its_shift_independently_of_others() -> None:
    curves = np.array([bent(seed) for seed in range(200)])
    moved = curves - np.arange(-160, 241)
    assert np.abs(moved[:, -100 + 160]).max() <= 10.2
    liver, vessels = moved[:, 110 + 160], moved[:, 180 + 160]
    assert liver.min() < -25 and liver.max() > 25
    assert (vessels - liver).min() < -15 and (vessels - liver).max() > 15


def test_curve_passes_through_its_points_worked_by_hand() -> None:
    # no shift, but a least slope of 1.5 upwards from the first knot: y = -160 + 1.5 * (x + 160)
    curve = bent(0, knots=[-160, 0, 240], shifts=[0, 0, 0], slopes=(1.5, 1.6))
    assert curve[[160, 260, 400]] == pytest.approx([80, 230, 440], abs=0.2)


def test_without_shifts_the_image_changes_by_at_most_a_tenth_of_a_hu() -> None:
    assert bent(0, shifts=[0.0] * 7) == pytest.approx(np.arange(-160, 241), abs=0.06)


def shifted(label: torch.Tensor, **more: Any) -> torch.Tensor:
    """Shift in HU of each voxel of a uniform image."""
    image = torch.full(label.shape, 0.5)
    transform = RandTissueShiftd("image", "label", 1.0, shifts=[0.0] * 7, organ_shift=(-40, -40), **more)
    return (transform({"image": image, "label": label})["image"] - image) / HU


def test_organ_and_lesions_are_shifted_together_with_a_smooth_edge() -> None:
    label = torch.zeros(1, 1, 40, 2)
    label[0, 0, 20:, 0] = 1
    label[0, 0, 30:, 0] = 2  # tumor: no step of brightness at its edge
    shift = shifted(label, organ_prob=1.0, edge=1.5)[0, 0]
    assert shift[25:, 0] == pytest.approx(torch.full((15,), -40.0), abs=0.2)
    assert shift[:15, 0] == pytest.approx(torch.zeros(15), abs=0.2)
    assert float(shift[19, 0] + shift[20, 0]) == pytest.approx(-40, abs=0.2)  # symmetric about the edge
    assert float(shift[:, 0].diff().abs().max()) < 12  # 40 HU over about four pixels
    assert shift[:, 1] == pytest.approx(torch.zeros(40), abs=0.1)  # a slice without organ


def test_the_organ_is_not_shifted_without_a_label_or_with_probability_zero() -> None:
    label = torch.ones(1, 4, 4, 2)
    assert float(shifted(label, organ_prob=0.0).abs().max()) < 0.1


def test_different_numbers_of_knots_and_shifts_are_refused() -> None:
    with pytest.raises(UsageError, match="7 knots and 2 shifts"):
        RandTissueShiftd("image", shifts=[1.0, 2.0])
