"""Training data for the segments' network: truth on the coarse grid, moved borders, and stacks."""

from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from custom_networks.errors import InputError
from custom_networks.training.data import LiverBoxd, RandLiverBorderd, RandSegmentStackd
from custom_networks.transforms import CoarseCopyd
from custom_networks.transforms.segments import segment_input

SHAPE = (96, 80, 60)
LIVER = (slice(24, 72), slice(24, 56), slice(12, 48))


def case(liver: bool = True) -> dict[str, Any]:
    """A liver of whole cells of 3 x 3 x 6 mm, in voxels of 1.5 x 1.5 x 2 mm; its lowest slices have no segment."""
    image, label, segments = (torch.zeros((1, *SHAPE), dtype=t) for t in (torch.float32, torch.uint8, torch.uint8))
    if liver:
        image[0][LIVER], label[0][LIVER] = 0.5, 1
        segments[0][LIVER] = 8
        segments[0, 48:72, 24:56, 12:48], segments[0, 24:72, 24:56, 12:18] = 2, 0
    affine = torch.diag(torch.tensor([1.5, 1.5, 2.0, 1.0], dtype=torch.float64))
    tensors = {"image": image, "label": label, "segments": segments}
    return {name: MetaTensor(values, affine=affine) for name, values in tensors.items()}


def box() -> dict[str, Any]:
    """The case on its coarse grid."""
    return LiverBoxd()(CoarseCopyd("image")(case()))


def test_the_truth_is_on_the_coarse_grid_in_the_livers_box() -> None:
    found = box()
    assert {name: tuple(item.shape) for name, item in found.items()} == dict.fromkeys(found, (1, 32, 24, 16))
    liver, segments = found["liver"][0], found["segments"][0]
    inside = (slice(4, 28), slice(4, 20), slice(2, 14))
    assert torch.allclose(liver[inside], torch.ones(24, 16, 12)) and liver.sum() == pytest.approx(24 * 16 * 12)
    assert (segments[4:16, 4:20, 4:14] == 8).all() and (segments[16:28, 4:20, 4:14] == 2).all()
    assert (segments[:, :, :4] == 0).all() and (segments[:4] == 0).all()


def test_a_case_without_a_liver_is_refused() -> None:
    with pytest.raises(InputError, match="must have a liver"):
        LiverBoxd()(CoarseCopyd("image")(case(liver=False)))


def test_the_border_moves_a_little_and_the_inside_does_not_change() -> None:
    liver = box()["liver"]
    border = RandLiverBorderd("liver", prob=1.0)
    border.set_random_state(0)
    moved = [border({"liver": liver})["liver"] for _ in range(8)]
    deep, far = liver[:, 8:24, 8:16, 5:11], (slice(None), slice(0, 2))
    assert deep.min() == 1
    for mask in moved:
        assert 0 <= mask.min() and mask.max() <= 1 and mask.shape == liver.shape
        assert (mask[:, 8:24, 8:16, 5:11] > 0.5).all() and (mask[far] < 0.5).all()
        assert 0.7 < mask.sum() / liver.sum() < 1.3
    assert len({float(mask.sum()) for mask in moved}) == 8


def test_a_stack_equals_the_input_in_inference() -> None:
    found = box()
    seen = segment_input(found["image"][0], found["liver"][0])
    cut = RandSegmentStackd(("image", "liver", "segments"), size=(40, 24), slices=4, halo=2)
    cut.set_random_state(3)
    for _ in range(12):
        stack = cut(found)
        assert stack["image"].shape == (5, 40, 24, 8) and stack["label"].shape == (1, 40, 24, 4)
        places = stack["image"][4].amax((0, 1))  # where along the box its slices are
        middle = stack["image"][:, :, :, 3]
        matches = [z for z in range(16) if any(torch.equal(middle[:, c : c + 32], seen[..., z]) for c in range(9))]
        assert matches and (places.diff() >= -1e-6).all()


def test_slices_repeated_beyond_the_end_have_no_label() -> None:
    found = box()
    found["segments"] = torch.full_like(found["segments"], 3)
    cut = RandSegmentStackd(("image", "liver", "segments"), size=(32, 24), slices=16, halo=1)
    cut.set_random_state(0)
    counts = {int((cut(found)["label"] > 0).sum()) for _ in range(20)}
    assert max(counts) <= 32 * 24 * 16 and len(counts) > 1


def test_a_box_larger_than_the_frame_is_cropped() -> None:
    cut = RandSegmentStackd(("image", "liver", "segments"), size=(16, 16), slices=4, halo=1)
    cut.set_random_state(1)
    stack = cut(box())
    assert stack["image"].shape == (5, 16, 16, 6) and np.isfinite(stack["image"].numpy()).all()
