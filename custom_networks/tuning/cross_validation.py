"""Print the tables of a cross-validation for the model card: means by slice distance, cases, and lesions by size.

    python -m custom_networks.tuning.cross_validation out/folds/cases.csv out/tuning/true_lesions.csv DATA/dataset.json

The first file is written by `recipes` (or joined from several `cases.csv` of evaluate.json), the second by `tune`.
Intervals are 95 % percentile intervals of a bootstrap (Efron 1979, 10,000 draws) over patients, because cases and
lesions of the same patient are not independent. With few patients they are too narrow, and with one their width is 0.
"""

import argparse
import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from custom_networks.evaluation.kept_probabilities import case_name
from custom_networks.training.data.cases import listed_cases, patient_of
from custom_networks.training.data.headers import nifti_grid

Row = Mapping[str, str]

MEANS = {
    "liver_dice": "liver Dice",
    "liver_hd95_mm": "liver HD95, mm",
    "tumor_dice": "tumor Dice",
    "false_lesions": "false lesions",
}
SLICES_MM = {"under 1.8": (0, 1.8), "1.8 to 3": (1.8, 3), "over 3": (3, np.inf)}
LONGEST_MM = {"under 5": (0, 5), "5 to 10": (5, 10), "10 to 20": (10, 20), "20 and more": (20, np.inf)}


def mean_with_interval(values: Sequence[float], patients: Sequence[str], draws: int = 10_000) -> tuple[float, ...]:
    """Mean over cases (or lesions), and both ends of its 95 % interval from a bootstrap over patients.

    Values that are nan are left out; if no other value remains, all three are nan.
    """
    known = np.isfinite(values)
    scores, owners = np.array(values)[known], np.array(patients)[known]
    if not scores.size:
        return (np.nan,) * 3
    names, owner = np.unique(owners, return_inverse=True)
    sums, counts = np.bincount(owner, scores), np.bincount(owner)
    drawn = np.random.default_rng(0).integers(names.size, size=(draws, names.size))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return (float(scores.mean()), *(float(x) for x in np.percentile(means, [2.5, 97.5])))


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file, each as a dictionary by column name."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def listed(datalist: Path) -> dict[str, tuple[str, float]]:
    """Patient and slice distance (mm) of the cases in a data list's "training", by case name."""
    cases = listed_cases(str(datalist), str(datalist.parent))["training"]
    return {case_name(case["image"]): (patient_of(case), _slice_mm(datalist.parent / case["image"])) for case in cases}


def _slice_mm(image: Path) -> float:
    """Distance between the slices of a NIfTI volume, mm; nan if the file is missing or not NIfTI."""
    grid = nifti_grid(image)
    return float("nan") if grid is None else float(np.linalg.norm(grid[1][:3, 2]))


def number(row: Row, column: str) -> float:
    """The number in a cell; nan for an empty cell and for the tumor Dice of a case without tumor."""
    if column == "tumor_dice" and not float(row["tumor_ml_truth"] or 0) > 0:
        return np.nan
    return float(row[column] or "nan")


def table_of_means(rows: Sequence[Row], cases: Mapping[str, tuple[str, float]]) -> Iterable[str]:
    """Yield the lines of a Markdown table with a row for all cases and one for each range of slice distances."""
    yield "| slices apart, mm | cases (patients) | " + " | ".join(MEANS.values()) + " |"
    yield "|---|---|" + "---|" * len(MEANS)
    for name, (low, high) in {"all": (0.0, np.inf), **SLICES_MM}.items():
        here = [row for row in rows if low <= cases[row["case"]][1] < high]
        patients = [cases[row["case"]][0] for row in here]
        cells = [f"{name} | {len(here)} ({len(set(patients))})"]
        for column in MEANS:
            mean, low_end, high_end = mean_with_interval([number(row, column) for row in here], patients)
            digits = 3 if "dice" in column else 1
            cells.append(f"{mean:.{digits}f} ({low_end:.{digits}f} to {high_end:.{digits}f})")
        yield "| " + " | ".join(cells) + " |"


def table_of_cases(rows: Sequence[Row], cases: Mapping[str, tuple[str, float]]) -> Iterable[str]:
    """Yield the lines of a Markdown table with a row for each case, sorted by patient."""
    yield "| case | patient | slices, mm | liver Dice | HD95, mm | tumor, ml | tumor Dice | lesions found | false |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for row in sorted(rows, key=lambda row: (cases[row["case"]][0], row["case"])):
        patient, slice_mm = cases[row["case"]]
        liver = f"{number(row, 'liver_dice'):.3f} | {number(row, 'liver_hd95_mm'):.1f}"
        if row["tumor_dice"]:
            tumor = f"{number(row, 'tumor_ml_truth'):.1f} | {number(row, 'tumor_dice'):.3f}".removesuffix("nan")
            lesions = f"{row['lesions_found']} of {row['lesions_truth']} | {row['false_lesions']}"
        else:
            tumor, lesions = "not labelled | ", " | "
        yield f"| {row['case'].removesuffix('_ct')} | {patient} | {slice_mm:.2g} | {liver} | {tumor} | {lesions} |"


def table_of_lesions(lesions: Sequence[Row]) -> Iterable[str]:
    """Yield the lines of a Markdown table of lesions found, by longest diameter and by slice distance."""
    yield "| true lesions | patients | found | share |"
    yield "|---|---|---|---|"
    groups: dict[str, Callable[[Row], bool]] = {"all": lambda row: True}
    for words, column, ranges in (
        ("longest diameter {} mm", "longest_mm", LONGEST_MM),
        ("slices {} mm apart", "slice_mm", SLICES_MM),
    ):
        for name, limits in ranges.items():
            groups[words.format(name)] = lambda row, c=column, r=limits: r[0] <= float(row[c]) < r[1]  # type: ignore
    for name, belongs in groups.items():
        here = [row for row in lesions if belongs(row)]
        found, patients = [row["found"] in ("1", "True") for row in here], [row["patient"] for row in here]
        if here:
            share, low, high = mean_with_interval(found, patients)
            counts = f"{len(set(patients))} | {sum(found)} of {len(here)}"
            yield f"| {name} | {counts} | {share:.2f} ({low:.2f} to {high:.2f}) |"


def main() -> None:
    """Read the command line and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path, help="cases.csv of all folds")
    parser.add_argument("lesions", type=Path, help="true_lesions.csv, written by `tune`")
    parser.add_argument("datalist", type=Path, help="data list; its paths are relative to its folder")
    given = parser.parse_args()
    rows, cases = read(given.cases), listed(given.datalist)
    tables = table_of_means(rows, cases), table_of_cases(rows, cases), table_of_lesions(read(given.lesions))
    print("\n\n".join("\n".join(table) for table in tables))


if __name__ == "__main__":
    main()
