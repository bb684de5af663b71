"""What decoys change and do not change, on a stack with a cylindrical liver in a body of known HU."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from custom_networks.training.augmentation import RandDecoysd

SHAPE = (128, 128, 14)
LIVER_HU, SOFT_HU = 100.0, 60.0
PLAIN = {"rim_prob": 0, "core_prob": 0, "calcified_prob": 0, "texture": (0, 0), "decoys": (1, 1), "halo": 4}


def stack(noise: float = 5.0, liver: int = 1) -> dict[str, Any]:
    """A body of 60 HU and 60 pixels radius in air, with a bone and a liver of 100 HU and 25 pixels; 3 mm slices."""
    rows, columns = np.meshgrid(*[np.arange(n) - n / 2 for n in SHAPE[:2]], indexing="ij")
    organ = (rows + 25) ** 2 + columns**2 < 25**2
    flat = np.where(rows**2 + columns**2 < 60**2, SOFT_HU, -1000.0)
    flat[organ] = LIVER_HU
    flat[100:110, 60:70] = 700.0
    hu = flat[..., None] + np.random.RandomState(0).normal(0, noise, SHAPE)
    return {
        "image": torch.tensor(((hu + 160) / 400).clip(0, 1), dtype=torch.float32)[None],
        "label": torch.tensor(np.repeat(organ[..., None], SHAPE[2], axis=2) * liver, dtype=torch.uint8)[None],
        "slice_distance": 3.0,
    }


def decoys(seed: int = 0, **more: Any) -> RandDecoysd:
    transform = RandDecoysd("image", **({"prob": 1.0} | more))
    transform.set_random_state(seed)
    return transform


def changed(old: dict[str, Any], new: dict[str, Any]) -> torch.Tensor:
    return (old["image"] != new["image"])[0]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 9999), liver=st.sampled_from([1, 2, 3, 4]))
def test_labels_labelled_voxels_bone_and_air_do_not_change(seed: int, liver: int) -> None:
    data = stack(liver=liver)
    hu = data["image"][0] * 400 - 160
    new = decoys(seed, halo=4)(data)
    assert torch.equal(new["label"], data["label"])
    assert not changed(data, new)[(data["label"][0] > 0) | (hu < -140) | (hu > 200)].any()
    assert 0 <= float(new["image"].min()) and float(new["image"].max()) <= 1


@pytest.mark.parametrize("brightness", [10, 160])
def test_a_decoy_has_the_requested_hu_and_keeps_the_noise(brightness: float) -> None:
    data = stack()
    size = {"radii": (12, 14), "size_weights": [1], "softness": (1, 1)}
    new = decoys(seed=1, brightness=(brightness, brightness), **size, **PLAIN)(data)
    hu = (new["image"] * 400 - 160)[0]
    moved = changed(data, new) & ((hu - brightness).abs() < 25)  # its inside, without the edge
    assert moved.sum() > 500
    assert abs(float(hu[moved].median()) - brightness) < 3
    assert 3 < float(hu[moved].std()) < 9


def test_fluid_may_be_darker_than_water_and_keeps_its_texture_there() -> None:
    size = {"radii": (12, 14), "size_weights": [1], "softness": (1, 1)}
    fluid = {**PLAIN, **size, "brightness": (-5, -5), "texture": (6, 6), "grain": (4, 4)}
    data = stack(noise=0.0)
    hu = (decoys(seed=1, **fluid)(data)["image"] * 400 - 160)[0]
    inside = hu[changed(data, {"image": (hu[None] + 160) / 400}) & (hu < 10)]
    assert len(inside) > 500
    assert -9 < float(inside.median()) < -1  # smooth noise has a mean of its own
    assert 3 < float(inside.std()) < 9


def test_decoys_are_beside_the_liver() -> None:
    data = stack()
    apart = distance_transform_edt((data["label"][0] == 0).numpy(), sampling=(1.25, 1.25, 3.0))
    nearest = []
    for seed in range(20):
        moved = changed(data, decoys(seed, radii=(10, 12), size_weights=[1], **PLAIN)(data)).numpy()
        nearest += [apart[moved].min()] if moved.any() else []
    assert len(nearest) >= 10
    assert max(nearest) < 15  # mm; the centre is at most 1.3 radii off
    assert np.mean(np.array(nearest) < 2) > 0.5


def test_a_stack_without_liver_also_gets_decoys() -> None:
    data = stack(liver=0)
    assert any(changed(data, decoys(seed, **PLAIN)(data)).any() for seed in range(5))


def test_a_stack_of_air_is_not_changed() -> None:
    data = stack()
    data["image"][:], data["label"][:] = 0, 0
    assert not changed(data, decoys()(data)).any()


def test_inputs_are_not_modified_and_probability_0_changes_nothing() -> None:
    data, before = stack(), stack()
    assert changed(before, decoys(seed=1, **PLAIN)(data)).any()
    assert torch.equal(data["image"], before["image"])
    assert torch.equal(decoys(prob=0.0)(data)["image"], before["image"])


def test_decoys_depend_only_on_the_random_state() -> None:
    data = stack()
    first, again, other = (decoys(seed, **PLAIN)(data)["image"] for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
