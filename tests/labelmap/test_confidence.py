"""The terms of a lesion's confidence on shapes that can be worked by hand, and the logistic formula."""

from math import log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_networks.labelmap.confidence import TERMS, centroid, lesion_confidence, lesion_terms
from custom_networks.labelmap.labels import Floats
from custom_networks.labelmap.lesions import list_lesions

ORIGIN = np.zeros(3)


def terms_of(*shapes: tuple[slice, slice, slice], affine: Floats = np.eye(4), centre: Floats = ORIGIN) -> Floats:
    """The terms of boxes at a tumor probability of 0.6, in a map of 40 x 30 x 20 voxels."""
    numbers = np.zeros((40, 30, 20), np.uint8)
    for number, shape in enumerate(shapes, start=1):
        numbers[shape] = number
    return lesion_terms(numbers, np.full(numbers.shape, 153, np.uint8), centre, affine)


def test_a_cube_is_not_elongated_and_a_box_is_by_its_sides() -> None:
    cube = slice(2, 6), slice(3, 7), slice(4, 8)
    rod = slice(10, 22), slice(0, 3), slice(0, 2)  # a^2 / (b c) = 144 / 6, because moments of a box go with its sides
    plate = slice(10, 20), slice(10, 20), slice(10, 11)  # 100 / 10
    terms = terms_of(cube, rod, plate)
    assert dict(zip(TERMS, terms[0]))["mean_probability"] == pytest.approx(0.6)
    assert terms[:, 1] == pytest.approx([0.0, log(24), log(10)])


def test_the_distance_is_in_mm_from_centroid_to_centroid() -> None:
    affine = np.diag([2.0, 1.0, 5.0, 1.0])
    lesion = slice(10, 13), slice(4, 5), slice(6, 8)  # centroid (11, 4, 6.5)
    (terms,) = terms_of(lesion, affine=affine, centre=np.array([8.0, 8.0, 5.7]))
    assert terms[2] == pytest.approx(sqrt(6**2 + 4**2 + 4**2))


def test_a_single_voxel_has_the_shape_of_a_voxel() -> None:
    (terms,) = terms_of((slice(3, 4),) * 3, affine=np.diag([1.0, 1.0, 4.0, 1.0]))
    assert terms[1] == pytest.approx(log(16))


@given(seed=st.integers(0, 2**32 - 1))
def test_turning_and_moving_the_scan_changes_no_term(seed: int) -> None:
    random = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(random.normal(size=(3, 3)))
    affine = np.diag([0.8, 1.1, 3.0, 1.0])
    turned = np.eye(4)
    turned[:3, :3], turned[:3, 3] = turn @ affine[:3, :3], random.normal(size=3) * 100
    boxes = (slice(2, 9), slice(3, 7), slice(4, 8)), (slice(20, 22), slice(3, 17), slice(10, 12))
    centre = np.array([12.0, 9.0, 11.0])
    assert terms_of(*boxes, affine=turned, centre=centre) == pytest.approx(
        terms_of(*boxes, affine=affine, centre=centre)
    )


def test_the_centroid_is_the_mean_index() -> None:
    mask = np.zeros((6, 5, 4), bool)
    mask[1, 2, 3] = mask[4, 2, 0] = mask[4, 4, 0] = True
    assert centroid(mask) == pytest.approx([3, 8 / 3, 1])


def test_lesions_are_measured_from_the_centre_of_the_whole_organ() -> None:
    labels = np.zeros((30, 20, 10), np.uint8)
    labels[4:14, 5:15, 2:8] = 1  # with the lesion, centroid (8.5, 9.5, 4.5)
    labels[12:14, 9:11, 4:6] = 2  # centroid (12.5, 9.5, 4.5)
    probabilities = np.zeros((2, *labels.shape), np.uint8)
    lesions = list_lesions(labels, probabilities, np.diag([2.0, 1.0, 1.0, 1.0]), margin_mm=3.0)
    assert lesions.terms[:, 2] == pytest.approx([8.0])


def test_the_confidence_is_a_logistic_function_of_the_terms() -> None:
    terms = np.array([[0.9, 1.0, 10.0], [0.5, 0.0, 40.0]])
    coefficients = {"intercept": -4.0, "mean_probability": 6.0, "log_elongation": -0.5, "distance_mm": -0.02}
    expected = [1 / (1 + np.exp(-0.7)), 1 / (1 + np.exp(1.8))]  # -4 + 5.4 - .5 - .2 = .7; -4 + 3 - .8 = -1.8
    assert lesion_confidence(terms, coefficients) == pytest.approx(expected)
    assert lesion_confidence(terms, {"intercept": 0.0}) == pytest.approx([0.5, 0.5])
    assert lesion_confidence(terms) == pytest.approx([0.9, 0.5])
