"""Common properties of random changes: probability, reproducibility, unchanged inputs; and blurring within slices."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from monai.data import MetaTensor, list_data_collate
from monai.transforms import Compose

from custom_networks.training.augmentation import (
    RandCTNoised,
    RandFieldOfViewd,
    RandInPlaneDeformd,
    RandQuantised,
    RandScanEndsd,
    RandSharpnessd,
    RandThickSlicesd,
    RandTissueShiftd,
)
from custom_networks.training.augmentation.rand_image import blur_in_plane, gaussian_kernel

BOTH = ["image", "label"]
ALL: dict[str, Callable[[float], Any]] = {
    "noise": lambda prob: RandCTNoised("image", prob, amplitude=(10, 20)),
    "sharpness": lambda prob: RandSharpnessd("image", prob),
    "quantised": lambda prob: RandQuantised("image", prob, narrow_prob=1.0),
    "tissue": lambda prob: RandTissueShiftd("image", prob=prob, organ_prob=1.0),
    "thick": lambda prob: RandThickSlicesd("image", prob),
    "ends": lambda prob: RandScanEndsd("image", prob, most=2),
    "view": lambda prob: RandFieldOfViewd(BOTH, prob, distance=(1, 3), radius=(8, 12)),
    "deform": lambda prob: RandInPlaneDeformd(BOTH, (16, 16), prob, mode=("bilinear", "nearest")),
}
every_transform = pytest.mark.parametrize("make", ALL.values(), ids=ALL.keys())


def stack() -> dict[str, Any]:
    image = torch.rand(1, 16, 16, 6, generator=torch.Generator().manual_seed(0))
    label = torch.zeros(1, 16, 16, 6)
    label[:, 4:12, 4:12] = 1
    return {"image": image, "label": label, "tumor_labelled": True}


@every_transform
def test_only_the_image_changes_and_shape_type_labels_and_inputs_do_not(make: Any) -> None:
    data = stack()
    changed = make(1.0).set_random_state(1)(data)
    assert not torch.equal(changed["image"], data["image"])
    assert changed["image"].shape == (1, 16, 16, 6) and changed["image"].dtype == torch.float32
    assert changed["image"].isfinite().all()
    assert changed["label"].dtype == torch.float32 and set(changed["label"].unique().tolist()) <= {0.0, 1.0}
    assert set(changed) == set(data) and changed["tumor_labelled"] is True
    assert torch.equal(data["image"], stack()["image"]) and torch.equal(data["label"], stack()["label"])


@every_transform
def test_changes_depend_only_on_the_random_state(make: Any) -> None:
    def draw(seed: int) -> torch.Tensor:
        transform = Compose([make(1.0)]).set_random_state(seed)
        return torch.stack([transform(stack())["image"] for _ in range(6)])

    assert torch.equal(draw(3), draw(3))
    assert not torch.equal(draw(3), draw(4))


@every_transform
def test_probability_zero_changes_nothing_and_a_half_changes_about_half(make: Any) -> None:
    data = stack()
    assert torch.allclose(make(0.0)(data)["image"], data["image"], atol=1e-5)
    transform = make(0.5).set_random_state(0)
    changed = sum(not torch.allclose(transform(data)["image"], data["image"], atol=1e-5) for _ in range(100))
    assert 30 <= changed <= 70  # four standard deviations of 5


@every_transform
def test_stacks_with_and_without_monais_record_can_be_collated(make: Any) -> None:
    transform = make(1.0).set_random_state(0)
    data = stack()
    tracked = data | {key: MetaTensor(data[key]) for key in BOTH}
    batch = list_data_collate([transform(data), make(1.0)(data)])
    assert batch["image"].shape == (2, 1, 16, 16, 6)
    assert type(make(1.0).set_random_state(0)(tracked)["image"]) is torch.Tensor


@pytest.mark.parametrize("sigma", [0.0, 0.4, 1.5])
def test_kernel_sums_to_one_and_is_a_gaussian(sigma: float) -> None:
    kernel = gaussian_kernel(sigma)
    middle = len(kernel) // 2
    assert float(kernel.sum()) == pytest.approx(1.0)
    if sigma > 0:  # exp(-1 / (2 sigma^2)) at one pixel
        expected = torch.exp(torch.tensor(-0.5 / sigma**2))
        assert float(kernel[middle + 1] / kernel[middle]) == pytest.approx(float(expected), rel=1e-4)


def test_blur_spreads_a_point_symmetrically_within_its_slice_only() -> None:
    image = torch.zeros(1, 9, 9, 3)
    image[0, 4, 4, 1] = 1
    blurred = blur_in_plane(image, 0.8)
    kernel = gaussian_kernel(0.8)
    assert torch.allclose(blurred[0, 1:8, 1:8, 1], kernel[:, None] * kernel, atol=1e-6)
    assert float(blurred[..., [0, 2]].abs().max()) == 0


def test_blur_does_not_change_a_uniform_image_up_to_the_border() -> None:
    assert torch.allclose(blur_in_plane(torch.full((1, 8, 6, 2), 0.7), 1.5), torch.tensor(0.7))
