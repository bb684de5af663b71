"""Intervals over patients and the table of lesions, worked by hand."""

import numpy as np
import pytest

from custom_networks.tuning.cross_validation import mean_with_interval, table_of_lesions


def test_with_one_patient_the_interval_has_no_width() -> None:
    assert mean_with_interval([1.0, 0.0, 0.5], ["a", "a", "a"]) == (0.5, 0.5, 0.5)


def test_with_equal_means_of_patients_the_interval_has_no_width() -> None:
    assert mean_with_interval([1.0, 0.0, 0.5], ["a", "a", "b"]) == (0.5, 0.5, 0.5)


def test_patients_are_drawn_with_all_cases_which_have_equal_weights() -> None:
    # of two draws: b twice (a quarter) 0, a twice (a quarter) 1, one each 3 of 4; the mean is over cases, not patients
    assert mean_with_interval([1.0, 1.0, 1.0, 0.0], ["a", "a", "a", "b"]) == (0.75, 0.0, 1.0)


def test_unknown_values_are_ignored() -> None:
    assert mean_with_interval([0.25, np.nan, 0.75], ["a", "b", "a"]) == (0.5, 0.5, 0.5)
    assert np.isnan(mean_with_interval([np.nan], ["a"])).all()


@pytest.mark.parametrize("yes", ["1", "True"])
def test_lesions_are_counted_by_patient_and_size(yes: str) -> None:
    def row(patient: str, longest_mm: float, found: str) -> dict[str, str]:
        return {"patient": patient, "longest_mm": str(longest_mm), "slice_mm": "2.5", "found": found}

    lesions = [row("a", 4, "0"), row("a", 12, yes), row("b", 12, yes), row("b", 19.9, yes), row("b", 12, "0")]
    # all: a alone .5, b alone 2 of 3
    assert list(table_of_lesions(lesions)) == [
        "| true lesions | patients | found | share |",
        "|---|---|---|---|",
        "| all | 2 | 3 of 5 | 0.60 (0.50 to 0.67) |",
        "| longest diameter under 5 mm | 1 | 0 of 1 | 0.00 (0.00 to 0.00) |",
        "| longest diameter 10 to 20 mm | 2 | 3 of 4 | 0.75 (0.67 to 1.00) |",
        "| slices 1.8 to 3 mm apart | 2 | 3 of 5 | 0.60 (0.50 to 0.67) |",
    ]
