"""Slices and crops of training stacks, on volumes whose values encode voxel positions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import CacheDataset, MetaTensor
from monai.transforms import ClassesToIndicesd, Compose

from custom_networks.inference.spacing import slice_step
from custom_networks.training.data import RandSliceStacksd

Voxel = tuple[int, int, int]
INSIDE, ROW, COLUMN, SLICE = range(4)  # channels of the image


def case(shape: Voxel, spacing: float, *classes: Sequence[Voxel]) -> dict[str, Any]:
    """Image of four channels (1, row, column, slice), label = flat index + 1, and voxels of each class."""
    rows, columns, slices = torch.meshgrid(*[torch.arange(n) for n in shape], indexing="ij")
    image = torch.stack([torch.ones(shape), rows, columns, slices])
    label = torch.arange(1, 1 + image[0].numel()).reshape(1, *shape)
    affine = torch.diag(torch.tensor([1.25, 1.25, spacing, 1.0], dtype=torch.float64))
    return {
        "image": MetaTensor(image, affine=affine),
        "label": MetaTensor(label, affine=affine),
        "voxels": [np.array([np.ravel_multi_index(v, shape) for v in of_class], dtype=int) for of_class in classes],
    }


def sampler(
    size: Sequence[int] = (1, 1), slices: int = 3, halo: int = 1, seed: int = 0, **more: Any
) -> RandSliceStacksd:
    more = {"ratios": [1.0]} | more
    stacks = RandSliceStacksd(["image", "label"], "voxels", size=size, slices=slices, halo=halo, **more)
    stacks.set_random_state(seed)
    return stacks


def slice_numbers(stack: dict[str, Any]) -> list[int]:
    """Slice numbers of a stack, read where the crop is inside the volume."""
    image = stack["image"]
    row, column = (image[INSIDE, :, :, 0] == 1).nonzero()[0]
    return [int(n) for n in image[SLICE, row, column]]


def centres(data: dict[str, Any], draws: int, **more: Any) -> list[Voxel]:
    """The centres that are drawn, from crops of a single voxel."""
    stacks = sampler(slices=1, halo=0, num_samples=draws, **more)(data)
    return [tuple(int(n) for n in stack["image"][ROW:, 0, 0, 0]) for stack in stacks]


# --- slices -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spacing", "steps"),
    [
        (0.7, {3, 4, 5, 6, 7, 8}),  # 2.1 to 5.6 mm
        (1.6, {2, 3}),  # 3.2 and 4.8 mm
        (5.0, {1}),
        (8.0, {1}),  # none lies within 2 to 6 mm: the step of inference
    ],
)
def test_a_stack_has_every_kth_slice_for_each_k_within_2_to_6_mm(spacing: float, steps: set[int]) -> None:
    data = case((1, 1, 60), spacing, [(0, 0, 30)])
    stacks = [slice_numbers(stack) for stack in sampler(num_samples=80)(data)]
    distances = [set(np.diff(stack)) for stack in stacks]
    assert all(len(within) == 1 for within in distances)
    assert {int(k) for within in distances for k in within} == steps


@pytest.mark.parametrize("spacing", [0.7, 1.6, 5.0])
def test_a_stack_has_the_distance_and_thickness_of_its_slices(spacing: float) -> None:
    for stack in sampler(num_samples=20)(case((1, 1, 60), spacing, [(0, 0, 30)])):
        assert stack["slice_distance"] == pytest.approx(spacing * np.diff(slice_numbers(stack))[0])
        assert stack["slice_thickness"] == pytest.approx(spacing)


def test_the_step_of_inference_is_always_possible() -> None:
    data = case((1, 1, 60), 3.0, [(0, 0, 30)])
    stacks = sampler(num_samples=40, distances=(6.0, 9.0))(data)
    assert {int(np.diff(slice_numbers(stack))[0]) for stack in stacks} == {1, 2, 3}


def test_the_centre_can_be_any_slice_to_segment_but_never_in_the_halo() -> None:
    data = case((1, 1, 60), 3.0, [(0, 0, 30)])
    stacks = sampler(slices=4, halo=2, num_samples=80, distances=(3.0, 3.0))(data)
    assert {slice_numbers(stack).index(30) for stack in stacks} == {2, 3, 4, 5}


def test_ends_are_repeated_inside_the_same_interleaved_sub_volume() -> None:
    # every 2nd slice of 7, through slice 5: 1, 3, 5; slice 6 and slice 0 belong to the other sub-volume
    data = case((1, 1, 7), 1.6, [(0, 0, 5)])
    stacks = sampler(slices=1, halo=3, num_samples=5, distances=(3.0, 4.0))(data)
    assert [slice_numbers(stack) for stack in stacks] == [[1, 1, 3, 5, 5, 5, 5]] * 5


@settings(max_examples=40, deadline=None)
@given(
    spacing=st.sampled_from([0.7, 1.6, 5.0, 8.0]) | st.floats(0.3, 12.0),
    depth=st.integers(1, 24),
    place=st.floats(0, 0.999),
    slices=st.integers(1, 5),
    halo=st.integers(0, 4),
    seed=st.integers(0, 999),
)
def test_stack_is_a_run_of_one_sub_volume_around_the_centre(
    spacing: float, depth: int, place: float, slices: int, halo: int, seed: int
) -> None:
    centre = int(place * depth)
    (stack,) = sampler(slices=slices, halo=halo, seed=seed)(case((1, 1, depth), spacing, [(0, 0, centre)]))
    found = slice_numbers(stack)
    assert len(found) == slices + 2 * halo
    assert centre in found[halo : halo + slices]
    allowed = [k for k in range(1, 25) if 2 <= k * spacing <= 6] + [slice_step(spacing)]
    assert any(found == run(centre, k, depth, before, len(found)) for k in allowed for before in range(len(found)))


def run(centre: int, step: int, depth: int, before: int, length: int) -> list[int]:
    """Every `step`-th slice, `before` of them before `centre`; the first and last slices of the sub-volume repeat."""
    sub_volume = list(range(centre % step, depth, step))
    first = sub_volume.index(centre) - before
    return [sub_volume[min(max(i, 0), len(sub_volume) - 1)] for i in range(first, first + length)]


def test_tensors_without_geometry_are_assumed_to_have_3_mm() -> None:
    data = case((1, 1, 40), 0.7, [(0, 0, 20)])
    plain = data | {key: np.asarray(data[key]) for key in ("image", "label")}
    assert {int(np.diff(slice_numbers(stack))[0]) for stack in sampler(num_samples=30)(plain)} == {1, 2}


# --- crop -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (3, 2), (5, 6), (7, 8), (255, 16)])
def test_a_crop_has_its_size_and_contains_the_centre_at_any_position(size: tuple[int, int]) -> None:
    for centre in [(0, 0, 1), (4, 2, 1), (8, 5, 1)]:
        for stack in sampler(size, num_samples=20)(case((9, 6, 3), 3.0, [centre])):
            assert stack["image"].shape == (4, *size, 5)
            row, column = stack["image"][ROW, :, :, 0], stack["image"][COLUMN, :, :, 0]
            inside = stack["image"][INSIDE, :, :, 0] == 1
            assert int(((row == centre[0]) & (column == centre[1]) & inside).sum()) == 1


@pytest.mark.parametrize(
    ("centre", "rows", "columns"),
    [((20, 20, 0), range(2, 7), range(2, 7)), ((0, 39, 0), [1], [6]), ((39, 0, 0), [6], [1])],
)
def test_the_centre_is_in_the_middle_half_unless_an_eighth_of_the_crop_would_be_outside(
    centre: Voxel, rows: Sequence[int], columns: Sequence[int]
) -> None:
    data = case((40, 40, 1), 3.0, [centre])
    flat = int(np.ravel_multi_index(centre, (40, 40, 1))) + 1
    found = [
        (stack["label"][0, :, :, 0] == flat).nonzero().tolist() for stack in sampler((8, 8), num_samples=200)(data)
    ]
    assert {tuple(place) for (place,) in found} == {(row, column) for row in rows for column in columns}


def test_crops_are_zero_outside_the_volume_and_the_same_for_image_and_label() -> None:
    shape = (5, 4, 6)
    padded = 0
    for stack in sampler((8, 6), num_samples=20)(case(shape, 3.0, [(0, 3, 2), (4, 0, 5)])):
        inside, row, column, number = stack["image"].long()
        flat = (row * shape[1] + column) * shape[2] + number
        assert torch.equal(stack["label"][0], inside * (flat + 1))
        assert torch.equal(row, row * inside) and torch.equal(number, number * inside)
        for axis, coordinate in ((0, row), (1, column)):  # neighbours in the crop are neighbours in the volume
            both = inside.narrow(axis, 1, inside.shape[axis] - 1) * inside.narrow(axis, 0, inside.shape[axis] - 1)
            assert torch.equal(coordinate.diff(dim=axis) * both, both)
        padded += int((inside == 0).sum())
    assert padded > 0


def test_a_crop_larger_than_the_volume_contains_all_of_it() -> None:
    (stack,) = sampler((32, 32), slices=1, halo=0)(case((5, 4, 1), 3.0, [(2, 2, 0)]))
    assert int(stack["image"][INSIDE].sum()) == 20


def test_crops_are_plain_copies_of_the_same_type() -> None:
    data = case((4, 4, 1), 3.0, [(2, 2, 0)])
    data["label"] = data["label"].to(torch.uint8)
    (stack,) = sampler((4, 4), slices=1, halo=0)(data)
    assert stack["label"].dtype == torch.uint8
    assert type(stack["image"]) is torch.Tensor  # the volume's affine would be wrong for a crop
    stack["image"].fill_(-1)
    assert float(data["image"].min()) == 0


# --- centres ----------------------------------------------------------------------------------------------------------

LIVER, TUMOR = [(0, 1, 2), (2, 1, 0)], [(1, 1, 1)]


def test_classes_are_drawn_by_their_ratios_and_their_voxels_uniformly() -> None:
    drawn = centres(case((3, 3, 3), 3.0, LIVER, TUMOR), 800, ratios=[1.0, 3.0])
    assert set(drawn) == {*LIVER, *TUMOR}
    assert drawn.count(TUMOR[0]) == pytest.approx(600, abs=60)  # five standard deviations of 12
    assert drawn.count(LIVER[0]) == pytest.approx(100, abs=50)


def test_classes_that_the_case_lacks_are_skipped() -> None:
    assert set(centres(case((3, 3, 3), 3.0, [], TUMOR, []), 40, ratios=[8.0, 0.1, 3.0])) == set(TUMOR)


def test_a_class_of_ratio_zero_is_never_drawn() -> None:
    assert set(centres(case((3, 3, 3), 3.0, LIVER, TUMOR), 40, ratios=[1.0, 0.0])) == set(LIVER)


@pytest.mark.parametrize(("classes", "ratios"), [(([], []), [1.0, 1.0]), (([], TUMOR), [1.0, 0.0])])
def test_a_case_without_any_class_is_drawn_from_all_voxels(classes: Any, ratios: list[float]) -> None:
    drawn = centres(case((2, 2, 2), 3.0, *classes), 200, ratios=ratios)
    assert len(set(drawn)) == 8


def test_centres_come_from_the_indices_found_by_monai_and_never_from_label_4() -> None:
    data = case((3, 3, 3), 3.0)
    data["label"] = torch.zeros_like(data["label"])
    data["label"][0, 1, 1, 1], data["label"][0, 2, 2, 2] = 4, 3
    indexed = ClassesToIndicesd("label", num_classes=4, indices_postfix="_voxels")(data)
    stacks = RandSliceStacksd(["image", "label"], "label_voxels", [0.5, 0.2, 0.2, 0.5], (1, 1), 1, 0, num_samples=200)
    stacks.set_random_state(0)
    labels = [int(stack["label"]) for stack in stacks(indexed)]
    assert set(labels) == {0, 3}


# --- as a transform ---------------------------------------------------------------------------------------------------


def test_num_samples_different_stacks_are_returned_with_the_other_items() -> None:
    data = case((16, 16, 16), 3.0, []) | {"tumor_labelled": False}
    stacks = sampler(num_samples=6)(data)
    assert len(stacks) == 6
    assert len({int(stack["label"][0, 0, 0, 2]) for stack in stacks}) > 3
    added = {"slice_distance", "slice_thickness"}
    assert all(set(stack) == {"image", "label", "tumor_labelled"} | added for stack in stacks)
    assert set(data) == {"image", "label", "voxels", "tumor_labelled"}


def test_stacks_depend_only_on_the_random_state() -> None:
    data = case((16, 16, 16), 0.7, [])

    def draw(seed: int) -> torch.Tensor:
        transform = Compose([sampler((4, 4), num_samples=8)]).set_random_state(seed)
        return torch.stack([stack["image"] for stack in transform(data)])

    assert torch.equal(draw(3), draw(3))
    assert not torch.equal(draw(3), draw(4))


def test_a_cached_dataset_draws_new_stacks_each_time() -> None:
    dataset = CacheDataset([case((16, 16, 16), 3.0, [])], sampler(), num_workers=0, progress=False)
    drawn = {int(dataset[0][0]["label"][0, 0, 0, 2]) for _ in range(6)}
    assert len(drawn) > 3
