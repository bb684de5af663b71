"""Tune the operating point and calibrate the confidence on the kept probabilities of held-out cases.

    python -m custom_networks.tuning.tune out/probabilities docs/training --datalist DATA/dataset.json

The search starts from the numbers in inference.json; the values to try and the limits are in tune.json beside this
module. `tuning_report` describes the files that are written.
"""

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from custom_networks.errors import InputError, UsageError
from custom_networks.evaluation.kept_probabilities import LOWEST_ORGAN_PROBABILITY, case_name
from custom_networks.labelmap.confidence import Coefficients, lesion_confidence
from custom_networks.training.data.cases import listed_cases, patient_of
from custom_networks.training.data.lits import known_patient
from custom_networks.tuning.adopt import CONFIGS, configured_numbers
from custom_networks.tuning.lesion_tables import OperatingPoint, PredictedLesionTables
from custom_networks.tuning.operating_point import Limits, point_scores
from custom_networks.tuning.point_search import PointScorer, Trial, coordinate_search
from custom_networks.tuning.tuning_report import Choice, write_tuning

logger = logging.getLogger(__name__)

SETTINGS = Path(__file__).with_name("tune.json")
SWEPT = ("tumor_threshold", "min_lesion_confidence")
SWEEP = tuple(tenth / 10 for tenth in range(1, 10))


def tune_operating_point(
    probabilities_dir: str,
    output_dir: str,
    configured: Mapping[str, float],
    grid: Mapping[str, Sequence[float]],
    limits: Limits,
    coefficients: Coefficients | None = None,
    datalist: str | None = None,
    passes: int = 2,
) -> dict[str, Any]:
    """Choose an operating point, calibrate the confidence for it, and write both with their scores.

    The chosen point is the configured one with the lowest `min_lesion_confidence` in SWEEP that respects the limit on
    false lesions (the highest in SWEEP if none does). Other improvements are searched for and reported; to adopt one,
    configure it and tune again.

    In the search and in the reports, confidences are from models fitted without the patient in question (leave one
    patient out); only the coefficients to ship are fitted on all patients. The operating point itself is chosen on all
    cases, so its scores are too optimistic for new cases.

    Args:
        probabilities_dir: folder that `KeepProbabilitiesd` filled, best with all folds.
        output_dir: folder for the results, created if necessary.
        configured: the current operating point, by the names of `OperatingPoint`.
        grid: values to try by the same names, in the order of the search; empty for no search.
        limits: limits of the search's objective.
        coefficients: the current coefficients of the confidence.
        datalist: data list (see `training_cases`) that says which cases belong to the same patient; by default, cases
            without a known LiTS or MSD name count as one patient each.
        passes: largest number of passes of the search.

    Returns:
        The contents of operating_point.json.

    Raises:
        UsageError: `configured` or `grid` does not match `OperatingPoint`, or an organ threshold is below the kept
            probabilities.
        InputError: no case was kept, or a file cannot be read.
    """
    start = _operating_point(configured, grid)
    files = sorted(Path(probabilities_dir).glob("*.npz"))
    if not files:
        raise InputError(f"No kept case (*.npz) in {probabilities_dir}: run evaluate.json with --keep_probabilities.")
    patients = _patients([file.stem for file in files], datalist)
    tables = PredictedLesionTables(files, [start.capsule_mm, *grid.get("capsule_mm", ())])
    scorer = PointScorer(tables, patients, limits)
    current = _as_configured(start, tables, coefficients, limits)
    logger.info("%d cases; as configured: %s", len(files), _one_line(current))
    trials = coordinate_search(start, grid, scorer.trial, tables.prepare, passes)
    best = max(trials, key=lambda trial: trial.scores["objective"])
    logger.info("%d operating points tried; best of the search: %s", len(trials), _one_line(best))
    chosen = _most_sensitive(start, scorer)
    logger.info("Chosen: min_lesion_confidence %g: %s", chosen.point.min_lesion_confidence, _one_line(chosen))
    sweep = [chosen.point._replace(**{name: value}) for name in SWEPT for value in SWEEP]
    tables.prepare(sweep)
    sweeps = [scorer.trial(point, calibrated_at=chosen.point) for point in sweep]
    labels = [(name, value) for name in SWEPT for value in SWEEP]
    return write_tuning(Path(output_dir), scorer, Choice(current, trials, best, chosen, dict(zip(labels, sweeps))))


def _most_sensitive(start: OperatingPoint, scorer: PointScorer) -> Trial:
    """`start` with the lowest confidence in SWEEP that keeps false lesions within the limit, or else the highest."""
    trials = [scorer.trial(start._replace(min_lesion_confidence=value)) for value in SWEEP]
    for trial in trials:
        # An undefined number of false lesions, nan, does not exceed the limit.
        if not trial.scores["false_lesions_per_case"] > scorer.limits.false_lesions_per_case:
            return trial
    text = "No value tried for min_lesion_confidence keeps false lesions within the limit: the highest, %g, is used."
    logger.warning(text, SWEEP[-1])
    return trials[-1]


def _operating_point(configured: Mapping[str, float], grid: Mapping[str, Sequence[float]]) -> OperatingPoint:
    """The configured point; UsageError if names do not match, or an organ threshold is below what was kept."""
    unknown = set(configured) ^ set(OperatingPoint._fields) | set(grid) - set(OperatingPoint._fields)
    if unknown:
        raise UsageError(
            f"The operating point must have exactly {', '.join(OperatingPoint._fields)}, and the grid no others; "
            f"missing or unknown: {', '.join(sorted(unknown))}. Correct tune.json or inference.json."
        )
    point = OperatingPoint(**configured)
    lowest = min([point.organ_threshold, *grid.get("organ_threshold", ())])
    if lowest < LOWEST_ORGAN_PROBABILITY:
        raise UsageError(
            f"Organ thresholds must be at least {LOWEST_ORGAN_PROBABILITY}, because lower probabilities were not kept, "
            f"got {lowest}: correct the grid."
        )
    return point


def _patients(cases: Sequence[str], datalist: str | None) -> dict[str, str]:
    """The patient of each case, from the data list or a LiTS or MSD name; otherwise the case counts as a patient."""
    listed = listed_cases(datalist, str(Path(datalist).parent)) if datalist else {}
    items = [item for split in listed.values() if isinstance(split, list) for item in split if isinstance(item, dict)]
    patients = {case_name(item["image"]): patient_of(item) for item in items if "image" in item}
    if datalist and (strangers := [case for case in cases if case not in patients]):
        text = "Not in %s: %s. For these, scans of the same patient can be recognised only by their LiTS names."
        logger.warning(text, datalist, ", ".join(strangers))
    return {case: patients.get(case) or known_patient(f"{case}.nii.gz") or case for case in cases}


def _as_configured(
    point: OperatingPoint, tables: PredictedLesionTables, coefficients: Coefficients | None, limits: Limits
) -> Trial:
    """Score a point with the configured coefficients of the confidence."""
    cases = tables.at(point)
    confidences = [lesion_confidence(case.terms, coefficients) for case in cases]
    return Trial(point, point_scores(cases, point, confidences, limits))


def _one_line(trial: Trial) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in trial.scores.items())


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line (by default sys.argv) and tune."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("probabilities", help="folder that evaluate.json filled with --keep_probabilities")
    parser.add_argument("output", help="folder for the results")
    parser.add_argument("--datalist", help="data list that says which cases belong to the same patient")
    parser.add_argument("--config", type=Path, default=CONFIGS / "inference.json", help="config to start from")
    parser.add_argument("--settings", type=Path, default=SETTINGS, help="values to try and limits, as in tune.json")
    given = parser.parse_args(arguments)
    config, settings = (json.loads(path.read_text(encoding="utf-8")) for path in (given.config, given.settings))
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    tune_operating_point(
        *(given.probabilities, given.output, configured_numbers(config), settings["grid"]),
        *(Limits(**settings["limits"]), config["confidence_coefficients"], given.datalist),
    )


if __name__ == "__main__":
    main()
