"""How likely a predicted lesion is real: a logistic model fitted on held-out cases, and how far its word can be taken.

`fit_confidence` gives the coefficients of `predicted_lesions.lesion_confidence`. A model that is judged on the lesions
it was fitted on looks better than it is: `held_out_coefficients` fits one a patient, on all others.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from custom_networks.labelmap.labels import Floats, Mask
from custom_networks.labelmap.lesions import CONFIDENCE_TERMS, Coefficients

BINS = 10


class ReliabilityBin(NamedTuple):
    """Lesions whose confidence lies in [low, high): how many, their mean confidence, and the share that is real."""

    low: float
    high: float
    lesions: int
    mean_confidence: float
    observed: float


def fit_confidence(mean_probability: Floats, real: Mask, ridge: float = 1.0) -> dict[str, float]:
    """Fit the logistic model of `lesion_confidence`.

    Maximum likelihood with a Gaussian prior on the slope of the standardised probability (`ridge` is its inverse
    variance), for lesions are few; and with Platt's targets, (N+ + 1) / (N+ + 2) and 1 / (N- + 2) in place of 1 and 0,
    so that lesions which are all real, or all false, still give a finite answer (Platt, Advances in Large Margin
    Classifiers, 1999).

    Args:
        mean_probability: (n,) mean tumor probability of each lesion, 0 to 1.
        real: (n,) whether each touches a true lesion.
        ridge: strength of the prior, 0 or more.

    Returns:
        Coefficient by name, all CONFIDENCE_TERMS; without any lesion all are 0, a confidence of one half.
    """
    if not real.size:
        return dict.fromkeys(CONFIDENCE_TERMS, 0.0)
    centre, scale = mean_probability.mean(), mean_probability.std()
    scale = scale if scale > 1e-9 else 1.0
    standard = (mean_probability - centre) / scale
    n_real = int(real.sum())
    targets = np.where(real, (n_real + 1) / (n_real + 2), 1 / (real.size - n_real + 2))

    def loss(weights: Floats) -> tuple[float, Floats]:
        score, slope = weights[0] + weights[1] * standard, weights[1]
        excess = expit(score) - targets
        likelihood = np.logaddexp(0, score) - targets * score
        return likelihood.sum() + ridge / 2 * slope**2, np.array([excess.sum(), standard @ excess + ridge * slope])

    intercept, slope = minimize(loss, np.zeros(2), jac=True, method="BFGS").x
    return dict(zip(CONFIDENCE_TERMS, (float(intercept - slope / scale * centre), float(slope / scale))))


def held_out_coefficients(
    mean_probability: Floats, real: Mask, owners: Sequence[str], patients: Iterable[str]
) -> dict[str, Coefficients]:
    """For each patient the model of all other patients' lesions.

    Args:
        mean_probability: (n,) mean tumor probability of each lesion, 0 to 1.
        real: (n,) whether each touches a true lesion.
        owners: the patient of each lesion.
        patients: all patients, those without any lesion too.

    Returns:
        Coefficients by patient.
    """
    others = {patient: np.array([owner != patient for owner in owners], bool) for patient in set(patients)}
    return {patient: fit_confidence(mean_probability[them], real[them]) for patient, them in others.items()}


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
