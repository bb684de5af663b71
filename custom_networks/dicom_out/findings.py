"""What the DICOM results take of a case's measurements, as protocols: whoever measures need not know of DICOM."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from custom_networks.labelmap.boxes import Box


class MeasuredLesion(Protocol):
    """One lesion; a number that is None or NaN was not measured."""

    @property
    def id(self) -> int:
        """Its number in the report and in the number map."""

    @property
    def volume_mm3(self) -> float:
        """Volume, mm3."""

    @property
    def longest_mm(self) -> float | None:
        """Longest axial diameter, mm."""

    @property
    def perpendicular_mm(self) -> float | None:
        """Diameter at a right angle to the longest one, mm."""

    @property
    def mean_hu(self) -> float | None:
        """Mean of its voxels, HU."""

    @property
    def sd_hu(self) -> float | None:
        """Standard deviation of its voxels, HU."""

    @property
    def confidence(self) -> float | None:
        """Chance that it is real, 0 to 1."""


class LesionSegments(Protocol):
    """Where a lesion lies among the liver's segments."""

    @property
    def shares(self) -> Sequence[tuple[int, float]]:
        """Segment number and share of the lesion's voxels, 0 to 1, the largest first."""

    @property
    def near_border(self) -> bool:
        """Whether it reaches to within 5 mm of another segment than its main one."""


class MeasuredCase(Protocol):
    """The lesions of a case and where they lie in its label map."""

    @property
    def lesions(self) -> Sequence[MeasuredLesion]:
        """The lesions, in the order of the report."""

    @property
    def numbers(self) -> npt.NDArray[np.integer]:
        """(i, j, k) number map of `box`: the id of the lesion at each voxel, 0 where there is none."""

    @property
    def box(self) -> Box:
        """Where in the label map `numbers` lies."""

    @property
    def liver_ml(self) -> float:
        """Volume of the liver with its lesions, ml."""

    @property
    def calibrated(self) -> bool:
        """Whether a lesion's confidence is a calibrated chance: only then does the SR state it."""

    @property
    def by_person(self) -> bool:
        """Whether a person made or corrected the label map."""
