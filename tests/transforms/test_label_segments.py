"""Labelling segments: the coarse copy, the liver on its grid, the network's input, and the way back."""

from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from custom_networks.errors import BundleError, UsageError
from custom_networks.transforms import CoarseCopyd, LabelSegmentsd
from custom_networks.transforms.segments import cell_means, coarse_copy, likeliest, segment_input, share_of_cells

SHAPE, SPACING = (96, 80, 60), (1.25, 1.25, 2.0)
LIVER = (slice(20, 76), slice(16, 64), slice(10, 50))


def affine() -> torch.Tensor:
    """The affine of voxels of 1.25 x 1.25 x 2 mm, the first of which is at (-50, 20, 7) mm."""
    matrix = torch.diag(torch.tensor([*SPACING, 1.0], dtype=torch.float64))
    matrix[:3, 3] = torch.tensor([-50.0, 20.0, 7.0])
    return matrix


def scan() -> dict[str, Any]:
    """An image in the window [0, 1], brighter in the liver, and the liver's label map with a lesion."""
    image, labels = torch.full((1, *SHAPE), 0.2), torch.zeros((1, *SHAPE), dtype=torch.uint8)
    image[0][LIVER], labels[0][LIVER] = 0.6, 1
    labels[0, 40:44, 30:34, 20:24] = 2
    return {"image": MetaTensor(image, affine=affine()), "pred": MetaTensor(labels, affine=affine())}


def by_side(x: torch.Tensor) -> torch.Tensor:
    """A stand-in for the network: segment 8 in the half of the box with low first indices, 2 in the other half."""
    logits = torch.full((x.shape[0], 8, *x.shape[2:]), -20.0)
    logits[:, 7], logits[:, 1] = -20 * x[:, 2], 20 * x[:, 2]
    return logits


def test_the_coarse_copy_has_the_same_extent_and_mean() -> None:
    image = scan()["image"]
    coarse = coarse_copy(image, (3.0, 3.0, 6.0))
    assert coarse.shape == (1, 40, 33, 20) and coarse.mean() == pytest.approx(float(image.mean()), abs=1e-3)
    corners = torch.tensor([[-0.5, 39.5], [-0.5, 32.5], [-0.5, 19.5], [1, 1]], dtype=torch.float64)
    own = torch.tensor([[-0.5, 95.5], [-0.5, 79.5], [-0.5, 59.5], [1, 1]], dtype=torch.float64)
    assert torch.allclose(coarse.affine @ corners, image.affine @ own)


def test_thick_slices_contribute_to_cells_by_overlap() -> None:
    # Slices of 4 on cells of 6: the second cell covers half of the second slice and all of the third.
    weights = cell_means(3, 2, 1.5, 0.25)
    assert np.allclose(weights, [[2 / 3, 1 / 3, 0], [0, 1 / 3, 2 / 3]])
    assert np.allclose(cell_means(2, 2, 1.0, -1.0), [[0, 0], [1, 0]])  # the first cell lies outside


def test_the_liver_on_the_coarse_grid_keeps_its_volume_and_position() -> None:
    data = scan()
    coarse = coarse_copy(data["image"], (3.0, 3.0, 6.0))
    liver = share_of_cells(data["pred"][0].numpy() > 0, affine().numpy(), coarse.shape[1:], coarse.affine.numpy())
    voxel, cell = np.prod(SPACING), abs(float(np.linalg.det(coarse.affine[:3, :3])))
    assert liver.sum() * cell == pytest.approx(56 * 48 * 40 * voxel, rel=1e-4)
    middle = coarse.affine.numpy() @ [*(np.argwhere(liver) * liver[liver > 0][:, None]).sum(0) / liver.sum(), 1]
    assert np.allclose(middle[:3], affine().numpy()[:3] @ [47.5, 39.5, 29.5, 1], atol=1e-3)
    assert liver.max() == pytest.approx(1) and liver.min() >= 0


def test_the_network_gets_intensity_relative_to_the_liver_and_positions_in_its_box() -> None:
    image, liver = torch.full((11, 9, 5), 0.35), torch.zeros(11, 9, 5)
    image[2:9, 2:7, 1:4], liver[2:9, 2:7, 1:4] = 0.6, 1.0
    seen = segment_input(image, liver)
    assert seen.shape == (5, 11, 9, 5)
    assert seen[0, 5, 5, 2] == 0 and seen[0, 0, 0, 0] == -1 and torch.equal(seen[1], liver)
    for axis, half in ((0, 3), (1, 2), (2, 1)):
        places = (torch.arange(seen.shape[axis + 1]) - seen.shape[axis + 1] // 2) / half
        along = seen[axis + 2].movedim(axis, 0).flatten(1)
        assert torch.allclose(along, places.clamp(-1.5, 1.5)[:, None].expand_as(along))
    brighter = segment_input(image + 0.1, liver)
    assert torch.allclose(brighter[0], seen[0], atol=1e-6)


def test_segments_cover_exactly_the_organ_on_the_correct_sides() -> None:
    data = CoarseCopyd("image")(scan())
    found = LabelSegmentsd("pred", by_side)(data)
    segments = found["segments"][0].numpy()
    assert found["segments_state"] == {"state": "found", "reason": None}
    assert np.array_equal(segments > 0, data["pred"][0].numpy() > 0) and found["segments"].dtype == torch.uint8
    assert (segments[20:48, 16:64, 10:50] == 8).all() and (segments[48:76, 16:64, 10:50] == 2).all()
    assert torch.equal(found["pred"], data["pred"]) and torch.equal(found["segments"].affine, affine())


def test_an_incomplete_liver_and_no_liver_get_no_segments() -> None:
    data = scan()
    cut = {key: item[..., 30:] for key, item in data.items()}
    found = LabelSegmentsd("pred", by_side)(CoarseCopyd("image")(cut))
    assert "segments" not in found and found["segments_state"]["state"] == "left out"
    data["pred"] *= 0
    found = LabelSegmentsd("pred", by_side)(CoarseCopyd("image")(data))
    assert "segments" not in found and found["segments_state"] == {"state": "no liver", "reason": None}


def test_a_liver_of_an_unusual_shape_gets_no_segments() -> None:
    data = CoarseCopyd("image")(scan())  # a box is not a liver
    found = LabelSegmentsd("pred", by_side, most_unusual=6.0)(data)
    assert "segments" not in found and found["segments_state"]["state"] == "left out"
    assert found["segments_state"]["reason"].startswith("the liver's shape is unusual")
    assert "segments" in LabelSegmentsd("pred", by_side, most_unusual=1e6)(data)


def test_a_border_between_two_cells_is_exact_to_the_voxel() -> None:
    shares = torch.zeros(2, 1, 1, 4)
    shares[0, ..., :2], shares[1, ..., 2:] = 1, 1
    organ = np.ones((3, 3, 16), bool)
    steps = np.diag([1.0, 1.0, 0.25, 1.0])  # the border lies at cell 1.5, voxel 6
    labels = likeliest(shares, organ, steps, chunk=5)
    assert (labels[..., :6] == 1).all() and (labels[..., 7:] == 2).all()


def test_missing_items_and_impossible_arguments_are_refused() -> None:
    with pytest.raises(UsageError, match="spacings above 0 mm"):
        CoarseCopyd("image", spacing=0.0)
    with pytest.raises(BundleError, match="CoarseCopyd"):
        LabelSegmentsd("pred", by_side)(scan())
