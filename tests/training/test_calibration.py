"""The confidence model and the measures of calibration, on numbers that can be worked by hand."""

import math

import numpy as np
import pytest
from scipy.special import expit

from custom_networks.training.calibration import (
    LesionFeatures,
    brier_score,
    expected_calibration_error,
    fit_confidence,
    held_out_coefficients,
    reliability,
)
from custom_networks.transforms.predicted_lesions import lesion_confidence


def lesions(seed: int, count: int) -> LesionFeatures:
    random = np.random.default_rng(seed)
    mean = random.uniform(0.3, 0.9, count)
    return LesionFeatures(np.exp(random.uniform(3, 10, count)), mean, mean + random.uniform(0, 0.1, count))


def test_the_coefficients_that_made_the_data_are_found_again() -> None:
    known = {"intercept": -6.0, "log_volume": 0.6, "mean_probability": 3.0, "max_probability": 0.0}
    features = lesions(0, 20000)
    chance = lesion_confidence(*features, known)
    real = np.random.default_rng(1).random(20000) < chance
    fitted = fit_confidence(features, real)
    assert fitted["log_volume"] == pytest.approx(0.6, abs=0.03)
    assert np.abs(lesion_confidence(*features, fitted) - chance).mean() < 0.01


def test_equal_lesions_get_platts_share_of_real_ones() -> None:
    features = LesionFeatures(np.full(8, 50.0), np.full(8, 0.6), np.full(8, 0.9))
    real = np.array([True] * 6 + [False] * 2)
    # targets 7/8 for six and 1/4 for two: a mean of 0.71875
    fitted = fit_confidence(features, real)
    assert lesion_confidence(*features, fitted) == pytest.approx(np.full(8, 0.71875), abs=1e-4)


@pytest.mark.parametrize(("real", "expected"), [(True, 5 / 6), (False, 1 / 6)])
def test_lesions_of_one_kind_give_a_finite_answer(real: bool, expected: float) -> None:
    features = lesions(2, 4)
    fitted = fit_confidence(features, np.full(4, real))
    assert lesion_confidence(*features, fitted) == pytest.approx(np.full(4, expected), abs=1e-4)


def test_no_lesion_gives_one_half() -> None:
    nothing = LesionFeatures(np.zeros(0), np.zeros(0), np.zeros(0))
    fitted = fit_confidence(nothing, np.zeros(0, bool))
    assert lesion_confidence(*lesions(3, 2), fitted).tolist() == [0.5, 0.5]
    assert math.isnan(brier_score(np.zeros(0), np.zeros(0, bool)))
    assert math.isnan(expected_calibration_error(np.zeros(0), np.zeros(0, bool)))


def test_separable_lesions_give_finite_slopes() -> None:
    features = lesions(4, 40)
    fitted = fit_confidence(features, features.volume_mm3 > np.median(features.volume_mm3))
    assert all(math.isfinite(value) for value in fitted.values()) and 0.3 < fitted["log_volume"] < 10


def test_a_patients_own_lesions_have_no_part_in_its_model() -> None:
    features, owners = lesions(5, 30), ["a"] * 10 + ["b"] * 20
    real = np.random.default_rng(6).random(30) < 0.5
    models = held_out_coefficients(features, real, owners, ["a", "b", "c"])
    only_b = LesionFeatures(*(values[10:] for values in features))
    assert models["a"] == fit_confidence(only_b, real[10:])
    assert models["c"] == fit_confidence(features, real)
    changed = real.copy()
    changed[:10] = ~changed[:10]
    assert held_out_coefficients(features, changed, owners, ["a"])["a"] == models["a"]
    assert held_out_coefficients(features, changed, owners, ["b"])["b"] != models["b"]


def test_reliability_brier_and_calibration_error_by_hand() -> None:
    confidence = np.array([0.1, 0.2, 0.9, 1.0, 0.5])
    real = np.array([False, True, True, True, False])
    low, high = reliability(confidence, real, bins=2)
    assert (low.low, low.high, low.lesions) == (0.0, 0.5, 2) and (high.low, high.high, high.lesions) == (0.5, 1.0, 3)
    assert (low.mean_confidence, low.observed) == pytest.approx((0.15, 0.5))
    assert (high.mean_confidence, high.observed) == pytest.approx((0.8, 2 / 3))
    assert brier_score(confidence, real) == pytest.approx((0.01 + 0.64 + 0.01 + 0 + 0.25) / 5)
    assert expected_calibration_error(confidence, real, bins=2) == pytest.approx((2 * 0.35 + 3 * (0.8 - 2 / 3)) / 5)


def test_an_empty_bin_is_not_a_number_and_costs_nothing() -> None:
    confidence, real = np.array([0.25, 0.75]), np.array([False, True])
    table = reliability(confidence, real, bins=3)
    assert [entry.lesions for entry in table] == [1, 0, 1] and math.isnan(table[1].observed)
    assert expected_calibration_error(confidence, real, bins=3) == pytest.approx(0.25)


def test_a_calibrated_chance_has_a_small_error_and_the_raw_probability_a_large_one() -> None:
    features = lesions(7, 4000)
    real = np.random.default_rng(8).random(4000) < expit(np.log(features.volume_mm3) - 7)
    confidence = lesion_confidence(*features, fit_confidence(features, real))
    assert expected_calibration_error(confidence, real) < 0.03
    assert expected_calibration_error(features.mean_probability, real) > 0.1
