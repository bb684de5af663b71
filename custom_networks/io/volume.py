"""A volume and the one thing that places it in the patient: its affine."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from custom_networks.labelmap.grid import slice_axis_of, spacing_of

__all__ = ["Volume", "slice_axis_of", "spacing_of"]


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels of one image or label map with their geometry.

    Args:
        array: shape (i, j, k), the first index along the first voxel axis; HU for an image, 0..2 for a label map.
        affine: (4, 4) float64, voxel index to patient coordinates in mm, RAS+ (nibabel's convention).
        notes: what a reader did or saw that the user should know, one sentence each.
        source: the file or folder that was read.
        headers: of a DICOM series: a data set for each slice, in the order of the array's last axis, with what DICOM
            results need of its header (`custom_networks.io.dicom.result_header`). They name the patient.
    """

    array: np.ndarray
    affine: np.ndarray
    notes: tuple[str, ...] = ()
    source: Path = field(kw_only=True)
    headers: tuple[Dataset, ...] = field(default=(), kw_only=True, repr=False)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance in mm between neighbouring voxels along each array axis."""
        return spacing_of(self.affine)

    @property
    def voxel_mm3(self) -> float:
        """Volume of a voxel in mm3, also where its axes are not at right angles."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    @property
    def slice_axis(self) -> int:
        """The array axis whose direction is nearest to the patient's z (feet to head)."""
        return slice_axis_of(self.affine)
