"""The part of a case that is measured, with the way from its voxels to the patient's millimetres."""

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
    """The liver and what lies around it, on the file's own grid. The rest of the arrays can be let go.

    Attributes:
        labels: (i, j, k) of `box`: 0 background, 1 liver, 2 tumor.
        numbers: (i, j, k) of `box`: number of the lesion at each voxel, 0 where there is none.
        box: where in the image they lie.
        shape: of the image.
        affine: (4, 4) of the image, voxel index to RAS mm.
    """

    labels: Labels
    numbers: Numbers
    box: Box
    shape: tuple[int, ...]
    affine: Floats

    @property
    def to_mm(self) -> Floats:
        """(3, 3), its columns the steps of the three indices, RAS mm."""
        return self.affine[:3, :3]

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distances between neighbouring voxels along the three axes, mm."""
        return spacing_of(self.affine)

    @property
    def voxel_mm3(self) -> float:
        """Volume of a voxel, mm3."""
        return voxel_mm3(self.affine)

    @property
    def slice_axis(self) -> int:
        """The axis of the arrays that runs along the slices."""
        return slice_axis_of(self.affine)

    def whole_labels(self) -> Labels:
        """The label map of the whole image, (i, j, k)."""
        whole = np.zeros(self.shape, np.uint8)
        whole[self.box] = self.labels
        return whole

    def lps(self, index: npt.ArrayLike) -> Floats:
        """Patient coordinates LPS mm, (..., 3), of indices (..., 3) in `box`."""
        starts = np.array([part.start for part in self.box])
        return np.asarray(((np.asarray(index) + starts) @ self.to_mm.T + self.affine[:3, 3]) * RAS_TO_LPS)

    def at_border(self, box: Box) -> bool:
        """Whether a box within `self.box` reaches the first or last voxel of the image along any axis."""
        return any(
            outer.start + part.start == 0 or outer.start + part.stop == size
            for outer, part, size in zip(self.box, box, self.shape, strict=True)
        )


def organ_region(labels: Labels, numbers: Numbers, affine: Floats) -> OrganRegion:
    """The liver and up to 10 mm around it, copied, from arrays of the whole image as `OrganRegion` has them.

    Raises:
        InputError: the shapes differ.
    """
    check_shape("lesion numbers", numbers.shape, labels.shape)
    tight = box_around(labels)
    box = grown_box(tight, RING_MM, spacing_of(affine), labels.shape) if tight else NOWHERE
    return OrganRegion(labels[box].copy(), numbers[box].copy(), box, labels.shape, affine)


def check_shape(name: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Raise an InputError where an array does not lie on the grid of the label map."""
    if tuple(shape) != tuple(expected):
        raise InputError(f"The shape of {name} must be {tuple(expected)} as the label map's, got {tuple(shape)}.")
