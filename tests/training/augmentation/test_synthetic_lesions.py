"""What synthetic lesions change and do not change, on a stack with a cylindrical liver of known HU."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.transforms import Compose

from custom_networks.errors import UsageError
from custom_networks.training.augmentation import RandSyntheticLesionsd
from custom_networks.training.augmentation import lesion_synthesis as synthesis
from custom_networks.training.augmentation.lesion_synthesis import Lesion

LIVER_HU = 100.0
PLAIN = {"bright_prob": 0, "rim_prob": 0, "core_prob": 0, "calcified_prob": 0, "texture": (0, 0), "lesions": (1, 1)}


def stack(liver: int = 1, noise: float = 5.0, shape: tuple[int, int, int] = (96, 96, 14)) -> dict[str, Any]:
    """Liver of 100 HU and 40 pixels radius in fat of -100 HU, slices 3 mm apart."""
    rows, columns = np.meshgrid(*[np.arange(n) - n / 2 for n in shape[:2]], indexing="ij")
    organ = np.repeat((rows**2 + columns**2 < 40**2)[..., None], shape[2], axis=2)
    hu = np.where(organ, LIVER_HU, -100.0) + np.random.RandomState(0).normal(0, noise, shape)
    return {
        "image": torch.tensor((hu + 160) / 400, dtype=torch.float32)[None],
        "label": torch.tensor(organ * liver, dtype=torch.uint8)[None],
        "slice_distance": 3.0,
    }


def lesions(seed: int = 0, **more: Any) -> RandSyntheticLesionsd:
    transform = RandSyntheticLesionsd("image", **({"prob": 1.0} | more))
    transform.set_random_state(seed)
    return transform


def hu(data: dict[str, Any]) -> torch.Tensor:
    return data["image"] * 400 - 160


def axes(reach: float, distance: float = 3.0) -> synthesis.Axes:
    """Axes of a box around a lesion's centre, in mm: 1.25 mm in-plane, slices `distance` apart."""
    in_plane, across = (np.arange(-reach, reach + 0.1, step, dtype=np.float32) for step in (1.25, distance))
    return in_plane, in_plane, across


# --- what is left alone -----------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 9999), liver=st.sampled_from([1, 3]), halo=st.integers(0, 4))
def test_only_liver_or_organ_is_changed_and_only_to_tumor(seed: int, liver: int, halo: int) -> None:
    data = stack(liver)
    data["label"][0, 40:50, 40:50] = 2
    data["label"][0, 55:60, 30:60] = 4
    new = lesions(seed, halo=halo)(data)
    untouched = data["label"] != liver
    assert torch.equal(new["label"][untouched], data["label"][untouched])
    assert torch.equal(new["image"][untouched], data["image"][untouched])
    assert set(new["label"][~untouched].tolist()) <= {liver, 2}
    assert new["image"].shape == data["image"].shape and new["label"].dtype == data["label"].dtype
    assert 0 <= float(new["image"].min()) and float(new["image"].max()) <= 1


def test_no_lesion_overlaps_a_known_or_uncertain_tumor() -> None:
    data = stack()
    data["label"][0, 40:50, 40:50] = 2
    data["label"][0, 55:60, 30:60] = 4
    for seed in range(20):
        new = lesions(seed, **PLAIN | {"radii": (8, 9), "size_weights": (1,), "contrast": (-60, -60)})(data)["label"]
        drawn = (new == 2) & (data["label"] == 1)
        # A lesion goes round none of them: it would fill its row between two of its voxels
        for other in (data["label"] == 2, data["label"] == 4):
            left, right = drawn.cumsum(2) > 0, drawn.flip(2).cumsum(2).flip(2) > 0
            assert not (left & right & other).any()


def test_inputs_are_not_modified() -> None:
    data = stack()
    before = {key: data[key].clone() for key in ("image", "label")}
    new = lesions()(data)
    assert not torch.equal(new["image"], data["image"]) and not torch.equal(new["label"], data["label"])
    assert all(torch.equal(data[key], before[key]) for key in before)


def test_probability_0_does_not_change_the_stack() -> None:
    data = stack()
    new = lesions(prob=0.0)(data)
    assert set(new) == set(data)
    assert torch.equal(new["image"], data["image"]) and torch.equal(new["label"], data["label"])


@pytest.mark.parametrize("label", [0, 2, 4])
def test_a_stack_without_healthy_liver_does_not_change(label: int) -> None:
    data = stack(label)
    new = lesions()(data)
    assert torch.equal(new["image"], data["image"]) and torch.equal(new["label"], data["label"])


def test_a_lesion_hidden_by_noise_is_left_out() -> None:
    small = PLAIN | {"radii": (3, 3.5), "size_weights": (1,), "contrast": (-20, -20)}

    def drawn(noise: float) -> int:
        return sum(bool((lesions(seed, **small)(stack(noise=noise))["label"] == 2).any()) for seed in range(20))

    # At most 31 pixels: sqrt(31) * 20 / 25 = 4.5, under Rose's 5; with a tenth of the noise, 45
    assert drawn(25.0) == 0
    assert drawn(2.5) >= 15


def test_centres_avoid_vessels() -> None:
    data = stack(noise=1.0)
    data["image"][0, :, 48:] += 60 / 400  # more vessel than liver would be no vessel: the liver is the larger part
    data["label"][0, :, 72:] = 0
    tiny = PLAIN | {"radii": (2.5, 3), "size_weights": (1,), "contrast": (-60, -60)}
    columns = [(lesions(seed, **tiny)(data)["label"] == 2).nonzero()[:, 2] for seed in range(30)]
    found = [float(column.float().mean()) for column in columns if len(column)]
    assert len(found) >= 20 and max(found) < 50


def test_lesions_may_touch_the_edge_of_the_liver_but_are_mostly_inside() -> None:
    ball, touching = 4 / 3 * np.pi * 10**3, 0
    edge = torch.nn.functional.max_pool2d((stack()["label"] != 1).float().movedim(-1, 1)[0], 3, 1, 1).movedim(0, -1)
    for seed in range(40):
        more = PLAIN | {"radii": (10, 10.1), "size_weights": (1,), "contrast": (-60, -60), "softness": (2, 2)}
        tumor = lesions(seed, halo=7 - 1, **more)(stack())["label"][0] == 2
        assert int(tumor.sum()) * 1.25**2 * 3 > 0.25 * ball
        touching += bool((tumor & (edge > 0)).any())
    assert 5 <= touching <= 35


# --- what is drawn ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("contrast", "bright", "expected"), [(-60.0, 0, -60.0), (-60.0, 1, 42.0), (-30.0, 0, -30.0)])
def test_a_lesion_differs_from_the_liver_by_the_requested_hu(contrast: float, bright: int, expected: float) -> None:
    more = PLAIN | {"bright_prob": bright, "contrast": (contrast, contrast), "mass_effect": (0, 0)}
    data = stack()
    for seed in range(4):
        new = lesions(seed, radii=(10, 14), size_weights=(1,), softness=(2, 2), **more)(data)
        inside = new["label"] == 2
        change = (hu(new) - hu(data))[inside]
        assert int(inside.sum()) > 100
        assert float(change.median()) == pytest.approx(expected, abs=3)


def test_noise_of_the_scan_is_kept_inside_the_lesion() -> None:
    data = stack(noise=15.0)
    new = lesions(1, radii=(12, 14), size_weights=(1,), contrast=(-50, -50), softness=(2, 2), **_without("contrast"))(
        data
    )
    inside = new["label"] == 2
    core = torch.nn.functional.avg_pool2d(inside.float().movedim(-1, 0), 7, 1, 3).movedim(0, -1) > 0.99
    assert int(core.sum()) > 100
    assert float(hu(new)[core].std()) == pytest.approx(15, rel=0.15)


def _without(key: str) -> dict[str, Any]:
    return {name: value for name, value in PLAIN.items() if name != key}


@pytest.mark.parametrize("radius", [4.0, 10.0, 20.0])
@pytest.mark.parametrize("distance", [2.0, 5.0])
def test_the_volume_is_close_to_that_of_a_ball_of_the_requested_radius(radius: float, distance: float) -> None:
    box = axes(2.5 * radius, distance)
    volumes = []
    for seed in range(12):
        lesion = Lesion(radius, -50, softness=2, texture=0, grain=5)
        _, share = synthesis.lesion_on_slices(np.random.RandomState(seed), box, lesion, distance)
        volumes.append(float(share.sum()) * 1.25**2 * distance)
    ball = 4 / 3 * np.pi * radius**3
    assert np.mean(volumes) == pytest.approx(ball, rel=0.25)
    assert 0.3 * ball < min(volumes) and max(volumes) < 2.2 * ball


@pytest.mark.parametrize("seed", range(8))
def test_a_lesion_is_within_its_reach_and_contains_its_centre(seed: int) -> None:
    box = axes(40.0, 2.5)
    depth = synthesis.relative_depth(np.random.RandomState(seed), box, 15.0)
    distance = np.sqrt(sum(axis.reshape(np.roll([-1, 1, 1], k)) ** 2 for k, axis in enumerate(box)))
    assert float(distance[depth < 1].max()) <= synthesis.REACH * 15.0
    assert float(depth[distance < 4].max()) < 1


def test_slices_repeated_at_the_end_of_a_scan_get_the_same_lesion() -> None:
    data = stack()
    data["image"][..., 8:] = data["image"][..., 8:9]
    changed = 0
    for seed in range(6):
        new = lesions(seed)(data)
        assert torch.allclose(new["image"][..., 9:], new["image"][..., 8:9], atol=0.005)  # 2 HU
        assert torch.equal(new["label"][..., 9:], new["label"][..., 8:9].expand(-1, -1, -1, 5))
        changed += int((new["label"][..., 8:] == 2).any())
    assert changed > 0


def test_every_lesion_extends_into_the_slices_between_the_halos() -> None:
    small = PLAIN | {"radii": (4, 5), "size_weights": (1,), "contrast": (-60, -60)}
    for seed in range(20):
        slices = (lesions(seed, halo=6, **small)(stack())["label"] == 2).any(dim=1).any(dim=1)[0].nonzero()
        assert len(slices) == 0 or (int(slices.min()) <= 9 and int(slices.max()) >= 4)


def test_thick_slices_blur_the_ends_of_a_lesion() -> None:
    lesion = Lesion(6.0, -50, softness=0.5, texture=0, grain=5)

    def partial(thickness: float) -> float:
        _, share = synthesis.lesion_on_slices(np.random.RandomState(0), axes(12.0, 3.0), lesion, thickness)
        return float(((share > 0.1) & (share < 0.9)).sum()) / float((share > 0.1).sum())

    assert partial(6.0) > 1.5 * partial(0.5)


def test_the_noise_field_has_the_requested_scale() -> None:
    line = np.arange(0, 60, 1.0, dtype=np.float32)
    field = synthesis.smooth_noise(np.random.RandomState(0), (line, line, line[:20]), 4.0)
    assert field.shape == (60, 60, 20)
    assert float(field.std()) == pytest.approx(1, rel=0.1)
    assert float(field.mean()) == pytest.approx(0, abs=0.1)
    neighbours, apart = (np.corrcoef(field[:-n].ravel(), field[n:].ravel())[0, 1] for n in (1, 16))
    assert neighbours > 0.9 and abs(apart) < 0.15


def test_vessels_are_moved_away_from_the_centre_only_with_mass_effect() -> None:
    depth = np.abs(np.arange(-30, 31, dtype=np.float32))[:, None, None] / 10 * np.ones((1, 3, 1), np.float32)
    vessel = np.zeros((61, 3, 1), np.float32)
    vessel[39:42] = 50.0  # around 1.0 radii from the centre in row 30
    assert np.array_equal(synthesis.pushed_aside(vessel, depth, (30.0, 1.0), 0.0), vessel)
    moved = synthesis.pushed_aside(vessel, depth, (30.0, 1.0), 0.5)
    peak = np.average(np.arange(61), weights=moved[:, 1, 0])
    assert peak == pytest.approx(30 + 10 * 1.5 ** (1 / 3), abs=1.0)  # (1 + 0.5)^(1/3) = 1.145 radii


def test_a_vessel_is_not_visible_through_a_lesion() -> None:
    box = axes(30.0)
    image = np.full([len(axis) for axis in box], LIVER_HU, np.float32)
    image[22:27] += 80.0
    lesion = Lesion(15.0, -50, softness=2, texture=0, grain=5)
    change, inside = synthesis.lesion_in_box(
        np.random.RandomState(0), image, np.ones(image.shape, bool), box, lesion, 3.0
    )
    assert inside[24, 24, 10]
    assert float((image + change)[24, 24, 10]) == pytest.approx(LIVER_HU - 50, abs=16)


def test_cores_are_darker_rims_brighter_specks_brightest_and_nothing_darker_than_water() -> None:
    box = axes(20.0)
    depth, share = synthesis.lesion_on_slices(np.random.RandomState(0), box, Lesion(10, -40, 2, 0, 5), 1.0)

    def offset(**more: Any) -> synthesis.Array:
        lesion = Lesion(**({"radius": 10, "contrast": -40, "softness": 2, "texture": 0, "grain": 5} | more))
        return synthesis.lesion_offset(np.random.RandomState(1), box, depth, share, lesion, -100.0)

    centre, edge, plain = depth < 0.2, np.abs(depth - 0.95) < 0.02, offset()
    assert float(plain[centre].mean()) == pytest.approx(-40, abs=0.01)
    assert float(offset(core=-20)[centre].mean()) == pytest.approx(-60, abs=1)
    assert float((offset(rim=30) - plain)[edge].mean()) > 20
    assert float(np.abs(offset(rim=30) - plain)[centre].max()) < 0.1
    assert float((offset(calcification=200) - plain).max()) > 100
    assert float(offset(contrast=-90, core=-35).min()) == pytest.approx(-100, abs=0.01)  # 0 HU


# --- as a transform ---------------------------------------------------------------------------------------------------


def test_lesions_depend_only_on_the_random_state() -> None:
    def draw(seed: int) -> torch.Tensor:
        return Compose([RandSyntheticLesionsd("image", prob=1.0)]).set_random_state(seed)(stack())["image"]

    assert torch.equal(draw(3), draw(3))
    assert not torch.equal(draw(3), draw(4))


def test_kinds_and_sizes_are_drawn_as_requested() -> None:
    drawn = [lesions(seed, size_weights=(0, 0, 1, 0), bright_prob=0.5).draw_lesion() for seed in range(200)]
    assert all(8 <= lesion.radius <= 16 for lesion in drawn)
    bright = [lesion.contrast for lesion in drawn if lesion.contrast > 0]
    assert 70 <= len(bright) <= 130  # 100, four standard deviations of 7
    assert all(14 <= contrast <= 63 for contrast in bright)
    assert all(-90 <= lesion.contrast <= -20 for lesion in drawn if lesion.contrast < 0)
    assert 50 <= sum(lesion.core < 0 for lesion in drawn) <= 110  # 80
    tiny = [lesions(seed, size_weights=(1, 0, 0, 0), rim_prob=1).draw_lesion() for seed in range(20)]
    assert all(lesion.rim == 0 and lesion.softness <= lesion.radius for lesion in tiny)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(UsageError, match="one image"):
        RandSyntheticLesionsd(["image", "label"])
    with pytest.raises(UsageError, match="3 radii bound 2 size classes, got 1 weights"):
        RandSyntheticLesionsd("image", radii=(2, 4, 8), size_weights=(1,))
    data = stack()
    del data["slice_distance"]
    with pytest.raises(UsageError, match="slice_distance"):
        lesions()(data)
