"""Tables of all lesions that the network predicts in held-out cases, before the anatomy rules remove any.

An operating point is a set of arguments for the anatomy rules. The first five decide what is organ, which takes a
second per case; `tumor_threshold` then determines the predicted lesions; the last four only select from the tables. The
tables are small enough to keep in memory.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from custom_networks.evaluation.kept_probabilities import KeptCase, read_kept_case
from custom_networks.evaluation.lesion_matching import longest_in_plane_mm, shared_by_components
from custom_networks.labelmap.components import NEIGHBOURS_26, component_sizes
from custom_networks.labelmap.labels import LIVER, TUMOR, Floats, Labels, Mask
from custom_networks.labelmap.lesions import is_stray, list_lesions
from custom_networks.labelmap.organ import fill_organ, keep_organ
from custom_networks.transforms.input_grid import labels_from_probabilities


class OperatingPoint(NamedTuple):
    """Arguments of the anatomy rules, by their names in inference.json."""

    organ_threshold: float
    min_part_ml: float
    gap_mm: float
    neck_mm: float
    max_hole_mm2: float
    tumor_threshold: float
    capsule_mm: float
    min_lesion_mm3: float
    min_lesion_height_mm: float
    min_lesion_confidence: float

    @property
    def organ(self) -> tuple[float, ...]:
        """The first five arguments, which decide what counts as organ."""
        return self[:5]


class TrueLesions(NamedTuple):
    """The m true lesions: map of their numbers (h, w, d), volumes (m,) in mm3, longest diameters (m,) in mm."""

    components: npt.NDArray[np.int32]
    volume_mm3: Floats
    longest_mm: Floats


@dataclass(frozen=True)
class PredictedLesionTable:
    """The n predicted lesions of a case, for one organ setting and one tumor threshold, and its m true lesions.

    Attributes:
        case: the case's name.
        tumor_labelled: whether its true tumors are known.
        spacing: voxel spacing of the grid (h, w, d), mm.
        organ: numbers of voxels in the predicted organ, in its overlap with the true organ, and in the true organ. If
            the true tumors are not known, voxels whose true label is tumor are left out of all three.
        true_volume_mm3: (m,) volumes of the true lesions.
        true_longest_mm: (m,) their longest diameters within a slice.
        volume_mm3: (n,) volumes of the predicted lesions.
        height_mm: (n,) their extents from feet to head.
        terms: (n, 3) the terms of their confidence; see `lesion_terms`.
        shared: (m, n) numbers of voxels that each true and each predicted lesion share.
        in_true_organ: (n,) how many voxels of each predicted lesion lie in the true organ.
        stray: for each `capsule_mm` to try, (n,) whether a predicted lesion is outside the liver.
    """

    case: str
    tumor_labelled: bool
    spacing: tuple[float, ...]
    organ: tuple[int, int, int]
    true_volume_mm3: Floats
    true_longest_mm: Floats
    volume_mm3: Floats
    height_mm: Floats
    terms: Floats
    shared: npt.NDArray[np.int64]
    in_true_organ: npt.NDArray[np.int64]
    stray: Mapping[float, Mask]

    @property
    def voxel_mm3(self) -> float:
        """Volume of a voxel, mm3."""
        return float(np.prod(self.spacing))

    @property
    def is_real(self) -> Mask:
        """(n,) whether a predicted lesion shares a voxel with any true lesion."""
        return np.asarray(self.shared.any(axis=0))


class PredictedLesionTables:
    """The predicted lesions of all cases, computed once for each organ setting and tumor threshold.

    Args:
        files: files written by `KeepProbabilitiesd`.
        capsules_mm: all values of `capsule_mm` to try.
    """

    def __init__(self, files: Sequence[Path], capsules_mm: Iterable[float]) -> None:
        self.files = files
        self.capsules_mm = sorted(set(capsules_mm))
        self._truths: dict[Path, tuple[Floats, Floats]] = {}
        self._tables: dict[tuple[tuple[float, ...], float], list[PredictedLesionTable]] = {}

    def at(self, point: OperatingPoint) -> list[PredictedLesionTable]:
        """The tables of all cases at an operating point, in the order of the files."""
        self.prepare([point])
        return self._tables[point.organ, point.tumor_threshold]

    def prepare(self, points: Sequence[OperatingPoint]) -> None:
        """Compute the missing tables for these points; the organ is determined once for all tumor thresholds."""
        missing: dict[tuple[float, ...], list[OperatingPoint]] = {}
        for point in points:
            key = point.organ, point.tumor_threshold
            if key not in self._tables:
                self._tables[key] = []
                missing.setdefault(point.organ, []).append(point)
        for organ, wanted in missing.items():
            for file in self.files:
                for point, table in zip(wanted, self._of_file(file, wanted)):
                    self._tables[organ, point.tumor_threshold].append(table)

    def _of_file(self, file: Path, points: Sequence[OperatingPoint]) -> list[PredictedLesionTable]:
        case = read_kept_case(file)
        truth = true_lesions(case, self._truths.get(file))
        self._truths[file] = truth.volume_mm3, truth.longest_mm
        return predicted_lesion_tables(case, truth, points, self.capsules_mm)


def true_lesions(case: KeptCase, known: tuple[Floats, Floats] | None = None) -> TrueLesions:
    """The true lesions of a case; `known` volumes and diameters are not measured again."""
    components, count = ndimage.label(case.truth == TUMOR, NEIGHBOURS_26)
    if known is not None:
        return TrueLesions(components, *known)
    volumes = component_sizes(components, count)[1:].astype(np.float64) * float(np.prod(case.spacing))
    return TrueLesions(components, volumes, longest_in_plane_mm(components, count, case.spacing))


def predicted_lesion_tables(
    case: KeptCase, truth: TrueLesions, points: Sequence[OperatingPoint], capsules_mm: Sequence[float]
) -> list[PredictedLesionTable]:
    """The tables of a case for several points with the same organ settings."""
    return [_table(case, truth, labels, capsules_mm) for labels in label_maps(case, points)]


def label_maps(case: KeptCase, points: Sequence[OperatingPoint]) -> Iterator[Labels]:
    """Yield the label map (h, w, d) of a case for each of several points with the same organ settings.

    The rules are the same as in inference, on probabilities rounded to 1/255, except that no lesion is removed.
    """
    liver, tumor = torch.from_numpy(case.probabilities).to(torch.int16)
    scores = torch.stack([255 - liver - tumor, liver, tumor])
    organ_threshold, min_part_ml, gap_mm, neck_mm, max_hole_mm2 = points[0].organ
    organ = (labels_from_probabilities(scores, organ_threshold=organ_threshold) > 0).numpy().astype(np.uint8)
    kept = keep_organ(organ, case.affine, min_part_ml, gap_mm, neck_mm)
    filled = fill_organ(kept, case.probabilities, case.affine, max_hole_mm2)
    decisions = (labels_from_probabilities(scores, p.tumor_threshold, organ_threshold).numpy() for p in points)
    yield from (np.where(kept > 0, labels, filled) for labels in decisions)


def _table(case: KeptCase, truth: TrueLesions, labels: Labels, capsules_mm: Sequence[float]) -> PredictedLesionTable:
    """The table of a case for a label map from which no lesion has been removed."""
    truth_map = case.truth
    if not case.tumor_labelled:  # as in the evaluation, voxels with an unreliable label 2 do not count
        labels, truth_map = (np.where(case.truth == TUMOR, 0, known) for known in (labels, case.truth))
    lesions = list_lesions(labels, case.probabilities, case.affine, margin_mm=max(capsules_mm, default=0.0))
    box, count, true_count = lesions.box, lesions.volume_mm3.size, truth.volume_mm3.size
    organ, true_organ = labels > 0, truth_map > 0
    liver = labels[box] == LIVER
    return PredictedLesionTable(
        case=case.name,
        tumor_labelled=case.tumor_labelled,
        spacing=case.spacing,
        organ=(int(organ.sum()), int((organ & true_organ).sum()), int(true_organ.sum())),
        true_volume_mm3=truth.volume_mm3,
        true_longest_mm=truth.longest_mm,
        volume_mm3=lesions.volume_mm3,
        height_mm=lesions.height_mm,
        terms=lesions.terms,
        shared=shared_by_components(lesions.numbers, count, truth.components[box], true_count)[1:, 1:],
        in_true_organ=np.bincount(lesions.numbers[true_organ[box]], minlength=count + 1)[1:],
        stray={mm: is_stray(lesions.numbers, liver, case.spacing, mm) for mm in capsules_mm},
    )
