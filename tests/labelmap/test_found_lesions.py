"""Predicted lesions, their confidence, and which of them are kept; voxels of 1 mm3 unless stated otherwise."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from test_organ import MM, Array, add_lesion, liver_block, spaced

from custom_networks.errors import UsageError
from custom_networks.labelmap.lesions import FoundLesion, find_lesions, list_lesions
from custom_networks.transforms import FindLesionsd

COEFFICIENTS = {"intercept": -4.0, "mean_probability": 6.0}


def cleaned_labels(labels: Array, probabilities: Array, *arguments: Any, **options: Any) -> Array:
    """The label map that `find_lesions` returns."""
    return find_lesions(labels, probabilities, *arguments, **options)[0]


CORE = (slice(15, 20), slice(15, 20), slice(8, 12))  # 100 mm3


def test_size_limit_turns_tiny_lesions_into_liver() -> None:
    labels, probabilities = liver_block()
    add_lesion(labels, probabilities, CORE)
    add_lesion(labels, probabilities, (slice(25, 27), slice(25, 27), slice(8, 10)))  # 8 mm3
    cleaned = cleaned_labels(labels, probabilities, MM, min_lesion_mm3=30.0)
    assert (cleaned[CORE] == 2).all() and (cleaned == 2).sum() == 100 and (cleaned > 0).sum() == 4000
    assert (cleaned_labels(labels, probabilities, MM, min_lesion_mm3=8.0) == 2).sum() == 108
    assert (cleaned_labels(labels, probabilities, spaced(1.0, 1.0, 5.0), min_lesion_mm3=40.0) == 2).sum() == 108


def test_a_lesion_in_too_few_thin_slices_becomes_liver() -> None:
    labels, probabilities = liver_block()
    add_lesion(labels, probabilities, CORE)  # 4 slices
    add_lesion(labels, probabilities, (slice(22, 30), slice(22, 30), slice(8, 9)))  # 64 voxels in one slice
    for slice_mm, kept in ((1.0, False), (2.9, False), (3.0, True)):
        cleaned = cleaned_labels(labels, probabilities, spaced(1.0, 1.0, slice_mm), min_lesion_height_mm=3.0)
        assert (cleaned[CORE] == 2).all() and (cleaned[25, 25, 8] == 2) == kept and cleaned[25, 25, 8] > 0
    upright = np.diag([0.4, 1.0, 1.0, 1.0])[[2, 1, 0, 3]]  # heights: 5 and 8 voxels of .4 mm
    cleaned = cleaned_labels(labels, probabilities, upright, min_lesion_mm3=0.0, min_lesion_height_mm=3.0)
    assert (cleaned == 2).sum() == 64


def test_low_mean_confidence_turns_a_lesion_into_liver() -> None:
    labels, probabilities = liver_block()
    add_lesion(labels, probabilities, CORE, confidence=102)  # 0.4
    probabilities[1, 15, 15:20, 8:12] = 204  # a fifth of it at 0.8: 0.48 in the mean
    assert (cleaned_labels(labels, probabilities, MM, min_lesion_confidence=0.47)[CORE] == 2).all()
    assert (cleaned_labels(labels, probabilities, MM, min_lesion_confidence=0.49)[CORE] == 1).all()


def test_lesions_outside_the_liver_become_background() -> None:
    labels, probabilities = liver_block()
    add_lesion(labels, probabilities, (slice(35, 39), slice(15, 20), slice(8, 12)))  # 6 mm from the liver
    assert (cleaned_labels(labels, probabilities, MM, capsule_mm=5.9)[35:39] == 0).all()
    assert (cleaned_labels(labels, probabilities, MM, capsule_mm=6.0) == 2).sum() == 80


def test_an_exophytic_tumor_is_kept_in_full() -> None:
    labels, probabilities = liver_block()
    add_lesion(labels, probabilities, (slice(28, 40), slice(15, 25), slice(6, 14)))  # 10 of its 12 mm are outside
    assert np.array_equal(cleaned_labels(labels, probabilities, MM, capsule_mm=2.0), labels)


def test_a_tumor_all_around_the_liver_is_kept() -> None:
    labels, probabilities = liver_block()
    add_lesion(labels, probabilities, (slice(10, 25), slice(10, 30), slice(5, 15)))  # three quarters of the organ
    assert np.array_equal(cleaned_labels(labels, probabilities, MM, capsule_mm=2.0), labels)


def test_a_large_lesion_inside_the_liver_is_kept_whole() -> None:
    labels, probabilities = liver_block()
    add_lesion(labels, probabilities, (slice(11, 29), slice(11, 29), slice(6, 14)))
    assert np.array_equal(cleaned_labels(labels, probabilities, MM, capsule_mm=1.0), labels)


def test_without_liver_every_lesion_is_outside() -> None:
    labels, probabilities = liver_block()
    assert cleaned_labels(labels * np.uint8(2), probabilities, MM).sum() == 0


# --- the list and the confidence


def test_lesions_are_listed_with_volume_and_probabilities() -> None:
    labels, probabilities = liver_block()
    add_lesion(labels, probabilities, (slice(12, 14), slice(12, 14), slice(6, 8)), confidence=102)  # 8 voxels at 0.4
    probabilities[1, 12, 12, 6] = 204  # one of them at 0.8
    add_lesion(labels, probabilities, (slice(20, 23), slice(20, 21), slice(9, 10)), confidence=255)
    labels[14, 14, 8] = 2  # touches the first by a corner, at 20 / 255
    lesions = list_lesions(labels, probabilities, spaced(1.0, 2.0, 3.0))
    assert lesions.volume_mm3.tolist() == [9 * 6, 3 * 6]
    assert lesions.mean_probability == pytest.approx([(7 * 0.4 + 0.8 + 20 / 255) / 9, 1.0])
    assert lesions.box == (slice(12, 23), slice(12, 21), slice(6, 10))
    assert [(lesions.numbers == number).sum() for number in (1, 2)] == [9, 3]


def test_without_coefficients_the_confidence_is_the_mean_tumor_probability() -> None:
    labels, probabilities = liver_block()
    add_lesion(labels, probabilities, CORE, confidence=102)
    lesions = list_lesions(labels, probabilities, MM)
    assert lesions.confidence == pytest.approx([0.4])


def test_a_liver_without_lesions_lists_none() -> None:
    labels, probabilities = liver_block()
    lesions = list_lesions(labels, probabilities, MM, COEFFICIENTS, margin_mm=5.0)
    assert lesions.numbers.size == 0 and lesions.volume_mm3.shape == lesions.confidence.shape == (0,)


def test_a_margin_widens_the_box_and_changes_no_lesion() -> None:
    labels, probabilities = liver_block()
    add_lesion(labels, probabilities, CORE)
    near, wide = (list_lesions(labels, probabilities, spaced(1.0, 1.0, 5.0), margin_mm=mm) for mm in (0.0, 6.0))
    assert wide.box == (slice(9, 26), slice(9, 26), slice(6, 14))
    assert near.volume_mm3.tolist() == wide.volume_mm3.tolist() == [500]


def test_the_calibrated_confidence_decides_which_lesions_are_kept() -> None:
    labels, probabilities = liver_block()
    add_lesion(labels, probabilities, CORE, confidence=102)  # 100 mm3 at 0.4
    stricter = {"intercept": -3.0, "mean_probability": 5.0}  # 1 / (1 + e) = 0.269
    for least, left in ((0.26, 100), (0.28, 0)):
        cleaned = cleaned_labels(labels, probabilities, MM, min_lesion_confidence=least, coefficients=stricter)
        assert (cleaned == 2).sum() == left


def test_a_coefficient_of_another_name_is_refused() -> None:
    with pytest.raises(UsageError, match="got volume"):
        FindLesionsd(confidence_coefficients={"intercept": 1.0, "volume": 2.0})


@pytest.mark.parametrize("coefficients", [{"intercept": None}, {"mean_probability": float("nan")}, [1.0, 2.0], 3.0])
def test_coefficients_that_are_no_finite_numbers_are_refused(coefficients: Any) -> None:
    with pytest.raises(UsageError, match="must be finite numbers by name, got .*: correct them"):
        FindLesionsd(confidence_coefficients=coefficients)


# --- the lesions that count, numbered


def three_lesions() -> tuple[Array, Array]:
    """Lesions of 8, 100 and 8 voxels in the order of the scan, and one of 2 voxels, which is below 5 mm3."""
    labels, probabilities = liver_block()
    for where in (slice(12, 14), slice(25, 27)):
        add_lesion(labels, probabilities, (where, slice(25, 27), slice(6, 8)), confidence=204)
    add_lesion(labels, probabilities, CORE, confidence=255)
    add_lesion(labels, probabilities, (slice(22, 24), slice(12, 13), slice(6, 7)))
    return labels, probabilities


def test_kept_lesions_are_numbered_by_size_and_equal_ones_in_scan_order() -> None:
    labels, probabilities = three_lesions()
    cleaned, lesions = find_lesions(labels, probabilities, spaced(1, 1, 2), min_lesion_mm3=5.0)
    assert lesions.listed() == (
        FoundLesion(1, 200.0, 1.0, 1.0),
        FoundLesion(2, 16.0, pytest.approx(0.8), pytest.approx(0.8)),
        FoundLesion(3, 16.0, pytest.approx(0.8), pytest.approx(0.8)),
    )
    numbers = lesions.number_map(labels.shape)
    assert numbers.dtype == np.uint8 and numbers.shape == labels.shape
    assert (numbers[CORE] == 1).all() and numbers[12, 25, 6] == 2 and numbers[25, 25, 6] == 3
    assert np.array_equal(numbers > 0, cleaned == 2) and cleaned[22, 12, 6] == 1


def test_more_than_255_lesions_are_numbered_in_int32() -> None:
    labels = np.ones((40, 40, 2), np.uint8)
    labels[::2, ::2, 0] = 2  # 400 of one voxel
    probabilities = np.full((2, 40, 40, 2), 255, np.uint8)
    _, lesions = find_lesions(labels, probabilities, MM, min_lesion_mm3=0.0)
    numbers = lesions.number_map(labels.shape)
    assert numbers.dtype == np.int32 and numbers.max() == len(lesions.listed()) == 400
    assert numbers[::2, ::2, 0].ravel().tolist() == list(range(1, 401))


def test_without_kept_lesions_the_number_map_is_empty() -> None:
    labels, probabilities = three_lesions()
    for tumor in (labels, np.minimum(labels, 1)):
        _, lesions = find_lesions(tumor, probabilities, MM, min_lesion_mm3=1000.0)
        assert lesions.listed() == () and not lesions.number_map(labels.shape).any()


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), flipped=st.sets(st.integers(0, 2)), order=st.permutations(range(3)))
def test_rotating_and_mirroring_the_grid_changes_no_lesion(seed: int, flipped: set[int], order: list[int]) -> None:
    random = np.random.default_rng(seed)
    labels = np.where(random.random((9, 8, 7)) < 0.06, 2, 1).astype(np.uint8)
    probabilities = random.integers(0, 256, (2, 9, 8, 7), np.uint8)
    affine = np.diag([1.0, 2.0, 0.5, 1.0])
    _, known = find_lesions(labels, probabilities, affine, min_lesion_mm3=2.0)

    def moved(array: Array) -> Array:
        return np.flip(array, sorted(flipped)).transpose(order)

    signs = np.diag([-1.0 if axis in flipped else 1.0 for axis in range(3)])
    turned = np.eye(4)
    turned[:3, :3] = (affine[:3, :3] @ signs)[:, order]
    other = np.stack([moved(channel) for channel in probabilities])
    _, lesions = find_lesions(moved(labels), other, turned, min_lesion_mm3=2.0)
    assert lesions.volume_mm3.tolist() == known.volume_mm3.tolist()
    # Lesions of equal size may change places, because their order is that of the scan.
    numbers, expected = lesions.number_map(moved(labels).shape), moved(known.number_map(labels.shape))
    assert np.array_equal(numbers > 0, expected > 0)
    unique = [i + 1 for i, volume in enumerate(known.volume_mm3) if (known.volume_mm3 == volume).sum() == 1]
    assert all(np.array_equal(numbers == number, expected == number) for number in unique)


@pytest.mark.parametrize(("least", "kept"), [(29.9, True), (30.1, False)])
def test_volumes_on_a_sheared_grid_use_the_volume_of_its_voxels(least: float, kept: bool) -> None:
    labels, probabilities = liver_block()
    add_lesion(labels, probabilities, (slice(15, 18), slice(15, 17), slice(8, 10)))  # 12 voxels of 1 x 1 x 2.5 mm
    sheared = spaced(1, 1, 2.5)
    sheared[1, 2] = 0.7  # slices 2.6 mm apart along the shear, still 2.5 mm from plane to plane
    assert (cleaned_labels(labels, probabilities, sheared, min_lesion_mm3=least) == 2).any() == kept


@pytest.mark.parametrize("degrees", range(0, 90, 7))
def test_a_lesion_of_exactly_the_minimum_volume_is_kept_on_any_rotated_grid(degrees: int) -> None:
    labels, probabilities = liver_block()
    add_lesion(labels, probabilities, (slice(15, 17), slice(15, 16), slice(8, 9)))  # 2 voxels of 15 mm3
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn * [5.0, 1.0, 3.0]
    assert (cleaned_labels(labels, probabilities, affine, min_lesion_mm3=30.0) == 2).sum() == 2


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), density=st.sampled_from([0.02, 0.1, 0.3]))
def test_the_list_agrees_with_scipys_own_measurements(seed: int, density: float) -> None:
    random = np.random.default_rng(seed)
    labels = np.where(random.random((9, 8, 7)) < density, 2, 1).astype(np.uint8)
    probabilities = random.integers(0, 256, (2, 9, 8, 7), np.uint8)
    lesions = list_lesions(labels, probabilities, spaced(1.0, 2.0, 0.5), margin_mm=1.0)
    components, count = ndimage.label(labels == 2, np.ones((3, 3, 3)))
    numbers = np.arange(1, count + 1)
    tumor = probabilities[1] / 255
    assert lesions.volume_mm3 == pytest.approx(ndimage.sum_labels(labels == 2, components, numbers))
    assert lesions.mean_probability == pytest.approx(np.asarray(ndimage.mean(tumor, components, numbers)))
