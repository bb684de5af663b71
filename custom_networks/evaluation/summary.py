"""Summary statistics over cases; write the scores of cases and the summary to files."""

import json
from collections.abc import Iterable, Mapping
from math import isfinite, nan
from pathlib import Path

import numpy as np

from custom_networks.evaluation.case_scores import DEFINITIONS
from custom_networks.files import write_csv, write_text

Scores = Mapping[str, float]
STATISTICS = ("n", "mean", "median", "min", "max")
WITH_TUMOR = "_with_tumor"

SUMMARY_DEFINITIONS = {
    "<column>": "statistics over the cases that have a value; mean is the per-case mean",
    "<column>_with_tumor": "the same, only over the cases with tumor in the truth",
    "liver_dice_pooled, tumor_dice_pooled": "global Dice, from the sums of intersections and of volumes over all cases",
    "mean_dice": "mean of the means of liver_dice and tumor_dice_with_tumor",
    "lesion_recall, lesion_recall_at_50": "share of all true lesions that are found",
    "lesion_precision, lesion_precision_at_50": "share of all predicted lesions that are not false",
    "false_lesions_per_case, false_lesions_per_case_at_50": "mean number over the cases with labelled tumors",
}


def column_statistics(rows: Mapping[str, Scores]) -> dict[str, dict[str, float]]:
    """Compute STATISTICS of each column of `case_scores`, ignoring nan, and of tumor columns over cases with tumor.

    Args:
        rows: scores by case name; all cases have the same columns.

    Returns:
        The statistics by column, or column + WITH_TUMOR; if there are no values, n is 0 and the others are nan.
    """
    cases = list(rows.values())
    with_tumor = [scores for scores in cases if scores["tumor_ml_truth"] > 0]
    columns = list(cases[0]) if cases else []
    result = {column: _statistics(scores[column] for scores in cases) for column in columns}
    for column in columns:
        if column.startswith("tumor_"):
            result[column + WITH_TUMOR] = _statistics(scores[column] for scores in with_tumor)
    return result


def pooled_scores(rows: Mapping[str, Scores]) -> dict[str, float]:
    """The summary scores that are not statistics of one column, see SUMMARY_DEFINITIONS; nan if undefined.

    Args:
        rows: scores of `case_scores` by case name.
    """
    cases = list(rows.values())
    known = [scores for scores in cases if isfinite(scores["tumor_ml_truth"])]
    tumorous = [scores for scores in known if scores["tumor_ml_truth"] > 0]
    means = [_mean(scores["liver_dice"] for scores in cases), _mean(scores["tumor_dice"] for scores in tumorous)]
    result = {
        "liver_dice_pooled": _pooled_dice(cases, "liver"),
        "tumor_dice_pooled": _pooled_dice(known, "tumor"),
        "mean_dice": _mean(means),
    }
    for suffix in ("", "_at_50"):
        found, false, true, predicted = (
            sum(scores[name] for scores in known)
            for name in (f"lesions_found{suffix}", f"false_lesions{suffix}", "lesions_truth", "lesions_predicted")
        )
        result[f"lesion_recall{suffix}"] = found / true if true else nan
        result[f"lesion_precision{suffix}"] = 1 - false / predicted if predicted else nan
        result[f"false_lesions_per_case{suffix}"] = false / len(known) if known else nan
    return result


def write_report(rows: Mapping[str, Scores], folder: Path) -> None:
    """Write cases.csv (one row per case), summary.csv (one row per column, then the pooled numbers) and summary.json.

    Each file is replaced atomically, so that a crash leaves the last complete one. Undefined values are empty cells in
    CSV and null in JSON. summary.json also defines all columns.

    Args:
        rows: scores of `case_scores` by case name, at least one case.
        folder: where to write the files, created if necessary.
    """
    folder.mkdir(parents=True, exist_ok=True)
    columns, pooled = column_statistics(rows), pooled_scores(rows)
    header = ["case", *next(iter(rows.values()))]
    write_csv(folder / "cases.csv", header, ([case, *scores.values()] for case, scores in rows.items()), digits=6)
    lines: list[list[str | float]] = [[name, *values.values()] for name, values in columns.items()]
    lines += [[name, nan, value, nan, nan, nan] for name, value in pooled.items()]
    write_csv(folder / "summary.csv", ["score", *STATISTICS], lines, digits=6)
    summary = {
        "cases": len(rows),
        "columns": {name: _null_for_nan(values) for name, values in columns.items()},
        "pooled": _null_for_nan(pooled),
        "definitions": DEFINITIONS | SUMMARY_DEFINITIONS,
    }
    write_text(folder / "summary.json", json.dumps(summary, indent=4) + "\n")


def _statistics(values: Iterable[float]) -> dict[str, float]:
    """STATISTICS of the finite values; without any, n is 0 and the others are nan."""
    known = np.array([value for value in values if isfinite(value)])
    if not known.size:
        return {"n": 0} | dict.fromkeys(STATISTICS[1:], nan)
    summary = (known.mean(), np.median(known), known.min(), known.max())
    return {"n": known.size} | {name: float(value) for name, value in zip(STATISTICS[1:], summary)}


def _mean(values: Iterable[float]) -> float:
    return _statistics(values)["mean"]


def _pooled_dice(cases: list[Scores], structure: str) -> float:
    """Dice of all cases together; a case's Dice times the sum of its two volumes is twice their shared volume."""
    volumes = [scores[f"{structure}_ml"] + scores[f"{structure}_ml_truth"] for scores in cases]
    twice_shared = sum(scores[f"{structure}_dice"] * volume for scores, volume in zip(cases, volumes))
    return twice_shared / sum(volumes) if sum(volumes) else nan


def _null_for_nan(scores: Scores) -> dict[str, float | None]:
    return {name: value if isfinite(value) else None for name, value in scores.items()}
