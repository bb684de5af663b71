"""ResampleInPlaned: geometry, anti-aliasing, label maps, chunks, and the inverse."""

import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import CacheDataset, MetaTensor, list_data_collate
from monai.transforms import Compose, Invertd, Orientationd, ScaleIntensityRanged
from scipy.spatial.transform import Rotation

from custom_networks.errors import BundleError, InputError, UsageError
from custom_networks.transforms.resample import (
    ResampleInPlaned,
    in_plane_scaling,
    resampled_size,
    resize_labels,
    resize_slices,
    resize_volume,
    slice_chunks,
)


def volume_with_spacing(values: torch.Tensor, spacing: tuple[float, float, float]) -> MetaTensor:
    return MetaTensor(values, affine=torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64)))


def resampled(volume: MetaTensor, **arguments: Any) -> MetaTensor:
    out: MetaTensor = ResampleInPlaned(keys="image", **arguments)({"image": volume})["image"]
    return out


@st.composite
def affines(draw: st.DrawFn) -> torch.Tensor:
    """Any orientation of voxel axes: permuted, flipped, oblique by up to 17 degrees about each axis, shifted."""
    spacing = [draw(st.floats(0.5, 3.0)) for _ in range(3)]
    axes = np.eye(3)[list(draw(st.permutations(range(3))))] * [draw(st.sampled_from([-1.0, 1.0])) for _ in range(3)]
    tilt = Rotation.from_euler("xyz", [draw(st.floats(-0.3, 0.3)) for _ in range(3)]).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = tilt @ axes @ np.diag(spacing)
    affine[:3, 3] = [draw(st.floats(-300, 300)) for _ in range(3)]
    return torch.as_tensor(affine)


shapes = st.tuples(st.integers(4, 24), st.integers(4, 24), st.integers(4, 12))


def test_chunks_cover_every_slice_once() -> None:
    assert list(slice_chunks(7, 3)) == [slice(0, 3), slice(3, 6), slice(6, 7)]


@pytest.mark.parametrize(
    ("size", "spacing", "expected"), [(512, 0.78125, 320), (512, 0.703125, 288), (2, 0.1, 1), (5, 1.25, 5), (3, 2.5, 6)]
)
def test_the_size_is_the_extent_divided_by_the_spacing_and_rounded(size: int, spacing: float, expected: int) -> None:
    assert resampled_size(size, spacing, 1.25) == expected


def test_the_size_does_not_depend_on_rounding_of_the_spacing() -> None:
    # 21 pixels of 1.25 mm at 2.5 mm are 10.5 pixels: a tie, which rounding of the affine must not decide.
    assert {resampled_size(21, 1.25 + noise, 2.5) for noise in (-1e-7, 0.0, 1e-7)} == {11}


def test_the_extent_is_kept_and_slices_are_not_changed() -> None:
    volume = volume_with_spacing(torch.zeros(1, 10, 6, 3), (1.0, 2.0, 5.0))
    out = resampled(volume, spacing=2.0)
    assert tuple(out.shape) == (1, 5, 6, 3)
    # The outer edge of the first pixel stays at -0.5 mm: a 2 mm pixel that begins there has its centre at 0.5 mm.
    expected = torch.diag(torch.tensor([2.0, 2.0, 5.0, 1.0], dtype=torch.float64))
    expected[0, 3] = 0.5
    assert torch.equal(out.affine, expected)
    assert torch.equal(in_plane_scaling((10, 6, 3), (5, 6)) @ torch.tensor([0.0, 0, 0, 1]).double(), expected[:, 3])


def test_halving_a_ramp_gives_worked_values() -> None:
    ramp = torch.arange(8, dtype=torch.int16).reshape(1, 8, 1, 1).expand(1, 8, 4, 2)
    out = resampled(volume_with_spacing(ramp.contiguous(), (1.0, 1.0, 3.0)), spacing=2.0)
    assert out.dtype == torch.float32
    # Inner pixels lie at 2.5 and 4.5 between symmetric weights; the border pixels average what lies inside.
    assert torch.allclose(out[0, 1:3, 0, 0].as_tensor(), torch.tensor([2.5, 4.5]))


def test_stripes_above_the_new_nyquist_limit_become_their_mean() -> None:
    # A period of 2.2 pixels of 0.5 mm is 1.1 mm; pixels of 1.25 mm can show nothing shorter than 2.5 mm.
    rows = torch.cos(torch.arange(100) * 2 * torch.pi / 2.2)
    volume = volume_with_spacing((100 * rows).reshape(1, 100, 1, 1).repeat(1, 1, 10, 2), (0.5, 0.5, 2.0))
    smooth = resampled(volume, spacing=1.25)[0, 3:-3]
    aliased = torch.nn.functional.interpolate(
        volume.as_tensor().permute(0, 3, 1, 2), size=(40, 4), mode="bilinear", antialias=False
    )[0, :, 3:-3]
    assert smooth.abs().max() < 10
    assert aliased.abs().max() > 30


@given(shape=st.tuples(*[st.integers(1, 9)] * 2, st.integers(1, 3)), size=st.tuples(*[st.integers(1, 9)] * 2))
@settings(max_examples=60, deadline=None)
def test_results_of_any_size_equal_a_weighted_mean_of_pixels(
    shape: tuple[int, int, int], size: tuple[int, int]
) -> None:
    stack = torch.rand(2, *shape, dtype=torch.float64)
    rows, columns = (triangle_weights(n, m) for n, m in zip(shape[:2], size, strict=True))
    expected = torch.einsum("ih,jw,chwd->cijd", rows, columns, stack)
    assert torch.allclose(resize_slices(stack, size).double(), expected, atol=1e-5)


def triangle_weights(pixels: int, new_pixels: int) -> torch.Tensor:
    """Weights (new, old) of a triangle filter as wide as the larger of the two pixels, cut at the image's border."""
    scale = pixels / new_pixels
    centres = (torch.arange(new_pixels).double() + 0.5) * scale
    distances = (torch.arange(pixels).double() + 0.5)[None] - centres[:, None]
    weights = (1 - distances.abs() / max(scale, 1)).clamp(min=0)
    return weights / weights.sum(dim=1, keepdim=True)


@pytest.mark.parametrize("chunk", [1, 3, 16])
@pytest.mark.parametrize("mode", ["image", "label"])
def test_resampling_in_chunks_equals_resampling_at_once(chunk: int, mode: str) -> None:
    values = torch.randint(0, 3, (1, 13, 17, 7), dtype=torch.uint8)
    volume = volume_with_spacing(values, (0.8, 0.7, 3.0))
    assert torch.equal(
        resampled(volume, mode=mode, chunk=chunk).as_tensor(), resampled(volume, mode=mode, chunk=100).as_tensor()
    )


@pytest.mark.parametrize("spacing", [0.6, 1.0, 1.25, 3.3])
def test_world_position_of_a_blob_is_unchanged(spacing: float) -> None:
    grid = torch.meshgrid(torch.arange(48), torch.arange(40), torch.arange(5), indexing="ij")
    blob = torch.exp(-((grid[0] - 21.3) ** 2 + (grid[1] - 17.8) ** 2) / 50.0 - (grid[2] - 2.0) ** 2)
    affine = torch.tensor([[0.9, -0.1, 0, 30], [0.1, 0.8, 0.2, -7], [0, -0.2, 4, 11], [0, 0, 0, 1]]).double()
    volume = MetaTensor(blob[None], affine=affine)
    assert np.allclose(centroid(volume), centroid(resampled(volume, spacing=spacing)), atol=0.02)


def centroid(volume: MetaTensor) -> np.ndarray:
    """World position (mm) of the intensity-weighted mean voxel."""
    weights = volume[0].numpy().astype(float)
    index = [float((np.indices(weights.shape)[axis] * weights).sum() / weights.sum()) for axis in range(3)]
    return volume.affine.numpy() @ np.array([*index, 1.0])


@given(seed=st.integers(0, 99), size=st.tuples(st.integers(1, 20), st.integers(1, 20)))
@settings(max_examples=20, deadline=None)
def test_label_maps_keep_their_set_of_values(seed: int, size: tuple[int, int]) -> None:
    values = torch.randint(0, 2, (1, 9, 12, 2), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8) * 2
    out = resize_labels(values, size)
    assert out.dtype == torch.uint8
    assert set(out.unique().tolist()) <= {0, 2}


def test_a_label_needs_the_majority_of_a_pixel() -> None:
    # Three old pixels make a new one. Rows of thickness 1 are a minority everywhere, of thickness 2 a majority once.
    labels = torch.zeros(1, 12, 12, 1, dtype=torch.uint8)
    labels[0, 4] = 1
    assert resize_labels(labels, (4, 4)).sum() == 0
    labels[0, 3:6] = 1
    assert resize_labels(labels, (4, 4))[0, :, 0, 0].tolist() == [0, 1, 0, 0]


def test_each_pixel_gets_the_label_with_the_largest_share() -> None:
    rows = torch.tensor([1, 0, 1, 1, 0, 1], dtype=torch.uint8).reshape(1, 6, 1, 1)  # the nearest pixels bear 0
    labels = resampled(volume_with_spacing(rows, (1.0, 3.0, 3.0)), spacing=3.0, mode="label")
    assert labels.as_tensor().flatten().tolist() == [1, 1]


def test_a_label_between_two_others_never_appears_at_their_border() -> None:
    labels = torch.zeros(1, 16, 16, 1, dtype=torch.uint8)
    labels[:, :, 7:] = 2
    assert set(resize_labels(labels, (6, 6)).unique().tolist()) == {0, 2}


def test_float_label_maps_are_accepted_and_fractions_are_refused() -> None:
    labels = torch.tensor([0.0, 1.0, 2.0, 2.0]).reshape(1, 4, 1, 1)
    assert resize_labels(labels, (8, 1)).unique().tolist() == [0, 1, 2]
    with pytest.raises(InputError, match="whole numbers from 0 to 255"):
        resize_labels(labels + 0.5, (8, 1))
    with pytest.raises(InputError, match="whole numbers from 0 to 255"):
        resize_labels(labels - 1, (8, 1))


def test_with_equal_size_values_do_not_change_and_the_step_is_recorded() -> None:
    values = torch.randint(-1000, 1000, (1, 8, 8, 3), dtype=torch.int16)
    out = resampled(volume_with_spacing(values, (1.25, 1.25, 3.0)))
    assert torch.equal(out.as_tensor(), values.float())
    assert [operation["class"] for operation in out.applied_operations] == ["ResampleInPlaned"]


def test_input_is_not_changed() -> None:
    volume = volume_with_spacing(torch.rand(1, 8, 8, 3), (0.8, 0.8, 3.0))
    volume.meta["pixdim"] = np.array([1, 0.8, 0.8, 3.0, 0, 0, 0, 0])
    values, affine = volume.as_tensor().clone(), volume.affine.clone()
    out = resampled(volume)
    assert torch.equal(volume.as_tensor(), values) and torch.equal(volume.affine, affine)
    assert volume.applied_operations == [] and volume.meta["pixdim"][1] == 0.8
    assert out.meta["pixdim"][1] == pytest.approx(8 * 0.8 / 5)


def test_the_type_of_images_can_be_chosen() -> None:
    volume = volume_with_spacing(torch.full((1, 8, 8, 2), 7.6), (0.8, 0.8, 3.0))
    assert resampled(volume, dtype="float16").dtype == torch.float16
    assert resampled(volume, dtype="int16").unique().tolist() == [8]


@given(affine=affines(), shape=shapes, target=st.floats(0.6, 4.0))
@settings(max_examples=40, deadline=None)
def test_inverse_restores_shape_and_affine_exactly(
    affine: torch.Tensor, shape: tuple[int, int, int], target: float
) -> None:
    transform = ResampleInPlaned(keys=["image", "label"], spacing=target, mode=["image", "label"])
    data = {"image": MetaTensor(torch.rand(1, *shape), affine=affine), "label": MetaTensor(torch.ones(1, *shape))}
    data["label"].affine = affine
    back = transform.inverse(transform(data))
    for key, dtype in (("image", torch.float32), ("label", torch.uint8)):
        assert tuple(back[key].shape) == (1, *shape)
        assert torch.equal(back[key].affine, affine)
        assert back[key].applied_operations == []
        assert back[key].dtype == dtype
    assert back["label"].unique().tolist() == [1]


def test_inverse_of_a_coarse_image_is_close_to_it() -> None:
    rows = torch.linspace(0, 1, 40).reshape(1, 40, 1, 1).repeat(1, 1, 30, 4)
    transform = ResampleInPlaned(keys="image", spacing=1.25)
    back = transform.inverse(transform({"image": volume_with_spacing(rows, (0.8, 0.8, 5.0))}))["image"]
    assert (back - rows)[0, 2:-2].abs().max() < 0.01


def chain(mode: str = "image") -> Compose:
    return Compose(
        [
            Orientationd(keys="image", axcodes="RAS", labels=None),
            ResampleInPlaned(keys="image", spacing=1.5, mode=mode),
            ScaleIntensityRanged(keys="image", a_min=0, a_max=1, b_min=0, b_max=1),
        ]
    )


@pytest.mark.parametrize(("dtype", "nearest"), [(torch.uint8, True), (torch.uint8, False), (torch.float32, True)])
def test_stock_invertd_brings_a_label_map_back(dtype: torch.dtype, nearest: bool) -> None:
    preprocessing = chain()
    affine = torch.diag(torch.tensor([-0.8, 0.9, 3.0, 1.0], dtype=torch.float64))
    data = preprocessing({"image": MetaTensor(torch.rand(1, 20, 16, 5), affine=affine)})
    data["pred"] = MetaTensor((data["image"].as_tensor() > 0.5).to(dtype) * 2)
    inverted = Invertd(keys="pred", transform=preprocessing, orig_keys="image", nearest_interp=nearest)(data)["pred"]
    assert tuple(inverted.shape) == (1, 20, 16, 5) and torch.allclose(inverted.affine, affine, atol=1e-12)
    assert inverted.dtype == dtype and set(inverted.unique().tolist()) == {0, 2}


def test_invertd_interpolates_floats_unless_nearest_is_requested() -> None:
    preprocessing = chain()
    affine = torch.diag(torch.tensor([0.8, 0.8, 3.0, 1.0], dtype=torch.float64))
    data: dict[str, Any] = preprocessing({"image": MetaTensor(torch.rand(1, 20, 16, 5), affine=affine)})
    scores = torch.rand(3, *data["image"].shape[1:])
    data["pred"] = MetaTensor(scores)
    smooth = Invertd(keys="pred", transform=preprocessing, orig_keys="image", nearest_interp=False)(data)["pred"]
    assert torch.allclose(smooth.as_tensor(), resize_volume(scores, (20, 16), "bilinear", torch.float32))


def test_the_inverse_does_not_change_a_tensor_on_the_input_grid() -> None:
    transform = ResampleInPlaned(keys="image")
    data = transform({"image": volume_with_spacing(torch.rand(1, 20, 16, 5), (0.8, 0.8, 3.0))})
    labels = torch.randint(0, 3, (1, 20, 16, 5), dtype=torch.uint8)
    on_grid = MetaTensor(labels, applied_operations=data["image"].applied_operations)
    assert torch.equal(transform.inverse({"image": on_grid})["image"].as_tensor(), labels)


def test_the_transform_works_in_caches_pickles_and_batches() -> None:
    transform = pickle.loads(pickle.dumps(ResampleInPlaned(keys="image")))
    volumes = [{"image": volume_with_spacing(torch.rand(1, 10, 10, 3), (0.8, 0.8, 3.0))} for _ in range(2)]
    dataset = CacheDataset(volumes, transform=transform, progress=False)
    kept: Mapping[str, MetaTensor] = pickle.loads(pickle.dumps(dataset[0]))
    assert tuple(transform.inverse(kept)["image"].shape) == (1, 10, 10, 3)
    batch = list_data_collate([dataset[0], dataset[1]])["image"]
    assert tuple(transform.inverse({"image": batch[1]})["image"].shape) == (1, 10, 10, 3)


def test_wrong_arguments_and_items_are_refused() -> None:
    for arguments in ({"spacing": 0.0}, {"chunk": 0}, {"mode": "nearest"}):
        with pytest.raises(UsageError, match="ResampleInPlaned"):
            ResampleInPlaned(keys="image", **arguments)  # type: ignore[arg-type]
    with pytest.raises(BundleError, match="MetaTensor"):
        ResampleInPlaned(keys="image")({"image": torch.zeros(1, 4, 4, 4)})
    with pytest.raises(KeyError):
        ResampleInPlaned(keys="image")({})
    assert ResampleInPlaned(keys="image", allow_missing_keys=True)({}) == {}
