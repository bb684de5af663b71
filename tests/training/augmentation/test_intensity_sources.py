"""Noise of known strength and grain, and steps, windows and sharpness worked out by hand."""

import inspect
import json
from pathlib import Path

import pytest
import torch

from custom_networks.training import augmentation
from custom_networks.training.augmentation import RandCTNoised, RandQuantised, RandSharpnessd
from custom_networks.training.augmentation.intensity_sources import HU_WINDOW

TRAIN_JSON = Path(__file__).resolve().parents[3] / "bundle" / "configs" / "train.json"
HU = 1 / 400  # of the window [-160, 240]


def intensities(*hu: float) -> torch.Tensor:
    """A row of voxels of these HU, `(1, 1, N, 1)`."""
    return ((torch.tensor(hu) + 160) * HU).reshape(1, 1, -1, 1)


def hu_of(image: torch.Tensor) -> torch.Tensor:
    return image.flatten() / HU - 160


def test_all_transforms_in_hu_have_the_window_of_train_json_as_default() -> None:
    signatures = {name: inspect.signature(getattr(augmentation, name)).parameters for name in augmentation.__all__}
    windows = {name: found["window"].default for name, found in signatures.items() if "window" in found}
    assert {"RandCTNoised", "RandQuantised", "RandTissueShiftd", "RandSyntheticLesionsd", "RandDecoysd"} == set(windows)
    assert all(window is HU_WINDOW for window in windows.values())
    assert json.loads(TRAIN_JSON.read_text("utf-8"))["intensity_range"] == list(HU_WINDOW)


# --- noise ------------------------------------------------------------------------------------------------------------


def noise(amplitude: float, grain: float, seed: int = 0) -> torch.Tensor:
    """Noise in HU added to a uniform image, `(128, 128, 4)`."""
    image = torch.full((1, 128, 128, 4), 0.5)
    transform = RandCTNoised("image", 1.0, (amplitude, amplitude), (grain, grain)).set_random_state(seed)
    return (transform({"image": image})["image"] - image)[0] / HU


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


@pytest.mark.parametrize("grain", [0.0, 0.5, 0.8])
@pytest.mark.parametrize("amplitude", [5.0, 20.0])
def test_noise_has_the_requested_amplitude_for_any_grain_also_at_the_border(amplitude: float, grain: float) -> None:
    added = noise(amplitude, grain)
    assert float(added.std()) == pytest.approx(amplitude, rel=0.03)
    border = torch.cat([added[0].flatten(), added[-1].flatten(), added[:, 0].flatten(), added[:, -1].flatten()])
    assert float(border.std()) == pytest.approx(amplitude, rel=0.1)
    assert abs(float(added.mean())) < 0.05 * amplitude


@pytest.mark.parametrize(("grain", "next_pixel"), [(0.0, 0.0), (0.4, 0.09), (0.5, 0.26), (0.65, 0.53)])
def test_grain_correlates_neighbours_within_a_slice_and_not_from_slice_to_slice(
    grain: float, next_pixel: float
) -> None:
    # a kernel (a, 1, a) correlates neighbours by 2a / (1 + 2a^2), a = exp(-1 / (2 grain^2)): .044, .135, .306
    added = noise(10.0, grain)
    assert correlation(added[1:], added[:-1]) == pytest.approx(next_pixel, abs=0.02)
    assert correlation(added[:, 1:], added[:, :-1]) == pytest.approx(next_pixel, abs=0.02)
    assert correlation(added[..., 1:], added[..., :-1]) == pytest.approx(0.0, abs=0.02)


def test_no_noise_is_added_to_clipped_voxels() -> None:
    image = intensities(-160, 240, 40).expand(1, 50, 3, 4)
    changed = RandCTNoised("image", 1.0, (20, 20))({"image": image})["image"]
    assert torch.equal(changed[:, :, :2], image[:, :, :2])
    assert float((changed[:, :, 2] - image[:, :, 2]).std()) > 10 * HU


# --- sharpness --------------------------------------------------------------------------------------------------------


def sharpened(image: torch.Tensor, amount: float) -> torch.Tensor:
    return RandSharpnessd("image", 1.0, (amount, amount), (0.7, 0.7))({"image": image})["image"]


def test_amounts_of_minus_1_0_and_1_blur_keep_and_double_the_detail() -> None:
    image = torch.rand(1, 12, 12, 2)
    soft, same, sharp = (sharpened(image, amount) for amount in (-1.0, 0.0, 1.0))
    assert torch.allclose(same, image)
    assert torch.allclose(sharp - image, image - soft, atol=1e-6)
    assert float(soft.std()) < float(image.std()) < float(sharp.std())


# --- quantisation -----------------------------------------------------------------------------------------------------


def test_values_are_on_a_grid_of_the_step_and_change_by_at_most_half_a_step() -> None:
    image = torch.linspace(0, 1, 4001).reshape(1, 1, -1, 1)
    rounded = RandQuantised("image", 1.0, step=(8, 8), narrow_prob=0.0)({"image": image})["image"]
    assert float((hu_of(rounded) - hu_of(image)).abs().max()) <= 4.001
    levels = hu_of(rounded).unique()
    assert torch.allclose(levels.diff(), torch.tensor(8.0), atol=0.01)
    assert len(levels) in (50, 51, 52)


def test_steps_are_drawn_uniformly_by_their_logarithm() -> None:
    image = torch.linspace(0, 1, 4001).reshape(1, 1, -1, 1)
    transform = RandQuantised("image", 1.0, step=(1, 16), narrow_prob=0.0).set_random_state(0)
    steps = [float(hu_of(transform({"image": image})["image"]).unique().diff().median()) for _ in range(200)]
    assert 0.99 < min(steps) < 1.5 and 11 < max(steps) < 16.1
    assert sum(step < 4 for step in steps) == pytest.approx(100, abs=30)  # 4 is midway by logarithm


def narrowed(coarse_prob: float, *hu: float, seed: int = 0, coarse: float = 60.0) -> torch.Tensor:
    transform = RandQuantised(
        "image", 1.0, (0.1, 0.1), (-45, -45), (160, 160), (coarse, coarse), narrow_prob=1.0, coarse_prob=coarse_prob
    )
    return hu_of(transform.set_random_state(seed)({"image": intensities(*hu)})["image"])


def test_8_bit_files_are_clipped_to_their_window() -> None:
    clipped = narrowed(0.0, -160, -100, -46, -44, 0, 100, 159, 161, 240)
    expected = torch.tensor([-45.0, -45, -45, -44, 0, 100, 159, 160, 160])
    assert torch.allclose(clipped, expected, atol=0.06)


@pytest.mark.parametrize("seed", range(6))
def test_jpeg_copies_keep_the_window_and_have_coarse_levels_outside(seed: int) -> None:
    hu = torch.linspace(-160, 240, 401)
    changed = narrowed(1.0, *hu.tolist(), seed=seed)
    inside = (hu > -44.9) & (hu < 159.9)
    assert torch.allclose(changed[inside], hu[inside], atol=0.06)
    below, above = changed[hu < -45.1], changed[hu > 160.1]
    assert float(below.max()) <= -44.99 and float(above.min()) >= 159.99
    assert len(below.unique()) <= 4 and len(above.unique()) <= 3  # 115 and 80 HU in levels 60 HU apart, and two ends
    assert float((changed - hu).abs().max()) <= 30.01
