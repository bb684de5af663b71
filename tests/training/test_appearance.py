"""Changes of appearance: worked answers on small stacks, and what must never change."""

from typing import Any

import pytest
import torch
from monai.transforms import Compose

from custom_networks.training import (
    RandCTNoised,
    RandNarrowWindowd,
    RandOrganShiftd,
    RandSharpnessd,
    RandThickSlicesd,
)

ALL: list[Any] = [RandCTNoised, RandNarrowWindowd, RandOrganShiftd, RandSharpnessd, RandThickSlicesd]


def stack(height: int = 8, width: int = 8, depth: int = 3) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    label = torch.zeros(1, height, width, depth, dtype=torch.uint8)
    label[:, 2:6, 2:6] = 1
    return {"image": torch.rand(1, height, width, depth, generator=generator), "label": label}


@pytest.mark.parametrize("kind", ALL)
def test_a_change_is_the_same_for_the_same_seed_leaves_the_input_alone_and_touches_the_image_only(kind: Any) -> None:
    data = stack()
    before = data["image"].clone()
    first, again = (Compose([kind("image", prob=1.0)]).set_random_state(7)(data) for _ in range(2))
    assert torch.equal(first["image"], again["image"]) and first["image"].shape == before.shape
    assert not torch.equal(first["image"], before)
    assert torch.equal(data["image"], before) and first["label"] is data["label"]


@pytest.mark.parametrize("kind", ALL)
def test_nothing_changes_with_a_probability_of_zero(kind: Any) -> None:
    data = stack()
    assert torch.equal(kind("image", prob=0.0)(data)["image"], data["image"])


@pytest.mark.parametrize("grain", [0.0, 0.2, 1 / 3])
def test_noise_has_the_standard_deviation_asked_for_and_the_grain_ties_neighbours(grain: float) -> None:
    noise = RandCTNoised("image", prob=1.0, std=(20.0, 20.0), grain=(grain, grain)).set_random_state(0)
    image = 400 * noise({"image": torch.zeros(1, 128, 128, 8)})["image"]
    assert float(image.std()) == pytest.approx(20.0, rel=0.03)
    tied = float((image[:, 1:] * image[:, :-1]).mean() / image.var())
    # weights (g, 1 - 2g, g): neighbours share 2 g (1 - 2g) of a variance of (1 - 2g)^2 + 2 g^2
    assert tied == pytest.approx(2 * grain * (1 - 2 * grain) / ((1 - 2 * grain) ** 2 + 2 * grain**2), abs=0.03)
    assert float((image[..., 1:] * image[..., :-1]).mean() / image.var()) == pytest.approx(0.0, abs=0.03)


def test_a_narrow_window_clips_and_rounds_in_hu() -> None:
    narrow = RandNarrowWindowd("image", prob=1.0, low=(-50.0, -50.0), high=(200.0, 200.0), step=(10.0, 10.0))
    hu = torch.tensor([-160.0, -50.0, 14.0, 16.0, 240.0]).view(1, 1, 1, 5)
    found = 400 * narrow({"image": (hu + 160) / 400})["image"] - 160
    assert found.flatten().tolist() == pytest.approx([-50.0, -50.0, 10.0, 20.0, 200.0], abs=1e-3)


def test_the_organ_alone_is_shifted_and_its_edge_by_a_part() -> None:
    data = stack(9, 9, 1)
    data["label"] = torch.zeros(1, 9, 9, 1, dtype=torch.uint8)
    data["label"][:, 3:, :] = 2
    shifted = RandOrganShiftd("image", prob=1.0, shift=(40.0, 40.0))(data)["image"]
    change = 400 * (shifted - data["image"])[0, :, 4, 0]
    assert change.tolist() == pytest.approx([0, 0, 40 / 3, 80 / 3, 40, 40, 40, 40, 40], abs=1e-2)


def test_sharpness_mixes_neighbours_in_plane_and_keeps_the_mean() -> None:
    image = torch.zeros(1, 5, 5, 1)
    image[0, 2, 2] = 1.0
    found = RandSharpnessd("image", prob=1.0, share=(0.25, 0.25))({"image": image})["image"][0, 1:4, 1:4, 0]
    expected = torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]) / 16
    assert torch.allclose(found, expected)


def test_a_thick_slice_takes_a_share_of_its_neighbours_and_ends_are_their_own() -> None:
    image = torch.tensor([1.0, 0.0, 0.0, 0.0]).view(1, 1, 1, 4)
    found = RandThickSlicesd("image", prob=1.0, share=(0.25, 0.25))({"image": image})["image"]
    assert found.flatten().tolist() == pytest.approx([0.75, 0.25, 0.0, 0.0])
