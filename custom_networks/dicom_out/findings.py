"""The measurements that DICOM results need, as protocols, so that measuring does not depend on DICOM."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from custom_networks.labelmap.boxes import Box


class MeasuredLesion(Protocol):
    """One lesion; a number that is None or NaN was not measured."""

    @property
    def id(self) -> int:
        """Its number in the report and in the map of lesion numbers."""

    @property
    def volume_mm3(self) -> float:
        """Volume, mm3."""

    @property
    def longest_mm(self) -> float | None:
        """Longest axial diameter, mm."""

    @property
    def perpendicular_mm(self) -> float | None:
        """Longest diameter perpendicular to that, mm."""

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
        """Segment number and share of the lesion's voxels, 0 to 1, largest first."""

    @property
    def near_border(self) -> bool:
        """Whether it comes within 5 mm of any segment other than its main one."""


class MeasuredCase(Protocol):
    """The lesions of a case and where they lie in its label map."""

    @property
    def lesions(self) -> Sequence[MeasuredLesion]:
        """The lesions, in the order of the report."""

    @property
    def numbers(self) -> npt.NDArray[np.integer]:
        """(i, j, k) the id of the lesion at each voxel of `box`, 0 where there is none."""

    @property
    def box(self) -> Box:
        """The part of the label map that `numbers` covers."""

    @property
    def liver_ml(self) -> float:
        """Volume of the liver with its lesions, ml."""

    @property
    def calibrated(self) -> bool:
        """Whether a lesion's confidence is a calibrated chance; the SR states it only then."""

    @property
    def by_person(self) -> bool:
        """Whether a person drew or corrected the label map."""
