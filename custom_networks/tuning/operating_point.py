"""Scores of an operating point over all held-out cases, and the objective by which points are compared."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import NamedTuple

import numpy as np

from custom_networks.labelmap.confidence import TERMS, Coefficients, lesion_confidence
from custom_networks.labelmap.labels import Floats, Mask
from custom_networks.tuning.lesion_tables import OperatingPoint, PredictedLesionTable

LONG_MM = 10.0
LARGE_MM3 = 520.0  # a ball of 10 mm
MOST_ML = 10.0  # largest false tumor volume that counts per case, so that one hopeless case does not dominate

SCORES = {
    "liver_dice": "Dice of the whole organ, mean over all cases",
    "tumor_dice_with_tumor": "Dice of the tumor, mean over the cases with tumor",
    "tumor_free_ml": "mean tumor volume predicted in cases without tumor, ml",
    "lesion_recall": "share of the true lesions that share a voxel with a predicted one",
    "lesion_recall_10mm": "the same for true lesions of at least 10 mm longest diameter in a slice",
    "lesion_recall_520mm3": "the same for true lesions of at least 0.52 ml, the volume of a ball of 10 mm",
    "false_lesions_per_case": "predicted lesions that share no voxel with a true one, per case with labelled tumors",
    "objective": "liver_dice + tumor_dice_with_tumor + lesion_recall_10mm, minus the penalty times the excess of "
    "false_lesions_per_case and of tumor_free_ml over their limits (for tumor_free_ml, each case counts at most "
    f"{MOST_ML:g} ml); a score that no case defines counts as 0",
    "within_limits": "1 if false_lesions_per_case and tumor_free_ml are within the limits, else 0",
}


@dataclass(frozen=True)
class Limits:
    """The limits of an operating point, and the penalty in the objective for exceeding them.

    Attributes:
        false_lesions_per_case: largest mean number of false lesions per case.
        tumor_free_ml: largest mean volume of tumor in tumor-free livers, ml; each case counts at most `MOST_ML`.
        penalty: decrease of the objective for each lesion and ml above the limits.
    """

    false_lesions_per_case: float
    tumor_free_ml: float
    penalty: float


def may_be_lesion(case: PredictedLesionTable, point: OperatingPoint) -> Mask:
    """Mask (n,) of the predicted lesions that are in the liver and large enough, so that their confidence decides."""
    large = (case.volume_mm3 >= point.min_lesion_mm3) & (case.height_mm >= point.min_lesion_height_mm)
    return ~case.stray[point.capsule_mm] & large


def kept_lesions(case: PredictedLesionTable, point: OperatingPoint, confidence: Floats) -> Mask:
    """Mask (n,) of the predicted lesions that an operating point keeps, given their confidences (n,)."""
    return may_be_lesion(case, point) & (confidence >= point.min_lesion_confidence)


class LabelledLesions(NamedTuple):
    """n predicted lesions of cases with known tumors; all items have n entries.

    Attributes:
        patient: the patient of each lesion.
        volume_mm3: volumes, mm3.
        terms: (n, 3) the terms of their confidence; see `lesion_terms`.
        real: whether each lesion shares a voxel with a true one.
    """

    patient: list[str]
    volume_mm3: Floats
    terms: Floats
    real: Mask


def labelled_lesions(
    cases: Sequence[PredictedLesionTable], point: OperatingPoint, patients: Mapping[str, str]
) -> LabelledLesions:
    """The lesions that `may_be_lesion` accepts in cases with known tumors; `patients` maps cases to patients."""
    asked = [(case, may_be_lesion(case, point)) for case in cases if case.tumor_labelled]
    return LabelledLesions(
        [patients[case.case] for case, here in asked for _ in range(int(here.sum()))],
        np.concatenate([np.zeros(0), *(case.volume_mm3[here] for case, here in asked)]),
        np.concatenate([np.zeros((0, len(TERMS))), *(case.terms[here] for case, here in asked)]),
        np.concatenate([np.zeros(0, bool), *(case.is_real[here] for case, here in asked)]),
    )


def held_out_confidences(
    cases: Sequence[PredictedLesionTable], patients: Mapping[str, str], models: Mapping[str, Coefficients]
) -> list[Floats]:
    """The confidences (n,) of the predicted lesions of each case, from the model fitted without the case's patient."""
    return [lesion_confidence(case.terms, models[patients[case.case]]) for case in cases]


def point_scores(
    cases: Sequence[PredictedLesionTable], point: OperatingPoint, confidences: Sequence[Floats], limits: Limits
) -> dict[str, float]:
    """Compute SCORES of an operating point.

    Args:
        cases: predicted lesions at the point's organ setting and tumor threshold.
        point: the operating point.
        confidences: for each case, confidences (n,) of the predicted lesions.
        limits: limits of the objective.

    Returns:
        SCORES by name; nan for a score that no case defines.
    """
    kept = [kept_lesions(case, point, confidence) for case, confidence in zip(cases, confidences, strict=True)]
    scores = {"liver_dice": _mean(_liver_dice(case, case.stray[point.capsule_mm]) for case in cases)}
    known = [(case, kept_here) for case, kept_here in zip(cases, kept) if case.tumor_labelled]
    with_tumor = [(case, lesions) for case, lesions in known if case.true_volume_mm3.size]
    free = [case.volume_mm3[lesions].sum() / 1000 for case, lesions in known if not case.true_volume_mm3.size]
    scores["tumor_dice_with_tumor"] = _mean(_tumor_dice(case, lesions) for case, lesions in with_tumor)
    scores["tumor_free_ml"] = _mean(free)
    found = [np.asarray(case.shared[:, lesions].any(axis=1)) for case, lesions in with_tumor]
    for name, wanted in _lesion_sizes([case for case, _ in with_tumor]).items():
        scores[name] = _mean(np.concatenate([a[b] for a, b in zip(found, wanted)]) if found else ())
    scores["false_lesions_per_case"] = _mean((lesions & ~case.is_real).sum() for case, lesions in known)
    return scores | _objective(scores, np.minimum(free, MOST_ML), limits)


def _lesion_sizes(cases: Sequence[PredictedLesionTable]) -> dict[str, list[Mask]]:
    """For each recall score, a mask for each case of the true lesions that count."""
    return {
        "lesion_recall": [np.ones(case.true_volume_mm3.size, bool) for case in cases],
        "lesion_recall_10mm": [case.true_longest_mm >= LONG_MM for case in cases],
        "lesion_recall_520mm3": [case.true_volume_mm3 >= LARGE_MM3 for case in cases],
    }


def _objective(scores: Mapping[str, float], tumor_free_ml: Floats, limits: Limits) -> dict[str, float]:
    """The scores "objective" and "within_limits", from the other scores and the capped tumor-free volumes."""
    excess = (
        max(0.0, np.nan_to_num(scores["false_lesions_per_case"]) - limits.false_lesions_per_case),
        max(0.0, np.nan_to_num(_mean(tumor_free_ml)) - limits.tumor_free_ml),
    )
    gains = np.nansum([scores[name] for name in ("liver_dice", "tumor_dice_with_tumor", "lesion_recall_10mm")])
    return {"objective": float(gains - limits.penalty * sum(excess)), "within_limits": float(not any(excess))}


def _liver_dice(case: PredictedLesionTable, stray: Mask) -> float:
    """Dice of the organ without its stray lesions; 1 if both masks are empty."""
    predicted, shared, true = case.organ
    predicted -= int(round(case.volume_mm3[stray].sum() / case.voxel_mm3))
    shared -= int(case.in_true_organ[stray].sum())
    return 2 * shared / (predicted + true) if predicted + true else 1.0


def _tumor_dice(case: PredictedLesionTable, kept: Mask) -> float:
    """Dice of the tumor, if only the kept lesions are predicted."""
    shared = case.shared[:, kept].sum() * case.voxel_mm3
    return float(2 * shared / (case.volume_mm3[kept].sum() + case.true_volume_mm3.sum()))


def _mean(values: Iterable[float]) -> float:
    known = np.array(list(values), float)
    return float(known.mean()) if known.size else nan
