"""Protocols for the measurements in DICOM results, so that this package does not depend on the code that measures."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from custom_networks.labelmap.boxes import Box


class MeasuredLesion(Protocol):
    """Measurements of a lesion, None or NaN if unknown."""

    @property
    def id(self) -> int:
        """Number of the lesion in the report and in the map of lesion numbers."""

    @property
    def volume_mm3(self) -> float:
        """Volume in mm3."""

    @property
    def longest_mm(self) -> float | None:
        """Longest axial diameter in mm."""

    @property
    def perpendicular_mm(self) -> float | None:
        """Longest perpendicular diameter in the same slice, in mm."""

    @property
    def mean_hu(self) -> float | None:
        """Mean intensity in HU."""

    @property
    def sd_hu(self) -> float | None:
        """Standard deviation of the intensity in HU."""

    @property
    def confidence(self) -> float | None:
        """Confidence that the lesion is real, 0 to 1."""


class LesionSegments(Protocol):
    """The liver segments in which a lesion lies."""

    @property
    def shares(self) -> Sequence[tuple[int, float]]:
        """Segment numbers with their shares of the lesion's voxels, 0 to 1, largest first."""

    @property
    def near_border(self) -> bool:
        """Whether the lesion is within 5 mm of a segment other than its main one."""


class MeasuredCase(Protocol):
    """Measurements of a case."""

    @property
    def lesions(self) -> Sequence[MeasuredLesion]:
        """The lesions, in the order of the report."""

    @property
    def numbers(self) -> npt.NDArray[np.integer]:
        """Lesion id at each voxel of `box`, (i, j, k); 0 outside lesions."""

    @property
    def box(self) -> Box:
        """Position of `numbers` in the label map."""

    @property
    def liver_ml(self) -> float:
        """Volume of the liver including lesions, in ml."""

    @property
    def calibrated(self) -> bool:
        """Whether confidence is a calibrated probability; only then is it included in the SR."""

    @property
    def by_person(self) -> bool:
        """Whether a person drew or corrected the label map."""
