"""LabelsOnInputGridd: the decision rule, the grid, and the inverse to the file's grid."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, Orientationd, ScaleIntensityRanged
from test_resample import affines, resampled, volume_with_spacing

from custom_networks.errors import BundleError, InputError, UsageError
from custom_networks.transforms import LabelsOnInputGridd, ResampleInPlaned
from custom_networks.transforms.input_grid import _reached, labels_from_probabilities
from custom_networks.transforms.resample import resize_slices


def preprocessing(spacing: float = 1.25) -> Compose:
    return Compose(
        [
            Orientationd(keys="image", axcodes="RAS", labels=None),
            ResampleInPlaned(keys="image", spacing=spacing),
            ScaleIntensityRanged(keys="image", a_min=-160, a_max=240, b_min=0, b_max=1, clip=True),
        ]
    )


def column(*probabilities: float) -> torch.Tensor:
    return torch.tensor(probabilities).reshape(3, 1, 1, 1)


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        ((0.6, 0.3, 0.1), 0),
        ((0.4, 0.35, 0.25), 1),
        ((0.4, 0.25, 0.35), 2),  # liver and tumor outvote background together, though background is the largest
        ((0.5, 0.5, 0.0), 1),  # the organ's border is at one half, inclusive
        ((0.0, 0.5, 0.5), 2),
        ((0.0, 0.0, 0.0), 0),  # nothing was answered there
    ],
)
def test_labels_follow_the_rule_in_worked_cases(probabilities: tuple[float, float, float], expected: int) -> None:
    assert labels_from_probabilities(column(*probabilities)).item() == expected


def test_tumor_threshold_is_the_share_within_the_organ() -> None:
    assert labels_from_probabilities(column(0.2, 0.5, 0.3), tumor_threshold=0.375).item() == 2
    assert labels_from_probabilities(column(0.2, 0.5, 0.3), tumor_threshold=0.380).item() == 1


def test_organ_threshold_is_the_share_of_liver_and_tumor_in_all_three() -> None:
    assert labels_from_probabilities(column(0.6, 0.3, 0.1), organ_threshold=0.39).item() == 1
    assert labels_from_probabilities(column(0.6, 0.3, 0.1), organ_threshold=0.41).item() == 0
    assert labels_from_probabilities(column(0.0, 0.0, 0.0), organ_threshold=0.01).item() == 0


@pytest.mark.parametrize("kind", ["probabilities", "logits", "half", "array"])
@pytest.mark.parametrize("chunk", [1, 2, 50])
def test_labels_equal_the_direct_formula(kind: str, chunk: int) -> None:
    image = resampled(volume_with_spacing(torch.rand(1, 14, 11, 5), (0.8, 0.9, 3.0)))
    logits = torch.randn(3, *image.shape[1:], generator=torch.Generator().manual_seed(0)) * 3
    scores: Any = {
        "probabilities": torch.softmax(logits, 0).mul(255).round().to(torch.uint8),
        "logits": MetaTensor(logits),
        "half": logits.half(),
        "array": logits.numpy(),
    }[kind]
    out = LabelsOnInputGridd(chunk=chunk)({"image": image, "pred": scores})
    known = torch.as_tensor(np.asarray(scores)).float()
    known = known if kind == "probabilities" else torch.softmax(known, 0) * 255
    slices = known.permute(3, 0, 1, 2)
    whole = torch.nn.functional.interpolate(slices, size=(14, 11), mode="bilinear").permute(1, 2, 3, 0)
    liver, tumor = whole[1], whole[2]
    expected = (liver + tumor >= whole[0]).int() + ((liver + tumor >= whole[0]) & (tumor >= 0.5 * (liver + tumor)))
    assert out["pred"].dtype == torch.uint8 and out["probabilities"].dtype == torch.uint8
    assert (out["pred"][0].as_tensor() != expected).sum() <= (1 if kind == "probabilities" else 0)
    assert (out["probabilities"].as_tensor().float() - whole[1:]).abs().max() <= 0.5 + 1e-3


@pytest.mark.parametrize("chunk", [1, 2, 6])
def test_slices_without_liver_do_not_affect_their_neighbours(chunk: int) -> None:
    image = resampled(volume_with_spacing(torch.rand(1, 10, 10, 6), (0.8, 0.8, 3.0)))
    scores = torch.zeros(3, *image.shape[1:], dtype=torch.uint8)
    scores[0], scores[0, ..., 2:4], scores[2, ..., 2:4] = 255, 100, 155
    out = LabelsOnInputGridd(chunk=chunk)({"image": image, "pred": scores})
    assert out["pred"][0, 5, 5].tolist() == [0, 0, 2, 2, 0, 0]
    assert out["probabilities"][1, 5, 5].tolist() == [0, 0, 155, 155, 0, 0]


def test_the_output_is_on_the_recorded_grid() -> None:
    volume = volume_with_spacing(torch.rand(1, 14, 11, 5), (0.8, 0.9, 3.0))
    image = resampled(volume)
    out = LabelsOnInputGridd(probability_key=None)({"image": image, "pred": torch.zeros(3, *image.shape[1:])})
    assert "probabilities" not in out
    assert tuple(out["pred"].shape) == (1, 14, 11, 5)
    assert torch.equal(out["pred"].affine, volume.affine)
    assert out["pred"].applied_operations == []
    assert len(image.applied_operations) == 1


def blob_volume(affine: torch.Tensor, shape: tuple[int, int, int]) -> tuple[MetaTensor, torch.Tensor]:
    """Image with an ellipsoid of 200 HU in fat of -120 HU, off-centre along every axis, and the ellipsoid's mask."""
    grids = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in shape), indexing="ij")
    centres, radii = (-0.2, 0.15, 0.25), (0.5, 0.6, 0.55)
    inside = sum(((g - c) / r) ** 2 for g, c, r in zip(grids, centres, radii, strict=True)) < 1  # type: ignore
    return MetaTensor(torch.where(inside, 200, -120)[None].to(torch.int16), affine=affine), inside


@given(affine=affines(), shape=st.tuples(*[st.integers(16, 28)] * 3), as_logits=st.booleans())
@settings(max_examples=40, deadline=None)
def test_the_mask_covers_the_same_anatomy_on_the_input_grid(
    affine: torch.Tensor, shape: tuple[int, int, int], as_logits: bool
) -> None:
    image, inside = blob_volume(affine, shape)
    before = preprocessing(1.0)
    data = before({"image": image})
    # The stand-in network answers exactly what it sees: liver as far as the voxel is bright.
    liver = ((data["image"].as_tensor() - 0.1) / 0.8).clamp(0, 1)
    probabilities = torch.cat([1 - liver, liver, torch.zeros_like(liver)])
    scores = (probabilities + 1e-6).log() if as_logits else (probabilities * 255).round().to(torch.uint8)
    data = LabelsOnInputGridd()({**data, "pred": scores})
    back = Invertd(
        keys=["pred", "probabilities"], transform=before, orig_keys="image", nearest_interp=False, to_tensor=True
    )(data)
    mask = back["pred"]
    assert mask.dtype == torch.uint8 and tuple(mask.shape) == (1, *shape)
    assert torch.allclose(mask.affine, affine, atol=1e-9)
    assert tuple(back["probabilities"].shape) == (2, *shape) and back["probabilities"].dtype == torch.uint8
    found = mask[0].as_tensor() == 1
    dice = 2 * (found & inside).sum() / (found.sum() + inside.sum())
    assert dice > 0.9
    shift = (found.nonzero().double().mean(0) - inside.nonzero().double().mean(0)).abs().max()
    assert shift < 0.2  # voxels of the file: half a pixel of the network's grid would be more
    assert torch.equal(image.affine, affine) and image.applied_operations == []


def test_a_network_grid_equal_to_the_input_grid_gives_the_exact_mask() -> None:
    # After Orientationd the in-plane axes are the file's last (1.25 mm) and first: nothing is resampled.
    affine = torch.tensor([[0, 0, -1.25, 10], [1.25, 0, 0, 20], [0, -4, 0, 30], [0, 0, 0, 1]], dtype=torch.float64)
    image, inside = blob_volume(affine, (20, 24, 22))
    before = preprocessing(1.25)
    data = before({"image": image})
    assert tuple(data["image"].shape) == (1, 22, 20, 24)
    one_hot = torch.nn.functional.one_hot((data["image"][0].as_tensor() > 0.5).long(), 3).permute(3, 0, 1, 2)
    data = LabelsOnInputGridd()({**data, "pred": (one_hot * 255).to(torch.uint8)})
    mask = Invertd(keys="pred", transform=before, orig_keys="image", nearest_interp=False)(data)["pred"]
    assert torch.equal(mask[0].as_tensor() == 1, inside)


def test_a_missing_record_a_wrong_grid_and_invalid_numbers_are_refused() -> None:
    image = resampled(volume_with_spacing(torch.rand(1, 8, 8, 4), (0.8, 0.8, 3.0)))
    fine = torch.zeros(3, *image.shape[1:])
    with pytest.raises(BundleError, match="record of ResampleInPlaned"):
        LabelsOnInputGridd()({"image": MetaTensor(torch.zeros(1, 8, 8, 4)), "pred": fine})
    with pytest.raises(BundleError, match="record of ResampleInPlaned"):
        LabelsOnInputGridd()({"image": image.as_tensor(), "pred": fine})
    with pytest.raises(BundleError, match="grid of the resampled image"):
        LabelsOnInputGridd()({"image": image, "pred": fine[..., :3]})
    with pytest.raises(BundleError, match="grid of the resampled image"):
        LabelsOnInputGridd()({"image": image, "pred": fine[:2]})
    with pytest.raises(InputError, match="finite"):
        LabelsOnInputGridd()({"image": image, "pred": fine * float("nan")})
    with pytest.raises(UsageError, match="tumor_threshold"):
        LabelsOnInputGridd(tumor_threshold=1.5)


@pytest.mark.parametrize("size", [(40, 60), (23, 31), (9, 7)])
@pytest.mark.parametrize("corner", [(0, 0), (19, 12), (7, 5)])
def test_the_evaluated_range_contains_every_pixel_that_can_be_affected(
    size: tuple[int, int], corner: tuple[int, int]
) -> None:
    probabilities = torch.zeros(3, 20, 13, 2)
    probabilities[0] = 255
    probabilities[:, corner[0], corner[1]] = torch.tensor([0.0, 1.0, 254.0])[:, None]
    rows, columns = _reached(probabilities, size)
    resized = resize_slices(probabilities, size, antialias=False)
    resized[1:, rows, columns] = 0
    assert not resized[1:].any()
