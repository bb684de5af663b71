"""The search for operating points, with a known objective."""

from collections.abc import Sequence

import numpy as np
import pytest

from custom_networks.tuning.lesion_tables import OperatingPoint, PredictedLesionTable
from custom_networks.tuning.operating_point import Limits
from custom_networks.tuning.point_search import PointScorer, Trial, coordinate_search

START = OperatingPoint(0.5, 20.0, 10.0, 8.0, 100.0, 0.5, 10.0, 30.0, 0.0, 0.3)


class Known:
    """Trials whose objective is highest at a threshold of 0.4 and a volume of 60 mm3, independent of the gap."""

    def __init__(self) -> None:
        self.scored: list[OperatingPoint] = []
        self.prepared: list[list[OperatingPoint]] = []

    def trial(self, point: OperatingPoint) -> Trial:
        self.scored.append(point)
        objective = -abs(point.tumor_threshold - 0.4) - abs(point.min_lesion_mm3 - 60) / 100
        return Trial(point, {"objective": objective})

    def prepare(self, points: Sequence[OperatingPoint]) -> None:
        self.prepared.append(list(points))


def test_each_number_is_set_to_its_best_value_and_no_point_is_scored_twice() -> None:
    known = Known()
    grid = {"tumor_threshold": [0.3, 0.4, 0.5], "min_lesion_mm3": [30.0, 60.0], "gap_mm": [5.0, 10.0, 20.0]}
    trials = coordinate_search(START, grid, known.trial, known.prepare)
    best = max(trials, key=lambda trial: trial.scores["objective"])
    assert best.point == START._replace(tumor_threshold=0.4, min_lesion_mm3=60.0)  # the gap stays as it was
    assert trials[0].point == START and [trial.point for trial in trials] == known.scored
    assert len(set(known.scored)) == len(known.scored)
    assert known.prepared[0] == [START._replace(tumor_threshold=value) for value in (0.3, 0.4, 0.5)]


def test_the_search_ends_after_a_pass_without_change() -> None:
    known = Known()
    coordinate_search(START._replace(tumor_threshold=0.4), {"tumor_threshold": [0.3, 0.4]}, known.trial, known.prepare)
    assert len(known.prepared) == 1


def test_a_second_pass_finds_improvements_that_depend_on_other_changes() -> None:
    objective = {(0.5, 20.0): 0, (0.3, 20.0): -1, (0.5, 10.0): 1, (0.3, 10.0): 2}  # threshold and gap

    def trial(point: OperatingPoint) -> Trial:
        return Trial(point, {"objective": objective[point.tumor_threshold, point.gap_mm]})

    start = START._replace(tumor_threshold=0.5, gap_mm=20.0)
    grid = {"tumor_threshold": [0.3, 0.5], "gap_mm": [10.0, 20.0]}
    best = []
    for passes in (1, 2):
        trials = coordinate_search(start, grid, trial, lambda points: None, passes)
        best.append(max(trials, key=lambda each: each.scores["objective"]).scores["objective"])
    assert best == [1, 2]


class FixedTables:
    """The same lesion tables at every point: two patients, each with a real and a false lesion."""

    def at(self, point: OperatingPoint) -> list[PredictedLesionTable]:
        return [self._table("a", 0.8), self._table("b", 0.9)]

    def prepare(self, points: Sequence[OperatingPoint]) -> None:
        """Do nothing."""

    @staticmethod
    def _table(case: str, mean_probability: float) -> PredictedLesionTable:
        return PredictedLesionTable(
            case=case,
            tumor_labelled=True,
            spacing=(1.0, 1.0, 1.0),
            organ=(1000, 900, 1000),
            true_volume_mm3=np.array([100.0]),
            true_longest_mm=np.array([12.0]),
            volume_mm3=np.array([100.0, 40.0]),
            height_mm=np.array([5.0, 4.0]),
            terms=np.array([[mean_probability, 0.5, 30.0], [0.5, 0.5, 30.0]]),
            shared=np.array([[50, 0]]),
            in_true_organ=np.array([50, 40]),
            stray={10.0: np.zeros(2, bool)},
        )


def test_a_patient_is_scored_with_the_model_of_the_others() -> None:
    scorer = PointScorer(FixedTables(), {"a": "p", "b": "q"}, Limits(2.0, 0.5, 0.1))  # type: ignore[arg-type]
    models = scorer.models(START)
    assert set(models) == {"p", "q"} and models["p"] != models["q"]
    assert scorer.models(START._replace(min_lesion_confidence=0.9)) is models
    # Lesions of a higher probability were the real ones: a threshold of one half keeps these alone.
    result = scorer.trial(START._replace(min_lesion_confidence=0.5)).scores
    assert (result["lesion_recall"], result["false_lesions_per_case"]) == (1.0, 0.0)
    everything = scorer.trial(START._replace(min_lesion_confidence=0.0)).scores
    assert everything["false_lesions_per_case"] == 1.0


def test_a_point_can_be_scored_with_the_models_of_another() -> None:
    scorer = PointScorer(FixedTables(), {"a": "p", "b": "q"}, Limits(2.0, 0.5, 0.1))  # type: ignore[arg-type]
    smallest = START._replace(min_lesion_mm3=90.0, min_lesion_confidence=0.7)
    # Where only real lesions are asked about, Platt's target for one lesion is 2/3: below 0.7.
    assert scorer.trial(smallest).scores["lesion_recall"] == 0.0
    least = START._replace(min_lesion_confidence=0.5)
    assert scorer.trial(least, calibrated_at=smallest).scores == pytest.approx(
        scorer.trial(least._replace(min_lesion_confidence=0.0)).scores, nan_ok=True
    )
