"""Tables of predicted lesions agree with the anatomy rules and the evaluation's scores."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from custom_networks.evaluation.case_scores import case_scores
from custom_networks.evaluation.kept_probabilities import KeptCase
from custom_networks.evaluation.lesion_matching import longest_in_plane_mm
from custom_networks.labelmap.confidence import lesion_confidence
from custom_networks.labelmap.lesions import find_lesions
from custom_networks.labelmap.organ import fill_organ, keep_organ
from custom_networks.tuning import lesion_tables as module
from custom_networks.tuning.lesion_tables import (
    OperatingPoint,
    PredictedLesionTables,
    predicted_lesion_tables,
    true_lesions,
)
from custom_networks.tuning.operating_point import Limits, point_scores

POINT = OperatingPoint(0.5, 0.02, 3.0, 0.0, 100.0, 0.5, 10.0, 0.0, 0.0, 0.0)


def noisy_case(seed: int, spacing: tuple[float, float, float] = (1.0, 1.0, 2.0)) -> KeptCase:
    """A liver block with lesions, islands and holes of random probabilities, and another random one as truth."""
    random = np.random.default_rng(seed)
    shape = (24, 22, 12)
    inside = np.zeros(shape)
    inside[4:18, 4:16, 2:10] = 1
    smooth = [ndimage.gaussian_filter(random.normal(size=shape), 1.2) for _ in range(3)]
    organ = np.clip(inside * 0.9 + smooth[0] * 1.2, 0, 1)
    share = np.clip(0.3 + smooth[1] * 2.5, 0, 1)
    probabilities = np.stack([organ * (1 - share), organ * share])
    truth = (inside + inside * (smooth[2] > 0.15)).astype(np.uint8)
    return KeptCase(f"case{seed}", (probabilities * 255).round().astype(np.uint8), truth, spacing, True)


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    organ_threshold=st.sampled_from([0.3, 0.5, 0.7]),
    neck_mm=st.sampled_from([0.0, 5.0]),
    tumor_threshold=st.sampled_from([0.301, 0.501, 0.601]),  # no share of two bytes is equal to one of these
    capsule_mm=st.sampled_from([1.0, 2.5, 10.0]),
    min_lesion_mm3=st.sampled_from([0.0, 6.0, 20.0]),
    min_lesion_height_mm=st.sampled_from([0.0, 2.1, 4.0]),
    min_lesion_confidence=st.sampled_from([0.0, 0.35, 0.45]),
    coefficients=st.sampled_from(
        [None, {"intercept": -2.0, "mean_probability": 3.0, "log_elongation": -0.3, "distance_mm": 0.1}]
    ),
)
def test_scores_from_tables_equal_those_of_rules_and_evaluation(
    seed: int,
    organ_threshold: float,
    neck_mm: float,
    tumor_threshold: float,
    capsule_mm: float,
    min_lesion_mm3: float,
    min_lesion_height_mm: float,
    min_lesion_confidence: float,
    coefficients: dict[str, float] | None,
) -> None:
    case = noisy_case(seed)
    chosen = (tumor_threshold, capsule_mm, min_lesion_mm3, min_lesion_height_mm, min_lesion_confidence)
    point = OperatingPoint(organ_threshold, *POINT[1:3], neck_mm, POINT.max_hole_mm2, *chosen)
    (table,) = predicted_lesion_tables(case, true_lesions(case), [point], [10.0, capsule_mm])
    confidence = lesion_confidence(table.terms, coefficients)
    scores = point_scores([table], point, [confidence], Limits(2.0, 0.5, 0.1))

    liver, tumor = case.probabilities.astype(float)
    organ = liver + tumor >= organ_threshold * 255
    labels = (organ * np.where(tumor >= tumor_threshold * (liver + tumor), 2, 1)).astype(np.uint8)
    labels = keep_organ(labels, case.affine, *point[1:4])
    labels = fill_organ(labels, case.probabilities, case.affine, point.max_hole_mm2)
    limits = capsule_mm, min_lesion_mm3, min_lesion_confidence, coefficients, min_lesion_height_mm
    labels, _ = find_lesions(labels, case.probabilities, case.affine, *limits)
    known = case_scores(labels, case.truth, case.spacing)
    assert scores["liver_dice"] == pytest.approx(known["liver_dice"])
    if case.truth.max() < 2:
        return
    assert scores["tumor_dice_with_tumor"] == pytest.approx(known["tumor_dice"])
    assert scores["lesion_recall"] == pytest.approx(known["lesions_found"] / known["lesions_truth"])
    assert scores["false_lesions_per_case"] == known["false_lesions"]


def test_a_point_is_computed_once_and_the_organ_once_for_all_its_thresholds(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []

    def read(path: Path) -> KeptCase:
        reads.append(path.stem)
        return noisy_case(int(path.stem))

    monkeypatch.setattr(module, "read_kept_case", read)
    tables = PredictedLesionTables([Path("3.npz"), Path("4.npz")], [10.0])
    tables.prepare([POINT, POINT, POINT._replace(tumor_threshold=0.4), POINT._replace(min_lesion_mm3=9.0)])
    assert reads == ["3", "4"]
    assert [table.case for table in tables.at(POINT._replace(tumor_threshold=0.4))] == ["case3", "case4"]
    assert reads == ["3", "4"]
    alone = PredictedLesionTables([Path("4.npz")], [10.0]).at(POINT)[0]
    assert np.array_equal(tables.at(POINT)[1].shared, alone.shared)
    tables.at(POINT._replace(organ_threshold=0.4))
    assert reads == ["3", "4", "4", "3", "4"]


def test_a_case_without_tumor_has_no_true_lesions_and_all_predicted_ones_are_false() -> None:
    case = noisy_case(5)
    healthy = KeptCase("healthy", case.probabilities, np.minimum(case.truth, 1), case.spacing, True)
    (table,) = predicted_lesion_tables(healthy, true_lesions(healthy), [POINT], [10.0])
    assert table.shared.shape == (0, table.volume_mm3.size) and table.volume_mm3.size > 0
    assert not table.is_real.any() and table.true_longest_mm.size == 0


def test_the_longest_diameter_equals_that_of_the_reports() -> None:
    mask = np.zeros((8, 12, 4))
    mask[1, 1:4, 0] = mask[1, 1:6, 1] = 1  # 3 and 5 pixels of 1 mm in a row
    mask[6, 9, 3] = 1  # one pixel of 1.5 x 1 mm
    components, count = ndimage.label(mask, np.ones((3, 3, 3)))
    assert longest_in_plane_mm(components, count, (1.5, 1.0, 9.0)) == pytest.approx([5.0, 1.5])
    assert longest_in_plane_mm(components * 0, 0, (1.5, 1.0, 9.0)).shape == (0,)
