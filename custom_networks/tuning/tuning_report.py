"""Write the results of tuning.

`settings.csv` has all operating points that were tried, `lesions.csv` all lesions used for the calibration,
`reliability.csv` confidences compared with the truth, `operating.csv` the scores at other thresholds, and
`true_lesions.csv` the true lesions and whether the chosen point finds them. `operating_point.json` has what the bundle
adopts: the chosen numbers, the coefficients, and `operating_points`, the evidence for both.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from custom_networks.files import write_csv, write_text
from custom_networks.labelmap.confidence import TERMS, lesion_confidence
from custom_networks.tuning.calibration import (
    ReliabilityBin,
    brier_score,
    expected_calibration_error,
    fit_confidence,
    reliability,
)
from custom_networks.tuning.lesion_tables import OperatingPoint
from custom_networks.tuning.operating_point import SCORES, held_out_confidences, kept_lesions, labelled_lesions
from custom_networks.tuning.point_search import PointScorer, Trial

TRUE_LESION = ("case", "patient", "slice_mm", "volume_mm3", "longest_mm", "found")
SHIPPED = [name for name in SCORES if name not in ("objective", "within_limits")]  # these two are for the search only

Row = Iterable[str | float]
Numbers = dict[str, float | None]


class Choice(NamedTuple):
    """The chosen operating point, and the points that it was compared with.

    Attributes:
        configured: the configured operating point, with the configured confidence.
        trials: all operating points that the search tried, with calibrated confidences.
        search_best: the best of them.
        chosen: the chosen one.
        sweeps: variants of the chosen point, by the threshold that differs and its value.
    """

    configured: Trial
    trials: Sequence[Trial]
    search_best: Trial
    chosen: Trial
    sweeps: Mapping[tuple[str, float], Trial]


def write_tuning(folder: Path, scorer: PointScorer, choice: Choice) -> dict[str, Any]:
    """Write all files to `folder`, which is created if necessary, and return the contents of operating_point.json."""
    folder.mkdir(parents=True, exist_ok=True)
    point = choice.chosen.point
    tried = [("configured", choice.configured), *(("calibrated", trial) for trial in choice.trials)]
    rows: list[Row] = [[confidence, *trial.point, *trial.scores.values()] for confidence, trial in tried]
    write_csv(folder / "settings.csv", ["confidence", *OperatingPoint._fields, *SCORES], rows, digits=6)
    table: list[Row] = [[*key, *trial.scores.values()] for key, trial in choice.sweeps.items()]
    write_csv(folder / "operating.csv", ["threshold", "value", *SCORES], table, digits=6)
    write_csv(folder / "true_lesions.csv", TRUE_LESION, _true_lesions(scorer, point), digits=6)
    coefficients, quality = _write_calibration(folder, scorer, point)
    cases, patients = len(scorer.patients), len(set(scorer.patients.values()))
    result = {
        "cases": cases,
        "patients": patients,
        "configured": _described(choice.configured),
        "search_best": _described(choice.search_best),
        "chosen": _described(choice.chosen),
        "confidence_coefficients": coefficients,
        "operating_points": {
            "note": f"cross-validated on {cases} volumes of {patients} patients, with networks that were not trained "
            "on them and are not the released one; all other numbers are the defaults",
            "default": point._asdict(),
            "confidence": quality,
            "table": [
                {"threshold": name, "value": value, **_rounded({score: trial.scores[score] for score in SHIPPED})}
                for (name, value), trial in choice.sweeps.items()
            ],
        },
        "definitions": SCORES,
    }
    write_text(folder / "operating_point.json", json.dumps(result, indent=4) + "\n")
    return result


def _write_calibration(folder: Path, scorer: PointScorer, point: OperatingPoint) -> tuple[Numbers, Numbers]:
    """Write lesions.csv and reliability.csv, and fit the coefficients on all lesions.

    Returns:
        The coefficients, and the quality of confidences from models that were fitted without the lesion's patient.
    """
    lesions = labelled_lesions(scorer.tables.at(point), point, scorer.patients)
    patients, volumes, terms, real = lesions
    models = scorer.models(point)
    confidence = np.array([lesion_confidence(row[None], models[patient])[0] for patient, row in zip(patients, terms)])
    rows: Iterator[Row] = (
        (patient, volume, *row, is_real, value)
        for patient, volume, row, is_real, value in zip(patients, volumes, terms, real, confidence)
    )
    header = ["patient", "volume_mm3", *TERMS, "real", "held_out_confidence"]
    write_csv(folder / "lesions.csv", header, rows, digits=6)
    write_csv(folder / "reliability.csv", ReliabilityBin._fields, reliability(confidence, real), digits=6)
    quality = {
        "lesions": float(real.size),
        "real_lesions": float(real.sum()),
        "brier": brier_score(confidence, real),
        "expected_calibration_error": expected_calibration_error(confidence, real),
        "brier_of_mean_probability": brier_score(terms[:, 0], real),
        "expected_calibration_error_of_mean_probability": expected_calibration_error(terms[:, 0], real),
    }
    return _rounded(fit_confidence(terms, real)), _rounded(quality)


def _true_lesions(scorer: PointScorer, point: OperatingPoint) -> Iterator[Row]:
    """Yield a row with the columns TRUE_LESION for each true lesion of the cases with known tumors."""
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
