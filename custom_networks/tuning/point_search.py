"""Search for a better operating point over all held-out cases by changing one number at a time."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from custom_networks.labelmap.confidence import Coefficients
from custom_networks.tuning.calibration import held_out_coefficients
from custom_networks.tuning.lesion_tables import OperatingPoint, PredictedLesionTables
from custom_networks.tuning.operating_point import Limits, held_out_confidences, labelled_lesions, point_scores


class Trial(NamedTuple):
    """An operating point and its scores."""

    point: OperatingPoint
    scores: Mapping[str, float]


class PointScorer:
    """Scores operating points with calibrated confidences, for each patient from a model fitted on the others.

    Args:
        tables: predicted lesions of the cases.
        patients: the patient of each case.
        limits: limits of the objective.
    """

    def __init__(self, tables: PredictedLesionTables, patients: Mapping[str, str], limits: Limits) -> None:
        self.tables = tables
        self.patients = patients
        self.limits = limits
        self._models: dict[OperatingPoint, dict[str, Coefficients]] = {}

    def models(self, point: OperatingPoint) -> dict[str, Coefficients]:
        """Held-out coefficients by patient for the lesions of a point, regardless of its `min_lesion_confidence`."""
        key = point._replace(min_lesion_confidence=0.0)
        if key not in self._models:
            lesions = labelled_lesions(self.tables.at(point), point, self.patients)
            self._models[key] = held_out_coefficients(
                lesions.terms, lesions.real, lesions.patient, self.patients.values()
            )
        return self._models[key]

    def trial(self, point: OperatingPoint, calibrated_at: OperatingPoint | None = None) -> Trial:
        """Score a point, with the confidence models of `calibrated_at` if given."""
        cases = self.tables.at(point)
        confidences = held_out_confidences(cases, self.patients, self.models(calibrated_at or point))
        return Trial(point, point_scores(cases, point, confidences, self.limits))


def coordinate_search(
    start: OperatingPoint,
    grid: Mapping[str, Sequence[float]],
    trial: Callable[[OperatingPoint], Trial],
    prepare: Callable[[Sequence[OperatingPoint]], None],
    passes: int = 2,
) -> list[Trial]:
    """Change one number of the operating point at a time, in the grid's order, to the value with the best objective.

    A number is kept unless another value is better. The search ends early after a pass without changes.

    Args:
        start: operating point to start from.
        grid: values to try by name.
        trial: scores a point.
        prepare: called with the points to try next, so that work can be shared.
        passes: largest number of passes over the grid.

    Returns:
        All trials, the start first; the best is the first one with the highest objective.
    """
    tried = {start: trial(start)}
    best = start
    for _ in range(passes):
        before = best
        for name, values in grid.items():
            line = [best._replace(**{name: value}) for value in values]
            prepare(line)
            for point in line:
                tried[point] = tried.get(point) or trial(point)
            best = max([best, *line], key=lambda point: tried[point].scores["objective"])
        if best == before:
            break
    return list(tried.values())
