"""In-plane deformation: worked answers for crop, turn, scale and the outside, and its bounds."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_networks.training import RandInPlaneDeformd
from custom_networks.training.deform import sample_in_plane

SQUARE = torch.arange(9.0).view(1, 3, 3, 1)


def places(height: int, width: int) -> torch.Tensor:
    rows, columns = torch.arange(height) - (height - 1) / 2, torch.arange(width) - (width - 1) / 2
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1)


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_undeformed_places_crop_the_middle(mode: str) -> None:
    stack = torch.arange(5 * 7 * 2.0).view(1, 5, 7, 2)
    assert torch.equal(sample_in_plane(stack, places(3, 3), mode), stack[:, 1:4, 2:5])


def test_a_quarter_turn_of_the_places_turns_the_picture() -> None:
    turned = places(3, 3) @ torch.tensor([[0.0, -1.0], [1.0, 0.0]]).T  # (row, column) comes from (-column, row)
    assert torch.equal(sample_in_plane(SQUARE, turned, "nearest")[0, ..., 0], torch.rot90(SQUARE[0, ..., 0], -1))


def test_places_half_as_far_apart_enlarge_twice() -> None:
    found = sample_in_plane(SQUARE, 0.5 * places(3, 3), "bilinear")[0, ..., 0]
    assert torch.allclose(found, torch.tensor([[2.0, 2.5, 3.0], [3.5, 4.0, 4.5], [5.0, 5.5, 6.0]]))


def test_outside_images_repeat_their_border_and_labels_are_background() -> None:
    away = places(1, 1) + torch.tensor([0.0, 5.0])
    assert sample_in_plane(SQUARE, away, "bilinear").item() == 5.0
    assert sample_in_plane(SQUARE.to(torch.uint8), away, "nearest").item() == 0


def test_image_and_label_move_together_and_labels_stay_labels() -> None:
    label = torch.zeros(1, 64, 64, 3, dtype=torch.uint8)
    label[:, 20:44, 16:40] = 2
    data: dict[str, Any] = {"image": label.float(), "label": label}
    deform = RandInPlaneDeformd(["image", "label"], (48, 48), prob=1.0, elastic_prob=1.0).set_random_state(3)
    for _ in range(5):
        found = deform(data)
        assert found["label"].dtype == torch.uint8 and set(found["label"].unique().tolist()) <= {0, 2}
        assert found["image"].shape == found["label"].shape == (1, 48, 48, 3)
        apart = (found["image"] > 1) != (found["label"] == 2)  # corners: bilinear rounds them, nearest does not
        assert apart.float().mean() < 0.005
    assert torch.equal(data["label"], label)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_areas_change_within_scale_and_stretch(seed: int) -> None:
    label = torch.zeros(1, 96, 96, 1, dtype=torch.uint8)
    label[:, 38:58, 38:58] = 1
    deform = RandInPlaneDeformd("label", (96, 96), ["nearest"], 1.0, elastic_prob=0.0).set_random_state(seed)
    area = int(deform({"label": label})["label"].sum()) / 400
    assert 0.9 / 1.25**2 / 1.0 <= area <= 1.1 / (0.75**2 * 0.99)


def test_the_same_seed_gives_the_same_deformation() -> None:
    data = {"image": torch.rand(1, 32, 32, 2)}
    first, again = (
        RandInPlaneDeformd("image", (16, 16), ["bilinear"]).set_random_state(5)(data)["image"] for _ in range(2)
    )
    assert torch.equal(first, again)
