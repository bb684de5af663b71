"""The liver region of a case, and its conversion from voxel indices to patient coordinates."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from custom_networks.errors import InputError
from custom_networks.labelmap.boxes import NOWHERE, Box, box_around, grown_box
from custom_networks.labelmap.distances import RING_MM
from custom_networks.labelmap.grid import slice_axis_of, spacing_of, voxel_mm3
from custom_networks.labelmap.labels import Floats, Labels, Numbers

RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])


@dataclass(frozen=True, eq=False)
class OrganRegion:
    """Labels of the liver and its surroundings on the file's own grid, without the rest of the image.

    Attributes:
        labels: (i, j, k) labels in `box`: 0 background, 1 liver, 2 tumor.
        numbers: (i, j, k) lesion numbers in `box`, 0 outside lesions.
        box: position of the arrays in the image.
        shape: shape of the image.
        affine: (4, 4) affine of the image, voxel index to RAS mm.
    """

    labels: Labels
    numbers: Numbers
    box: Box
    shape: tuple[int, ...]
    affine: Floats

    @property
    def to_mm(self) -> Floats:
        """(3, 3) linear part of the affine; its columns are the steps along the axes in RAS mm."""
        return self.affine[:3, :3]

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distances between neighbouring voxels along the three axes, in mm."""
        return spacing_of(self.affine)

    @property
    def voxel_mm3(self) -> float:
        """Volume of a voxel in mm3."""
        return voxel_mm3(self.affine)

    @property
    def slice_axis(self) -> int:
        """Array axis closest to the patient's z direction, which is perpendicular to axial slices."""
        return slice_axis_of(self.affine)

    def whole_labels(self) -> Labels:
        """Return the label map of the whole image, (i, j, k)."""
        whole = np.zeros(self.shape, np.uint8)
        whole[self.box] = self.labels
        return whole

    def lps(self, index: npt.ArrayLike) -> Floats:
        """Convert voxel indices (..., 3) of `labels` to patient coordinates (..., 3) in LPS mm."""
        starts = np.array([part.start for part in self.box])
        return np.asarray(((np.asarray(index) + starts) @ self.to_mm.T + self.affine[:3, 3]) * RAS_TO_LPS)

    def at_border(self, box: Box) -> bool:
        """Whether a box, given in indices of `labels`, touches the border of the image."""
        return any(
            outer.start + part.start == 0 or outer.start + part.stop == size
            for outer, part, size in zip(self.box, box, self.shape, strict=True)
        )


def organ_region(labels: Labels, numbers: Numbers, affine: Floats) -> OrganRegion:
    """Return copies of label map and lesion numbers (i, j, k), cropped to the liver with a margin of about 10 mm.

    Without a liver, the region is empty.

    Raises:
        InputError: the shapes differ.
    """
    check_shape("lesion numbers", numbers.shape, labels.shape)
    tight = box_around(labels)
    box = grown_box(tight, RING_MM, spacing_of(affine), labels.shape) if tight else NOWHERE
    return OrganRegion(labels[box].copy(), numbers[box].copy(), box, labels.shape, affine)


def check_shape(name: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Raise InputError if the shape of an array is not as expected; `name` is what the message calls the array."""
    if tuple(shape) != tuple(expected):
        raise InputError(f"The shape of {name} must be {tuple(expected)} as for the label map, got {tuple(shape)}.")
