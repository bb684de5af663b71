"""Compare terms of the confidence by patient-wise validation, and measure the calibration, as in decision 0019.

    python tests/benchmarks/confidence_terms.py docs/training/lesions.csv

A lesion's confidence comes from a model of the other patients. Intervals (95 %) are from a bootstrap over patients.
"""

import argparse
import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from custom_networks.labelmap.confidence import TERMS, lesion_confidence
from custom_networks.tuning.calibration import brier_score, held_out_coefficients

Floats = npt.NDArray[np.float64]
SETS = (TERMS[:1], (TERMS[0], TERMS[2]), TERMS[:2], TERMS)
BINS = 5


def held_out(terms: Floats, real: npt.NDArray[np.bool_], patients: list[str], used: tuple[str, ...]) -> Floats:
    """The confidences (n,) from a model with some of the terms; the others are constant."""
    chosen = np.where([name in used for name in TERMS], terms, 0.0)
    models = held_out_coefficients(chosen, real, patients, patients)
    return np.array([lesion_confidence(row[None], models[patient])[0] for row, patient in zip(chosen, patients)])


def error_in_bins(confidence: Floats, real: npt.NDArray[np.bool_]) -> float:
    """Expected calibration error over bins of equal mass."""
    bins = np.array_split(np.argsort(confidence), BINS)
    return sum(len(b) * abs(confidence[b].mean() - real[b].mean()) for b in bins) / len(real)


def interval(patients: list[str], value: Callable[[npt.NDArray[np.int64]], float], draws: int = 2000) -> str:
    """The interval of a number that `value` computes for the lesions of drawn patients."""
    random, names = np.random.default_rng(0), np.unique(patients)
    of = {name: np.flatnonzero(np.array(patients) == name) for name in names}
    drawn = [value(np.concatenate([of[name] for name in random.choice(names, len(names))])) for _ in range(draws)]
    return "{:.3f} to {:.3f}".format(*np.quantile(drawn, (0.025, 0.975)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lesions", type=Path)
    with parser.parse_args().lesions.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    patients, real = [row["patient"] for row in rows], np.array([row["real"] == "1" for row in rows])
    terms = np.array([[float(row[name]) for name in TERMS] for row in rows])
    first = held_out(terms, real, patients, SETS[0])
    for used in SETS:
        confidence = held_out(terms, real, patients, used)
        gain = (confidence - real) ** 2 - (first - real) ** 2
        difference = interval(patients, lambda drawn: float(gain[drawn].mean()))
        print(f"{', '.join(used)}: Brier score {brier_score(confidence, real):.3f}, difference {difference}")
    error = interval(patients, lambda drawn: error_in_bins(confidence[drawn], real[drawn]))
    print(f"expected calibration error, {BINS} bins of equal mass: {error_in_bins(confidence, real):.3f}, {error}")


if __name__ == "__main__":
    main()
