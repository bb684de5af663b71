"""Calibrate the confidence in lesions: fit a logistic model on held-out cases, and measure how reliable it is.

`fit_confidence` gives the coefficients of `lesion_confidence`. A model evaluated on the lesions it was fitted on looks
too good, so `held_out_coefficients` fits one for each patient, on all others.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from custom_networks.labelmap.confidence import COEFFICIENTS, Coefficients
from custom_networks.labelmap.labels import Floats, Mask

BINS = 10


class ReliabilityBin(NamedTuple):
    """Lesions with a confidence in [low, high): their number, their mean confidence, and the share that is real.

    The last bin includes a confidence of 1.
    """

    low: float
    high: float
    lesions: int
    mean_confidence: float
    observed: float


def fit_confidence(terms: Floats, real: Mask, ridge: float = 1.0) -> dict[str, float]:
    """Fit the logistic model of `lesion_confidence`.

    It maximises the likelihood, with a Gaussian prior on the slopes of the standardised terms (`ridge` is its inverse
    variance) because lesions are few, and with Platt's targets (N+ + 1) / (N+ + 2) and 1 / (N- + 2) instead of 1 and
    0, so that the answer is finite even if all lesions are real or all false (Platt, Advances in Large Margin
    Classifiers, 1999).

    Args:
        terms: (n, 3) the terms of each lesion; see `lesion_terms`.
        real: (n,) whether each lesion shares a voxel with a true one.
        ridge: strength of the prior, 0 or more.

    Returns:
        The coefficients by the names in COEFFICIENTS; without any lesion all are 0, which means a confidence of 0.5.
    """
    if not real.size:
        return dict.fromkeys(COEFFICIENTS, 0.0)
    centre, scale = terms.mean(axis=0), terms.std(axis=0)
    scale = np.where(scale > 1e-9, scale, 1.0)
    standard = (terms - centre) / scale
    n_real = int(real.sum())
    targets = np.where(real, (n_real + 1) / (n_real + 2), 1 / (real.size - n_real + 2))

    def loss(weights: Floats) -> tuple[float, Floats]:
        slopes = weights[1:]
        score = weights[0] + standard @ slopes
        excess = expit(score) - targets
        likelihood = float((np.logaddexp(0, score) - targets * score).sum())
        gradient = np.array([excess.sum(), *(excess @ standard + ridge * slopes)])
        return likelihood + ridge / 2 * float(slopes @ slopes), gradient

    intercept, *slopes = minimize(loss, np.zeros(1 + terms.shape[1]), jac=True, method="BFGS").x
    slopes = np.array(slopes) / scale
    return dict(zip(COEFFICIENTS, (float(intercept - slopes @ centre), *slopes.tolist())))


def held_out_coefficients(
    terms: Floats, real: Mask, owners: Sequence[str], patients: Iterable[str]
) -> dict[str, Coefficients]:
    """For each patient, the coefficients of the model fitted on the lesions of all other patients.

    Args:
        terms: (n, 3) the terms of each lesion; see `lesion_terms`.
        real: (n,) whether each lesion shares a voxel with a true one.
        owners: the patient of each lesion.
        patients: all patients, including those without lesions.

    Returns:
        Coefficients by patient.
    """
    others = {patient: np.array([owner != patient for owner in owners], bool) for patient in set(patients)}
    return {patient: fit_confidence(terms[them], real[them]) for patient, them in others.items()}


def brier_score(confidence: Floats, real: Mask) -> float:
    """Mean squared difference between confidence and truth (Brier 1950); nan without lesions.

    0 is best, and a constant confidence of 0.5 gives 0.25.
    """
    return float(np.mean((confidence - real) ** 2)) if real.size else float("nan")


def reliability(confidence: Floats, real: Mask, bins: int = BINS) -> list[ReliabilityBin]:
    """Predicted and observed frequency in `bins` equal intervals of confidence; both are nan in an empty one."""
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    table = []
    for number in range(bins):
        here = index == number
        means = (float(confidence[here].mean()), float(real[here].mean())) if here.any() else (np.nan, np.nan)
        table.append(ReliabilityBin(number / bins, (number + 1) / bins, int(here.sum()), *means))
    return table


def expected_calibration_error(confidence: Floats, real: Mask, bins: int = BINS) -> float:
    """Mean gap between predicted and observed frequency over bins, weighted by lesions; nan without lesions.

    Guo et al., ICML 2017.
    """
    if not real.size:
        return float("nan")
    filled = [entry for entry in reliability(confidence, real, bins) if entry.lesions]
    return sum(entry.lesions * abs(entry.mean_confidence - entry.observed) for entry in filled) / real.size
