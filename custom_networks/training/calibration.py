"""How likely a predicted lesion is real: a logistic model fitted on held-out cases, and how far its word can be taken.

`fit_confidence` gives the coefficients of `predicted_lesions.lesion_confidence`. A model that is judged on the lesions
it was fitted on looks better than it is: `held_out_coefficients` fits one a patient, on all others.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from custom_networks.transforms.anatomy import Mask
from custom_networks.transforms.predicted_lesions import CONFIDENCE_TERMS, Coefficients, Floats

BINS = 10


class LesionFeatures(NamedTuple):
    """Predicted lesions of any number of cases: (n,) volumes in mm3, mean and largest tumor probabilities, 0 to 1."""

    volume_mm3: Floats
    mean_probability: Floats
    max_probability: Floats


class ReliabilityBin(NamedTuple):
    """Lesions whose confidence lies in [low, high): how many, their mean confidence, and the share that is real."""

    low: float
    high: float
    lesions: int
    mean_confidence: float
    observed: float


def fit_confidence(features: LesionFeatures, real: Mask, ridge: float = 1.0) -> dict[str, float]:
    """Fit the logistic model of `lesion_confidence`.

    Maximum likelihood with a Gaussian prior on the slopes of the standardised features (`ridge` is its inverse
    variance), for lesions are few; and with Platt's targets, (N+ + 1) / (N+ + 2) and 1 / (N- + 2) in place of 1 and 0,
    so that lesions which are all real, or all false, still give a finite answer (Platt, Advances in Large Margin
    Classifiers, 1999).

    Args:
        features: lesions (n).
        real: (n,) whether each touches a true lesion.
        ridge: strength of the prior, 0 or more.

    Returns:
        Coefficient by name, all CONFIDENCE_TERMS; without any lesion all are 0, a confidence of one half.
    """
    if not real.size:
        return dict.fromkeys(CONFIDENCE_TERMS, 0.0)
    raw = np.column_stack([np.log(features.volume_mm3), features.mean_probability, features.max_probability])
    centre, scale = raw.mean(axis=0), raw.std(axis=0)
    scale[scale < 1e-9] = 1.0
    standard = np.column_stack([np.ones(real.size), (raw - centre) / scale])
    n_real = int(real.sum())
    targets = np.where(real, (n_real + 1) / (n_real + 2), 1 / (real.size - n_real + 2))

    def loss(weights: Floats) -> tuple[float, Floats]:
        score, slopes = standard @ weights, np.array([0.0, *weights[1:]])
        likelihood = np.logaddexp(0, score) - targets * score
        return likelihood.sum() + ridge / 2 * slopes @ slopes, standard.T @ (expit(score) - targets) + ridge * slopes

    weights = minimize(loss, np.zeros(standard.shape[1]), jac=True, method="BFGS").x
    slopes = weights[1:] / scale
    return {name: float(value) for name, value in zip(CONFIDENCE_TERMS, (weights[0] - slopes @ centre, *slopes))}


def held_out_coefficients(
    features: LesionFeatures, real: Mask, owners: Sequence[str], patients: Iterable[str]
) -> dict[str, Coefficients]:
    """For each patient the model of all other patients' lesions.

    Args:
        features: lesions (n).
        real: (n,) whether each touches a true lesion.
        owners: the patient of each lesion.
        patients: all patients, those without any lesion too.

    Returns:
        Coefficients by patient.
    """
    owner = np.array(owners, dtype=object)
    models: dict[str, Coefficients] = {}
    for patient in set(patients):
        others = owner != patient
        models[patient] = fit_confidence(LesionFeatures(*(values[others] for values in features)), real[others])
    return models


def brier_score(confidence: Floats, real: Mask) -> float:
    """Mean squared distance of confidence from truth (Brier 1950): 0 is best, one half said of all gives 0.25."""
    return float(np.mean((confidence - real) ** 2)) if real.size else float("nan")


def reliability(confidence: Floats, real: Mask, bins: int = BINS) -> list[ReliabilityBin]:
    """Predicted against observed in equally wide bins of confidence; nan for both where a bin holds no lesion."""
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    table = []
    for number in range(bins):
        here = index == number
        means = (float(confidence[here].mean()), float(real[here].mean())) if here.any() else (np.nan, np.nan)
        table.append(ReliabilityBin(number / bins, (number + 1) / bins, int(here.sum()), *means))
    return table


def expected_calibration_error(confidence: Floats, real: Mask, bins: int = BINS) -> float:
    """Mean gap between predicted and observed over the bins, by the lesions in them (Guo et al., ICML 2017)."""
    if not real.size:
        return float("nan")
    filled = [entry for entry in reliability(confidence, real, bins) if entry.lesions]
    return sum(entry.lesions * abs(entry.mean_confidence - entry.observed) for entry in filled) / real.size
