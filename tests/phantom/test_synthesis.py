"""Whole phantoms: reproducible, with a plausible liver on the right and lesions inside it."""

import time

import numpy as np
import pytest
from scipy import ndimage

from custom_networks.errors import UsageError
from custom_networks.phantom import Phantom, make_phantom

TINY = (64, 64, 24)
COARSE = (3.2, 3.2, 5.0)  # the default field of view on few voxels, so that many seeds take little time


def volume_ml(phantom: Phantom, *labels: int) -> float:
    """Volume of the voxels with one of the labels, ml."""
    return float(np.isin(phantom.label, labels).sum() * np.prod(phantom.spacing) / 1000)


def world(phantom: Phantom, mask: np.ndarray) -> np.ndarray:
    """Mean RAS position (mm) of a mask."""
    centre: np.ndarray = phantom.affine[:3, :3] @ np.argwhere(mask).mean(axis=0) + phantom.affine[:3, 3]
    return centre


@pytest.fixture(scope="module")
def default() -> Phantom:
    """A phantom of the default size."""
    return make_phantom(6)


@pytest.fixture(scope="module")
def coarse() -> list[Phantom]:
    """Phantoms of several seeds with the default field of view and coarse voxels."""
    return [make_phantom(seed, spacing=COARSE) for seed in range(5)]


def test_a_default_case_is_a_ct_of_common_size_with_the_three_labels(default: Phantom) -> None:
    nx, ny, nz = default.image.shape
    assert default.label.shape == default.image.shape
    assert (default.image.dtype, default.label.dtype) == (np.int16, np.uint8)
    assert 256 <= nx == ny <= 512 and 38 <= nz <= 118
    assert 1.0 <= default.spacing[0] == default.spacing[1] <= 1.7 and 1.9 <= default.spacing[2] <= 5.1
    assert set(np.unique(default.label)) == {0, 1, 2}
    assert -1024 <= default.image.min() < -950 and 400 < default.image.max() <= 3071
    assert 900 <= volume_ml(default, 1, 2) <= 2500


def test_the_spacing_agrees_with_the_affine(default: Phantom) -> None:
    np.testing.assert_allclose(np.linalg.norm(default.affine[:3, :3], axis=0), default.spacing)


def test_a_seed_always_makes_the_same_phantom_and_another_seed_another_one() -> None:
    first, again, other = (make_phantom(seed, shape=TINY) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.label, again.label)
    np.testing.assert_array_equal(first.affine, again.affine)
    assert (first.lesions, first.cysts) == (again.lesions, again.cysts)
    assert not np.array_equal(first.image, other.image)


def test_the_global_random_state_is_neither_used_nor_changed() -> None:
    np.random.seed(1)
    first = make_phantom(7, shape=TINY)
    after = np.random.random()
    np.random.seed(1)
    assert after == np.random.random()
    np.random.seed(2)
    np.testing.assert_array_equal(first.image, make_phantom(7, shape=TINY).image)


def test_the_liver_is_one_piece_of_plausible_volume_for_every_seed(coarse: list[Phantom]) -> None:
    for phantom in coarse:
        assert 900 <= volume_ml(phantom, 1, 2) <= 2500
        _, parts = ndimage.label(phantom.label > 0, np.ones((3, 3, 3)))
        assert parts == 1


def test_the_liver_is_on_the_right_the_spine_at_the_back_and_the_lungs_above(coarse: list[Phantom]) -> None:
    for phantom in coarse:
        body, bone = phantom.image > -300, phantom.image > 330
        bone &= np.abs(np.indices(bone.shape)[0] - bone.shape[0] / 2) < 12  # the spine, without ribs and kidneys
        centre = world(phantom, body)
        assert world(phantom, phantom.label > 0)[0] > centre[0] + 20
        assert world(phantom, bone)[1] < centre[1] - 10
        filled = ndimage.binary_fill_holes(body, structure=np.ones((3, 3, 1)))
        lung = ndimage.binary_opening((phantom.image < -600) & filled, iterations=3)
        assert lung.sum() * np.prod(phantom.spacing) > 3e5
        assert world(phantom, lung)[2] > centre[2] + 20


def test_upper_slices_have_more_air_in_the_body_than_lower_ones(default: Phantom) -> None:
    lung = (default.image > -950) & (default.image < -600)
    by_slice = lung.sum(axis=(0, 1))
    assert by_slice[-6:].mean() > 3 * by_slice[:6].mean()


@pytest.mark.parametrize("number", [0, 1, 4, 8])
def test_the_requested_number_of_lesions_is_drawn_and_labelled(number: int) -> None:
    phantom = make_phantom(21, shape=TINY, lesions=number)
    assert len(phantom.lesions) == number
    assert (phantom.label == 2).any() == (number > 0)
    inverse = np.linalg.inv(phantom.affine)
    for lesion in phantom.lesions:
        index = np.rint(inverse[:3, :3] @ lesion.centre_mm + inverse[:3, 3]).astype(int)
        assert phantom.label[tuple(index)] == 2
        assert 4 <= lesion.diameter_mm <= 60


def test_seeds_differ_in_number_and_kinds_of_lesions(coarse: list[Phantom]) -> None:
    numbers = {len(phantom.lesions) for phantom in coarse}
    assert numbers <= set(range(9)) and len(numbers) >= 4
    assert len({lesion.kind for phantom in coarse for lesion in phantom.lesions}) >= 4


def test_the_tumor_volume_in_the_truth_equals_that_of_the_lesions(coarse: list[Phantom]) -> None:
    compared = 0
    for phantom in coarse:
        expected = sum(np.pi / 6 * lesion.diameter_mm**3 for lesion in phantom.lesions) / 1000
        if expected > 5:
            compared += 1
            # Down to 85 percent: the liver's outline cuts those at its surface.
            assert 0.85 * expected <= volume_ml(phantom, 2) <= 1.05 * expected
    assert compared >= 4


def test_a_single_large_lesion_has_its_analytic_volume_and_other_hu_than_the_liver() -> None:
    for seed in (1, 2, 5):
        phantom = make_phantom(seed, spacing=COARSE, lesions=1)
        lesion = phantom.lesions[0]
        liver, tumor = (phantom.image[phantom.label == value] for value in (1, 2))
        if lesion.diameter_mm > 15:
            assert volume_ml(phantom, 2) == pytest.approx(np.pi / 6 * lesion.diameter_mm**3 / 1000, rel=0.15)
            assert abs(np.median(tumor) - np.median(liver)) > 10


def test_a_cyst_looks_like_water_and_is_liver_in_the_truth(coarse: list[Phantom]) -> None:
    cysts = [(phantom, cyst) for phantom in coarse for cyst in phantom.cysts if cyst.diameter_mm > 14]
    assert cysts, "no seed of these has a cyst: choose others"
    for phantom, cyst in cysts:
        inverse = np.linalg.inv(phantom.affine)
        i, j, k = np.rint(inverse[:3, :3] @ cyst.centre_mm + inverse[:3, 3]).astype(int)
        assert phantom.label[i, j, k] == 1
        assert abs(float(phantom.image[i - 1 : i + 2, j - 1 : j + 2, k].mean()) - 8) < 40


def test_a_tiny_phantom_with_the_whole_abdomen_takes_less_than_a_second() -> None:
    start = time.process_time()
    phantom = make_phantom(0, shape=TINY, spacing=(5.0, 5.0, 5.0), lesions=2)
    assert time.process_time() - start < 1
    assert phantom.image.shape == TINY and phantom.spacing == (5.0, 5.0, 5.0)
    liver = np.argwhere(phantom.label > 0)
    assert len(liver) > 2000
    assert (liver.min(axis=0) > 0).all() and (liver.max(axis=0) < np.array(TINY) - 1).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "seed must be 0 or more, got -1"),
        ({"seed": 0, "shape": (64, 64)}, r"got \(64, 64\)"),
        ({"seed": 0, "shape": (8, 64, 24)}, r"at least \(32, 32, 8\) voxels along its three axes, got \(8, 64, 24\)"),
        ({"seed": 0, "spacing": (1.0, 1.0, 0.0)}, r"0.1 to 20 mm along each axis, got"),
        ({"seed": 0, "spacing": (1.0, 1.0, float("nan"))}, r"0.1 to 20 mm along each axis, got"),
        ({"seed": 0, "lesions": 9}, "0 to 8 lesions, got 9"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_rule(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_phantom(**arguments)  # type: ignore[arg-type]
