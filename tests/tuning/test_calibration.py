"""The confidence model and the measures of calibration, on numbers that can be worked by hand."""

import math

import numpy as np
import pytest
from scipy.special import expit

from custom_networks.labelmap.confidence import lesion_confidence
from custom_networks.labelmap.labels import Floats
from custom_networks.tuning.calibration import (
    brier_score,
    expected_calibration_error,
    fit_confidence,
    held_out_coefficients,
    reliability,
)


def random_terms(seed: int, count: int) -> Floats:
    """Terms (n, 3): probabilities from 0.3 to 0.9, elongations and distances."""
    return np.random.default_rng(seed).uniform([0.3, 0.0, 5.0], [0.9, 3.0, 120.0], (count, 3))


def test_the_coefficients_that_generated_the_data_are_recovered() -> None:
    known = {"intercept": -3.0, "mean_probability": 10.0, "log_elongation": -0.8, "distance_mm": -0.03}
    terms = random_terms(0, 40000)
    chance = lesion_confidence(terms, known)
    real = np.random.default_rng(1).random(40000) < chance
    fitted = fit_confidence(terms, real)
    assert fitted == pytest.approx(known, rel=0.05)
    assert np.abs(lesion_confidence(terms, fitted) - chance).mean() < 0.01


def test_equal_lesions_get_the_share_of_real_ones_after_platt() -> None:
    terms = np.tile([0.6, 1.0, 50.0], (8, 1))
    real = np.array([True] * 6 + [False] * 2)
    # targets 7/8 for six and 1/4 for two: a mean of 0.71875
    assert lesion_confidence(terms, fit_confidence(terms, real)) == pytest.approx(np.full(8, 0.71875), abs=1e-4)


@pytest.mark.parametrize(("real", "expected"), [(True, 5 / 6), (False, 1 / 6)])
def test_lesions_of_one_kind_give_a_finite_answer(real: bool, expected: float) -> None:
    terms = np.tile(random_terms(2, 1), (4, 1))
    fitted = fit_confidence(terms, np.full(4, real))
    assert lesion_confidence(terms, fitted) == pytest.approx(np.full(4, expected), abs=1e-4)


def test_without_lesions_the_confidence_is_one_half() -> None:
    fitted = fit_confidence(np.zeros((0, 3)), np.zeros(0, bool))
    assert lesion_confidence(random_terms(3, 2), fitted).tolist() == [0.5, 0.5]
    assert math.isnan(brier_score(np.zeros(0), np.zeros(0, bool)))
    assert math.isnan(expected_calibration_error(np.zeros(0), np.zeros(0, bool)))


def test_separable_lesions_give_a_finite_slope() -> None:
    terms = random_terms(4, 40)
    fitted = fit_confidence(terms, terms[:, 0] > np.median(terms[:, 0]))
    assert 5 < fitted["mean_probability"] < 100


def test_a_patients_own_lesions_are_left_out_of_its_model() -> None:
    terms, owners = random_terms(5, 30), ["a"] * 10 + ["b"] * 20
    real = np.random.default_rng(6).random(30) < 0.5
    models = held_out_coefficients(terms, real, owners, ["a", "b", "c"])
    assert models["a"] == fit_confidence(terms[10:], real[10:])
    assert models["c"] == fit_confidence(terms, real)
    changed = real.copy()
    changed[:10] = ~changed[:10]
    assert held_out_coefficients(terms, changed, owners, ["a"])["a"] == models["a"]
    assert held_out_coefficients(terms, changed, owners, ["b"])["b"] != models["b"]


def test_reliability_brier_and_calibration_error_by_hand() -> None:
    confidence = np.array([0.1, 0.2, 0.9, 1.0, 0.5])
    real = np.array([False, True, True, True, False])
    low, high = reliability(confidence, real, bins=2)
    assert (low.low, low.high, low.lesions) == (0.0, 0.5, 2) and (high.low, high.high, high.lesions) == (0.5, 1.0, 3)
    assert (low.mean_confidence, low.observed) == pytest.approx((0.15, 0.5))
    assert (high.mean_confidence, high.observed) == pytest.approx((0.8, 2 / 3))
    assert brier_score(confidence, real) == pytest.approx((0.01 + 0.64 + 0.01 + 0 + 0.25) / 5)
    assert expected_calibration_error(confidence, real, bins=2) == pytest.approx((2 * 0.35 + 3 * (0.8 - 2 / 3)) / 5)


def test_an_empty_bin_is_nan_and_does_not_count() -> None:
    confidence, real = np.array([0.25, 0.75]), np.array([False, True])
    table = reliability(confidence, real, bins=3)
    assert [entry.lesions for entry in table] == [1, 0, 1] and math.isnan(table[1].observed)
    assert expected_calibration_error(confidence, real, bins=3) == pytest.approx(0.25)


def test_a_calibrated_chance_has_a_small_error_and_the_raw_probability_a_large_one() -> None:
    terms = random_terms(7, 4000)
    mean = terms[:, 0]
    real = np.random.default_rng(8).random(4000) < expit(20 * mean - 14)
    confidence = lesion_confidence(terms, fit_confidence(terms, real))
    assert expected_calibration_error(confidence, real) < 0.03
    assert expected_calibration_error(mean, real) > 0.1
