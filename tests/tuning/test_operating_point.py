"""Scores of an operating point on two small tables, worked by hand."""

import math
from typing import Any

import numpy as np
import pytest

from custom_networks.tuning.lesion_tables import OperatingPoint, PredictedLesionTable
from custom_networks.tuning.operating_point import Limits, labelled_lesions, may_be_lesion, point_scores

POINT = OperatingPoint(0.5, 20.0, 10.0, 8.0, 100.0, 0.5, 10.0, 30.0, 0.0, 0.5)


def table(**changed: Any) -> PredictedLesionTable:
    """Voxels of 10 mm3, a true lesion of 1000 mm3 and 14 mm, one of 100 mm3 and 9 mm; predicted lesions as below."""
    known: dict[str, Any] = {
        "case": "a",
        "tumor_labelled": True,
        "spacing": (1.0, 2.0, 5.0),
        "organ": (1000, 900, 1000),
        "true_volume_mm3": np.array([1000.0, 100.0]),
        "true_longest_mm": np.array([14.0, 9.0]),
        "volume_mm3": np.array([800.0, 200.0, 20.0, 100.0]),  # found, false, too small, outside
        "height_mm": np.array([15.0, 5.0, 5.0, 10.0]),
        "terms": np.array([[0.9, 0.5, 20.0], [0.4, 1.0, 60.0], [0.8, 0.2, 30.0], [0.9, 0.3, 90.0]]),
        "shared": np.array([[60, 0, 0, 0], [0, 0, 2, 0]]),
        "in_true_organ": np.array([80, 20, 2, 0]),
        "stray": {10.0: np.array([False, False, False, True])},
    }
    return PredictedLesionTable(**known | changed)


FREE = table(
    case="free",
    true_volume_mm3=np.zeros(0),
    true_longest_mm=np.zeros(0),
    shared=np.zeros((0, 4), int),
    stray={10.0: np.zeros(4, bool)},
)


def scores(
    cases: list[PredictedLesionTable], confidence: list[float], limits: Limits = Limits(2.0, 0.5, 0.1)
) -> dict[str, float]:
    return point_scores(cases, POINT, [np.array(confidence)] * len(cases), limits)


def test_scores_of_one_case_with_tumor() -> None:
    result = scores([table()], [0.9, 0.4, 0.9, 0.9])
    # The stray lesion of 10 voxels, none of them true liver, leaves the organ: 2 * 900 / (990 + 1000).
    assert result["liver_dice"] == pytest.approx(1800 / 1990)
    assert result["tumor_dice_with_tumor"] == pytest.approx(2 * 600 / (800 + 1100))
    assert (result["lesion_recall"], result["lesion_recall_10mm"], result["lesion_recall_520mm3"]) == (0.5, 1.0, 1.0)
    assert result["false_lesions_per_case"] == 0 and math.isnan(result["tumor_free_ml"])
    assert result["objective"] == pytest.approx(1800 / 1990 + 1200 / 1900 + 1) and result["within_limits"] == 1


def test_a_kept_false_lesion_counts_and_lowers_dice() -> None:
    result = scores([table()], [0.9, 0.5, 0.9, 0.9], Limits(0.5, 2.0, 0.2))
    assert result["false_lesions_per_case"] == 1 and result["within_limits"] == 0
    assert result["tumor_dice_with_tumor"] == pytest.approx(2 * 600 / (1000 + 1100))
    assert result["objective"] == pytest.approx(1800 / 1990 + 1200 / 2100 + 1 - 0.2 * 0.5)


def test_tumor_free_cases_count_only_by_predicted_volume_and_false_lesions() -> None:
    result = scores([table(), FREE], [0.9, 0.5, 0.9, 0.1])
    assert result["tumor_free_ml"] == pytest.approx(1.0)  # 800 and 200 mm3
    assert result["false_lesions_per_case"] == (1 + 2) / 2
    assert result["tumor_dice_with_tumor"] == pytest.approx(1200 / 2100) and result["lesion_recall"] == 0.5
    assert result["liver_dice"] == pytest.approx((1800 / 1990 + 0.9) / 2)
    assert result["within_limits"] == 0
    expected = result["liver_dice"] + 1200 / 2100 + 1 - 0.1 * 0.5
    assert result["objective"] == pytest.approx(expected)


def test_cases_without_tumor_labels_count_only_for_the_liver() -> None:
    result = scores([table(tumor_labelled=False)], [0.9] * 4)
    assert result["objective"] == result["liver_dice"] == pytest.approx(1800 / 1990)
    assert math.isnan(result["tumor_dice_with_tumor"]) and math.isnan(result["false_lesions_per_case"])


def test_the_confidence_decides_only_for_large_enough_lesions_in_the_liver() -> None:
    assert may_be_lesion(table(), POINT).tolist() == [True, True, False, False]
    unlabelled = table(case="b", tumor_labelled=False)
    lesions = labelled_lesions([table(), unlabelled, FREE], POINT, {"a": "p", "b": "q", "free": "r"})
    assert lesions.patient == ["p", "p", "r", "r", "r"]
    assert lesions.volume_mm3.tolist() == [800, 200, 800, 200, 100]
    assert lesions.terms[:, 0].tolist() == [0.9, 0.4, 0.9, 0.4, 0.9]
    assert lesions.real.tolist() == [True, False, False, False, False]


def test_without_labelled_cases_there_are_no_lesions() -> None:
    lesions = labelled_lesions([table(tumor_labelled=False)], POINT, {"a": "p"})
    assert lesions.patient == [] and lesions.terms.shape == (0, 3) and lesions.real.shape == (0,)


def test_lesions_in_too_few_thin_slices_do_not_count() -> None:
    assert may_be_lesion(table(), POINT).tolist() == [True, True, False, False]
    assert may_be_lesion(table(), POINT._replace(min_lesion_height_mm=6.0)).tolist() == [True, False, False, False]
