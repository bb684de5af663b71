"""The liver's box in worked examples: position and size, halo, alignment, the inverse, and when there is no box."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, Orientationd

from custom_networks.errors import BundleError, UsageError
from custom_networks.transforms import FindLiverd, LabelsOnInputGridd, ResampleInPlaned, WindowIntensityd
from custom_networks.transforms.scout import liver_box

SHAPE, SPACING = (320, 300, 100), (1.0, 1.0, 2.0)  # mm: 320 x 300 x 200
Places = list[tuple[slice, slice, slice]]
LIVER = (slice(100, 180), slice(120, 200), slice(40, 60))


def scan(*places: tuple[slice, slice, slice], spacing: tuple[float, ...] = SPACING) -> MetaTensor:
    """HU (1, 320, 300, 100), 200 in the given boxes and -160 elsewhere; the first voxel is at (-50, 20, 7) mm."""
    volume = torch.full((1, *SHAPE), -160, dtype=torch.int16)
    for rows, columns, slices in places:
        volume[0, rows, columns, slices] = 200
    affine = torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64))
    affine[:3, 3] = torch.tensor([-50.0, 20.0, 7.0])
    return MetaTensor(volume, affine=affine)


def bright(x: torch.Tensor) -> torch.Tensor:
    """A stand-in for the scout's network: voxels above the middle of the window are liver."""
    liver = (x - 0.5) * 100
    return torch.cat([-liver, liver, torch.full_like(x, -1000.0)], dim=1)


def finder(network: Callable[..., Any] = bright, **options: Any) -> FindLiverd:
    return FindLiverd("image", network, fine_spacing=1.25, **options)


def region_of(volume: MetaTensor, **options: Any) -> list[list[int]]:
    found = finder(**options)({"image": volume})
    assert found["scout"]["state"] == "found" and found["scout"]["seconds"] > 0
    assert found["image"] is volume
    result: list[list[int]] = found["region"].tolist()
    return result


def test_the_box_with_margin_is_aligned_to_multiples_of_16_on_the_fine_grid() -> None:
    # Fine pixels of 1.25 mm: rows 80 to 144, columns 96 to 160. With a margin of 10 mm: 72 to 152, 88 to 168.
    rows, columns, _ = region_of(scan(LIVER), margin_mm=10.0)
    assert rows == [64, 160] and columns == [80, 176]


def test_the_box_is_clipped_to_the_image() -> None:
    # The grid has 256 x 240 pixels; a margin of 90 mm is 72 pixels: rows 8 to 216, columns 24 to 232.
    rows, columns, _ = region_of(scan(LIVER), margin_mm=90.0)
    assert rows == [0, 224] and columns == [16, 240]
    rows, columns, slices = region_of(scan((slice(200, 320), slice(200, 300), slice(90, 100))), margin_mm=10.0)
    assert rows[1] == 256 and columns[1] == 240 and slices[1] == 100


def test_a_box_on_a_grid_that_is_not_a_multiple_of_16_is_clipped_to_the_image() -> None:
    rows, _, _ = region_of(scan((slice(200, 320), slice(100, 200), slice(20, 60)), spacing=(1.01, 1.0, 2.0)))
    assert rows[1] == round(320 * 1.01 / 1.25) == 259


def test_slices_extend_to_the_next_coarse_slice_plus_margin_and_halo() -> None:
    # Every third slice is looked at, from the first on: 42 to 57 show liver, 39 and 60 do not. The liver may begin at
    # 40 and end at 59; a margin of 6 mm is 3 slices, a halo of 4 slices in each of two sub-volumes 8 slices.
    _, _, slices = region_of(scan(LIVER), slice_margin_mm=6.0, halo=4)
    assert slices == [40 - 3 - 8, 59 + 3 + 8 + 1]
    _, _, slices = region_of(scan(LIVER), slice_margin_mm=0.0, halo=0)
    assert slices == [40, 60]


def test_without_enough_liver_there_is_no_region_and_the_state_says_so() -> None:
    for volume in (scan(), scan((slice(100, 120), slice(100, 120), slice(40, 46)))):  # the second is 5 ml
        found = finder()({"image": volume})
        assert found["scout"]["state"] == "nothing found" and "region" not in found


@pytest.mark.parametrize("spacing", [(0.6, 1.0, 2.0), (1.0, 0.6, 2.0), (1.0, 1.0, 0.9)])
def test_a_small_field_of_view_is_not_searched(spacing: tuple[float, ...]) -> None:
    def untouched(x: torch.Tensor) -> torch.Tensor:
        raise AssertionError("the scout ran")

    found = finder(untouched)({"image": scan(LIVER, spacing=spacing)})
    assert found["scout"]["state"] == "skipped" and "region" not in found


def test_the_box_contains_the_largest_part_and_one_close_to_it() -> None:
    mask = np.zeros((40, 40, 30), bool)
    mask[10:20, 10:20, 10:20] = True
    assert liver_box(mask, mask, 1) == (slice(10, 20), slice(10, 20), slice(10, 20))
    mask[24:27, 10:20, 10:20] = True  # four voxels away
    mask[10:12, 30:33, 10:20] = True  # ten voxels away
    assert liver_box(mask, mask, 1) == (slice(10, 27), slice(10, 20), slice(10, 20))
    assert liver_box(mask, mask, 1300) is not None and liver_box(mask, mask, 1301) is None
    assert liver_box(np.zeros_like(mask), mask, 0) is None


def test_the_box_includes_less_certain_liver_up_to_a_limit() -> None:
    mask = np.zeros((40, 40, 30), bool)
    mask[10:20, 10:20, 10:20] = True
    likely = mask.copy()
    likely[20:24, 15, 15] = True  # a tip
    likely[15, 20:40, 15] = True  # a long way into something else
    likely[15, 15, 22:25] = True  # not connected
    assert liver_box(mask, likely, 1) == (slice(10, 24), slice(10, 26), slice(10, 20))


def test_the_resampled_region_is_bit_identical_to_that_of_the_whole() -> None:
    volume = scan(LIVER)
    noise = torch.randint(-200, 300, volume.shape, generator=torch.Generator().manual_seed(0), dtype=torch.int16)
    volume = MetaTensor(noise, affine=volume.affine)
    region = np.array([[16, 96], [32, 160], [5, 41]])
    resample = ResampleInPlaned("image", spacing=1.25)
    whole, part = resample({"image": volume})["image"], resample({"image": volume, "region": region})["image"]
    assert torch.equal(part.as_tensor(), whole.as_tensor()[:, 16:96, 32:160, 5:41])
    corner = torch.tensor([16.0, 32.0, 5.0, 1.0], dtype=torch.float64)
    assert torch.allclose(part.affine[:, 3], whole.affine @ corner) and torch.equal(
        part.affine[:, :3], whole.affine[:, :3]
    )


def test_a_region_outside_the_grid_is_refused() -> None:
    with pytest.raises(BundleError, match="within the grid"):
        ResampleInPlaned("image")({"image": scan(), "region": np.array([[0, 300], [0, 16], [0, 5]])})


def preprocessing() -> Compose:
    steps = [
        Orientationd(keys="image", axcodes="RAS", labels=None),
        finder(),
        ResampleInPlaned("image", spacing=1.25),
        WindowIntensityd("image", (-160, 240)),
    ]
    return Compose(steps)


def test_labels_of_the_region_cover_the_anatomy() -> None:
    flipped = scan(LIVER).flip(3)
    affine = flipped.affine.clone()
    affine[2, 3], affine[2, 2] = 7 + 99 * 2.0, -2.0  # the same body, stored head first
    image = MetaTensor(flipped.as_tensor(), affine=affine)
    before = preprocessing()
    data = before({"image": image})
    assert data["image"].shape[1] < 256 and data["image"].shape[3] < 100
    liver = data["image"].as_tensor().clamp(0, 1)
    scores = (torch.cat([1 - liver, liver, 0 * liver]) * 255).round().to(torch.uint8)
    data = LabelsOnInputGridd()({**data, "pred": scores})
    keys = ["pred", "probabilities", "image"]
    back = Invertd(keys=keys, transform=before, orig_keys="image", nearest_interp=False, to_tensor=True)(data)
    assert torch.equal(back["pred"].as_tensor(), (image.as_tensor() > 0).to(torch.uint8))
    assert all(torch.allclose(back[key].affine, affine) for key in keys)
    assert back["probabilities"].shape == (2, *SHAPE) and back["image"].shape == (1, *SHAPE)


def test_labels_of_the_region_equal_those_of_the_whole() -> None:
    volume = scan(LIVER)
    region = np.array([[16, 112], [32, 160], [5, 41]])
    whole = ResampleInPlaned("image")({"image": volume})["image"]
    part = ResampleInPlaned("image")({"image": volume, "region": region})["image"]
    scores = torch.randn(3, *whole.shape[1:], generator=torch.Generator().manual_seed(1))
    crop = scores[:, 16:112, 32:160, 5:41]
    expected = LabelsOnInputGridd()({"image": whole, "pred": scores})
    got = LabelsOnInputGridd()({"image": part, "pred": crop})
    inside = (..., slice(22, 138), slice(42, 198), slice(5, 41))  # input pixels that see pixels of the region alone
    for key in ("pred", "probabilities"):
        assert torch.equal(got[key][inside], expected[key][inside])
    assert got["pred"][..., :5].sum() == 0 and got["pred"][:, :18].sum() == 0 and got["pred"][..., 41:].sum() == 0
    assert got["pred"].applied_operations == [] and torch.equal(got["pred"].affine, volume.affine)


def test_the_inverse_does_not_pad_tensors_of_other_shapes() -> None:
    resample = ResampleInPlaned("image")
    part = resample({"image": scan(LIVER), "region": np.array([[16, 112], [32, 160], [5, 41]])})
    whole_grid = MetaTensor(torch.ones(1, 256, 240, 100), meta=part["image"].meta)
    whole_grid.applied_operations = part["image"].applied_operations
    restored = resample.inverse({"image": whole_grid})["image"]
    assert restored.shape == (1, *SHAPE) and (restored.as_tensor() == 1).all()


def test_wrong_settings_and_items_are_refused() -> None:
    with pytest.raises(UsageError, match="spacings above 0 mm"):
        finder(spacing=0.0)
    with pytest.raises(BundleError, match="MetaTensor"):
        finder()({"image": torch.zeros(1, *SHAPE)})
