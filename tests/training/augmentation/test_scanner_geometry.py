"""Thick slices, scan ends and fields of view, on stacks whose values encode voxel positions."""

import math

import pytest
import torch

from custom_networks.training.augmentation import RandFieldOfViewd, RandScanEndsd, RandThickSlicesd


def numbered(depth: int) -> torch.Tensor:
    """A stack whose slice i has the value i everywhere, `(1, 2, 2, depth)`."""
    return torch.arange(depth, dtype=torch.float32).expand(1, 2, 2, depth)


def test_slices_are_averaged_with_their_neighbours_and_ends_are_repeated() -> None:
    image = torch.tensor([0.0, 0, 1, 0, 8]).reshape(1, 1, 1, 5)
    thick = RandThickSlicesd("image", 1.0, weight=(0.5, 0.5))({"image": image})["image"]
    # (1/4, 1/2, 1/4): 0, 1/4, 1/2, 1/4 + 8/4, 8/2 + 8/4 (the last slice is its own neighbour)
    assert thick.flatten().tolist() == pytest.approx([0, 0.25, 0.5, 2.25, 6])


def test_weight_one_is_the_mean_of_three_slices_and_uniform_stacks_do_not_change() -> None:
    thick = RandThickSlicesd("image", 1.0, weight=(1, 1))({"image": numbered(5)})["image"]
    assert thick[0, 1, 1].tolist() == pytest.approx([1 / 3, 1, 2, 3, 11 / 3])


def test_a_single_slice_does_not_change() -> None:
    image = torch.rand(1, 3, 3, 1)
    assert torch.allclose(RandThickSlicesd("image", 1.0)({"image": image})["image"], image)


def test_one_end_of_the_scan_is_repeated_by_up_to_the_given_number_of_slices() -> None:
    transform = RandScanEndsd("image", 1.0, most=2).set_random_state(0)
    found = {tuple(transform({"image": numbered(6)})["image"][0, 0, 0].int().tolist()) for _ in range(60)}
    assert found == {(1, 1, 2, 3, 4, 5), (2, 2, 2, 3, 4, 5), (0, 1, 2, 3, 4, 4), (0, 1, 2, 3, 3, 3)}


def test_the_circle_masks_image_and_label_alike_although_their_depths_differ() -> None:
    data = {"image": torch.ones(1, 21, 31, 4), "label": torch.full((1, 21, 31, 2), 2, dtype=torch.uint8)}
    transform = RandFieldOfViewd(["image", "label"], 1.0, distance=(5, 5), radius=(10, 10)).set_random_state(0)
    changed = transform(data)
    inside = changed["image"][0, :, :, 0] == 1
    assert changed["label"].dtype == torch.uint8
    for i in range(4):
        assert torch.equal(changed["image"][0, ..., i] == 1, inside)
    assert all(torch.equal(changed["label"][0, ..., i] == 2, inside) for i in range(2))
    assert 0 < int(inside.sum()) < inside.numel()


@pytest.mark.parametrize("seed", range(5))
def test_the_circle_has_the_given_radius_and_distance_from_the_centre(seed: int) -> None:
    data = {"image": torch.ones(1, 201, 201, 1)}
    transform = RandFieldOfViewd("image", 1.0, distance=(20, 20), radius=(40, 40)).set_random_state(seed)
    rows, columns = transform(data)["image"][0, :, :, 0].nonzero().float().T
    assert len(rows) == pytest.approx(math.pi * 40**2, rel=0.01)
    middle = (float(rows.mean()) - 100, float(columns.mean()) - 100)
    assert math.hypot(*middle) == pytest.approx(20, abs=0.1)  # 40 - 20: the edge is 20 from the middle on one side
