"""The files of a tuning.

`settings.csv` has every operating point tried, `lesions.csv` every lesion that the calibration saw, `reliability.csv`
its confidences against what was true, `operating.csv` what other thresholds would give, `true_lesions.csv` which true
lesions the chosen point finds. `operating_point.json` has all that a user has to copy: the chosen numbers, the
coefficients, and the evidence for both.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from custom_networks.training.calibration import (
    LesionFeatures,
    ReliabilityBin,
    brier_score,
    expected_calibration_error,
    fit_confidence,
    reliability,
)
from custom_networks.training.candidates import OperatingPoint
from custom_networks.training.operating_point import SCORES, held_out_confidences, kept_lesions, labelled_lesions
from custom_networks.training.point_search import PointScorer, Trial
from custom_networks.training.tables import write_table, write_text
from custom_networks.transforms.predicted_lesions import lesion_confidence

TRUE_LESION = ("case", "patient", "slice_mm", "volume_mm3", "longest_mm", "found")

Row = Iterable[str | float]
Numbers = dict[str, float | None]


def write_tuning(
    folder: Path,
    scorer: PointScorer,
    today: Trial,
    trials: Sequence[Trial],
    best: Trial,
    sweeps: Mapping[tuple[str, float], Trial],
) -> dict[str, Any]:
    """Write all files, and return what operating_point.json holds.

    Args:
        folder: where they go; made when missing.
        scorer: what scored the trials.
        today: the operating point and confidence that are configured.
        trials: all operating points tried, with calibrated confidences.
        best: the one chosen.
        sweeps: trials beside the best by the threshold that differs and its value.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tried = [("configured", today), *(("calibrated", trial) for trial in trials)]
    rows: list[Row] = [[confidence, *trial.point, *trial.scores.values()] for confidence, trial in tried]
    write_table(folder / "settings.csv", ["confidence", *OperatingPoint._fields, *SCORES], rows)
    table: list[Row] = [[*key, *trial.scores.values()] for key, trial in sweeps.items()]
    write_table(folder / "operating.csv", ["threshold", "value", *SCORES], table)
    write_table(folder / "true_lesions.csv", TRUE_LESION, _true_lesions(scorer, best.point))
    result = {
        "cases": len(scorer.patients),
        "patients": len(set(scorer.patients.values())),
        "configured": _described(today),
        "chosen": _described(best),
        **_write_calibration(folder, scorer, best.point),
        "operating_table": [
            {"threshold": name, "value": value, **_rounded(trial.scores)} for (name, value), trial in sweeps.items()
        ],
        "definitions": SCORES,
    }
    write_text(folder / "operating_point.json", json.dumps(result, indent=4) + "\n")
    return result


def _write_calibration(folder: Path, scorer: PointScorer, point: OperatingPoint) -> dict[str, Numbers]:
    """Coefficients fitted on all lesions, and how well those did that were fitted without a lesion's patient."""
    features, real, owners = labelled_lesions(scorer.tables.at(point), point, scorer.patients)
    models = scorer.models(point)
    confidence = np.zeros(real.size)
    for patient in set(owners):
        own = np.array(owners, dtype=object) == patient
        confidence[own] = lesion_confidence(*LesionFeatures(*(values[own] for values in features)), models[patient])
    rows = zip(owners, *features, real, confidence)
    write_table(folder / "lesions.csv", ["patient", *features._fields, "real", "held_out_confidence"], rows)
    write_table(folder / "reliability.csv", ReliabilityBin._fields, reliability(confidence, real))
    quality = {
        "lesions": float(real.size),
        "real_lesions": float(real.sum()),
        "brier": brier_score(confidence, real),
        "expected_calibration_error": expected_calibration_error(confidence, real),
        "brier_of_mean_probability": brier_score(features.mean_probability, real),
        "expected_calibration_error_of_mean_probability": expected_calibration_error(features.mean_probability, real),
    }
    return {"confidence_coefficients": _rounded(fit_confidence(features, real)), "calibration": _rounded(quality)}


def _true_lesions(scorer: PointScorer, point: OperatingPoint) -> Iterator[Row]:
    """A row for each true lesion of the cases with known tumors: TRUE_LESION."""
    cases = scorer.tables.at(point)
    confidences = held_out_confidences(cases, scorer.patients, scorer.models(point))
    for case, confidence in zip(cases, confidences):
        found = np.asarray(case.shared[:, kept_lesions(case, point, confidence)].any(axis=1))
        for row in zip(case.true_volume_mm3, case.true_longest_mm, found) if case.tumor_labelled else ():
            yield [case.case, scorer.patients[case.case], case.spacing[2], *row]


def _described(trial: Trial) -> dict[str, Any]:
    return {"operating_point": trial.point._asdict(), "scores": _rounded(trial.scores)}


def _rounded(values: Mapping[str, float]) -> Numbers:
    return {name: round(value, 4) if isfinite(value) else None for name, value in values.items()}
