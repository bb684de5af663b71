"""Worked examples of rotation, scale, shear and crop; elastic deformation never folds the image."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.transforms import CenterSpatialCropd

from custom_networks.training.augmentation import RandInPlaneDeformd
from custom_networks.training.augmentation.in_plane_deform import from_middle, sample_in_plane

ROOT = Path(__file__).resolve().parents[3]
STILL = {"rotate": (0, 0), "scale": (1, 1), "stretch": 1.0, "shear": 0.0, "elastic": 0.0}


def deformed(image: torch.Tensor, size: tuple[int, int], mode: str = "bilinear", **more: Any) -> torch.Tensor:
    arguments = {"mode": mode, "padding_mode": "zeros"} | STILL | more
    return RandInPlaneDeformd("image", size, 1.0, **arguments).set_random_state(0)({"image": image})["image"]


def random_stack(rows: int, columns: int) -> torch.Tensor:
    return torch.rand(1, rows, columns, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("shape", [(7, 7), (8, 6), (9, 12)])
def test_no_deformation_is_the_identity(shape: tuple[int, int], mode: str) -> None:
    image = random_stack(*shape)
    assert torch.allclose(deformed(image, shape, mode), image, atol=1e-5)


@pytest.mark.parametrize("size", [(4, 4), (5, 4), (5, 7)])
@pytest.mark.parametrize("prob", [0.0, 1.0])
def test_the_crop_equals_that_of_monai(size: tuple[int, int], prob: float) -> None:
    data = {"image": random_stack(9, 12)}
    expected = CenterSpatialCropd("image", (*size, -1))(data)["image"]
    transform = RandInPlaneDeformd("image", size, prob, mode="nearest", padding_mode="zeros", **STILL)
    assert torch.equal(transform(data)["image"], expected.as_tensor())


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_rotation_by_90_degrees_maps_the_first_axis_to_the_second(mode: str) -> None:
    image = random_stack(7, 7)
    turned = deformed(image, (7, 7), mode, rotate=(torch.pi / 2, torch.pi / 2))
    assert torch.allclose(turned, torch.rot90(image, 1, (1, 2)), atol=1e-5)
    point = torch.zeros(1, 7, 7, 1)
    point[0, 5, 3] = 1  # two rows below the middle: goes to two columns right of it
    assert deformed(point, (7, 7), "nearest", rotate=(torch.pi / 2,) * 2).nonzero().tolist() == [[0, 3, 5, 0]]


def test_scale_2_doubles_the_size_of_the_anatomy() -> None:
    image = torch.zeros(1, 9, 9, 1)
    image[0, 4 - 1, 4 + 2] = 1
    grown = deformed(image, (9, 9), "bilinear", scale=(2, 2))[0, :, :, 0]
    assert (grown > 0.999).nonzero().tolist() == [[4 - 2, 4 + 4]]
    assert float(grown.sum()) == pytest.approx(3.0, abs=1e-3)  # 4 pixels, of which the last column is cut: 1 + .5 + ...


def test_stretch_enlarges_one_axis_and_shrinks_the_other_by_the_same_factor() -> None:
    transform = RandInPlaneDeformd("image", (8, 8), **(STILL | {"stretch": 1.5}))  # type: ignore[arg-type]
    for seed in range(20):
        matrix = transform.set_random_state(seed)._matrix()
        assert matrix[0, 0] * matrix[1, 1] == pytest.approx(1)
        assert 1 / 1.5 <= matrix[0, 0] / 1 <= 1.5 and matrix[0, 1] == matrix[1, 0] == 0


def test_shear_shifts_rows_in_proportion_to_columns() -> None:
    transform = RandInPlaneDeformd("image", (8, 8), **(STILL | {"shear": 0.3}))  # type: ignore[arg-type]
    drawn = [transform.set_random_state(seed)._matrix() for seed in range(40)]
    assert all(m[0, 0] == m[1, 1] == 1 and abs(m[0, 1]) <= 0.3 and abs(m[1, 0]) <= 0.3 for m in drawn)
    assert max(abs(m[0, 1]) for m in drawn) > 0.2 and max(abs(m[1, 0]) for m in drawn) > 0.2


def test_sampling_uses_rows_and_columns_from_the_centre_and_pads_outside() -> None:
    image = torch.arange(12.0).reshape(1, 3, 4, 1)  # middle: row 1, column 2
    places = torch.tensor([[[0.0, 0.0], [-1.0, -2.0], [1.0, 1.0], [0.0, 0.5], [0.0, 9.0]]])
    assert sample_in_plane(image, places, "bilinear", "border").flatten().tolist() == pytest.approx(
        [6, 0, 11, 6.5, 7], abs=1e-5
    )
    assert sample_in_plane(image, places, "nearest", "zeros").flatten()[-1] == 0
    labels = sample_in_plane(image.to(torch.uint8), places, "nearest", "zeros")
    assert labels.dtype == torch.uint8 and labels.flatten()[:3].tolist() == [6, 0, 11]


def test_the_centre_of_even_and_odd_slices_is_half_their_size_rounded_down() -> None:
    assert from_middle((3, 4))[:, 0, 0].tolist() == [-1, 0, 1]
    assert from_middle((3, 4))[0, :, 1].tolist() == [-2, -1, 0, 1]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 9999))
def test_elastic_displacements_stay_near_their_bound_and_never_fold(seed: int) -> None:
    arguments = STILL | {"elastic": 6.0, "elastic_spacing": 30.0}
    transform = RandInPlaneDeformd("image", (91, 61), **arguments)  # type: ignore[arg-type]
    places = transform.set_random_state(seed)._places()
    assert float((places - from_middle((91, 61))).abs().max()) <= 1.6 * 6.0  # bicubic overshoots its control points
    down, right = places.diff(dim=0)[:, 1:], places.diff(dim=1)[1:]
    assert float((down[..., 0] * right[..., 1] - down[..., 1] * right[..., 0]).min()) > 0


def test_image_and_label_and_all_slices_are_deformed_alike() -> None:
    stack = torch.zeros(1, 40, 40, 4)
    stack[:, 10:25, 12:30] = 1
    modes = {"mode": ("bilinear", "nearest"), "padding_mode": ("border", "zeros")}
    transform = RandInPlaneDeformd(["image", "label"], (32, 32), 1.0, elastic=3.0, elastic_spacing=16.0, **modes)
    changed = transform.set_random_state(5)({"image": stack, "label": stack[..., :2]})
    image, label = changed["image"], changed["label"]
    assert image.shape == (1, 32, 32, 4) and label.shape == (1, 32, 32, 2)
    assert torch.equal(image, image[..., :1].expand_as(image))
    assert set(label.unique().tolist()) == {0.0, 1.0}
    away_from_edge = (image[..., :2] < 0.24) | (image[..., :2] > 0.76)
    assert torch.equal((image[..., :2] > 0.5)[away_from_edge], (label > 0.5)[away_from_edge])
    assert float(away_from_edge.float().mean()) > 0.9


def test_in_training_an_organ_padded_beyond_the_edge_is_also_labelled_there() -> None:
    """The config's own deformation of image and label of a stack whose organ fills one half up to the edge."""
    config = json.loads((ROOT / "bundle" / "configs" / "train.json").read_text())
    step = next(step for step in config["train"]["augmentation"] if "RandInPlaneDeformd" in step["_target_"])
    configured = {name: step[name] for name in ("padding_mode",) if name in step}
    organ = torch.zeros(1, 255, 255, 1)
    organ[:, :, 128:] = 1
    transform = RandInPlaneDeformd(
        ["image", "label"],
        (192, 192),
        1.0,
        rotate=(0.26, 0.26),
        scale=(0.8, 0.8),
        mode=["nearest", "nearest"],
        **configured,
    )
    deformed = transform.set_random_state(0)({"image": organ, "label": organ.byte()})
    assert torch.equal(deformed["image"], deformed["label"].float())
