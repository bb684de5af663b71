"""Ellipsoids with known measurements in a ball-shaped liver, on grids of any spacing and orientation."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from custom_networks.labelmap.confidence import Coefficients
from custom_networks.labelmap.lesions import list_lesions
from custom_networks.report.measurements import Measurements, measure
from custom_networks.report.organ_region import organ_region

Array = npt.NDArray[Any]
BACKGROUND_HU, LIVER_HU, LESION_HU = -50, 110, 60
LIVER_RADIUS = 45.0  # mm
CENTRE = np.array([12.0, -31.0, 200.0])  # of the liver, RAS mm

ORIENTATIONS = {
    "RAS": ([0, 1, 2], [1, 1, 1]),
    "LPS, feet first": ([0, 1, 2], [-1, -1, 1]),
    "LPI, head first": ([0, 1, 2], [-1, -1, -1]),
    "slices as the first axis": ([2, 1, 0], [1, -1, 1]),
    "rows and columns swapped": ([1, 0, 2], [-1, 1, 1]),
}


class Ellipsoid(NamedTuple):
    """A lesion: its centre relative to the liver's, mm; its half axes, mm; and its rotation about z, then x."""

    middle: tuple[float, float, float]
    half_axes: tuple[float, float, float]
    about_z: float = 0.0
    about_x: float = 0.0

    @property
    def rotation(self) -> Array:
        """Matrix (3, 3) whose columns are the directions of the half axes."""
        return turn(self.about_x, 0) @ turn(self.about_z, 2)

    @property
    def form(self) -> Array:
        """The matrix M of the ellipsoid x' M x <= 1."""
        return np.asarray(self.rotation @ np.diag(1 / np.square(self.half_axes)) @ self.rotation.T)


def turn(degrees: float, axis: int) -> Array:
    """The matrix (3, 3) of a rotation about one of the patient's axes."""
    angle, (a, b) = np.radians(degrees), [i for i in range(3) if i != axis]
    matrix = np.eye(3)
    matrix[a, a] = matrix[b, b] = np.cos(angle)
    matrix[a, b], matrix[b, a] = -np.sin(angle), np.sin(angle)
    return matrix


def grid(spacing: tuple[float, float, float], orientation: str, oblique: float = 0.0) -> tuple[Array, tuple[int, ...]]:
    """Affine and shape of a grid around the liver; `spacing` along right, front, head in mm, `oblique` in degrees."""
    order, signs = ORIENTATIONS[orientation]
    columns = np.zeros((3, 3))
    for index, (axis, sign) in enumerate(zip(order, signs)):
        columns[axis, index] = sign * spacing[axis]
    columns = turn(oblique, 0) @ columns
    shape = tuple(int(np.ceil(2 * (LIVER_RADIUS + 6) / spacing[axis])) for axis in order)
    affine = np.eye(4)
    affine[:3, :3] = columns
    # A third of a voxel off, so that no shape lies evenly on its grid.
    affine[:3, 3] = CENTRE - columns @ ((np.array(shape) - 1) / 2 + 0.33)
    return affine, shape


def scene(lesions: list[Ellipsoid], affine: Array, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Label map and HU of the liver with its lesions."""
    world = np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3] - CENTRE
    labels = (np.einsum("...a,...a->...", world, world) <= LIVER_RADIUS**2).astype(np.uint8)
    for lesion in lesions:
        away = world - np.array(lesion.middle)
        labels[np.einsum("...a,ab,...b->...", away, lesion.form, away) <= 1] = 2
    return labels, np.array([BACKGROUND_HU, LIVER_HU, LESION_HU], np.int16)[labels]


def measured(lesions: list[Ellipsoid], affine: Array, shape: tuple[int, ...], probability: int = 204) -> Measurements:
    """The measurements of the scene."""
    labels, hu = scene(lesions, affine, shape)
    return measured_labels(labels, np.full((2, *shape), probability, np.uint8), affine, hu)


def measured_labels(
    labels: Array, probabilities: Array, affine: Array, hu: Array, coefficients: Coefficients | None = None
) -> Measurements:
    """The measurements of a label map in which every lesion counts."""
    found = list_lesions(labels, probabilities, affine, coefficients)
    found = found.largest_first(np.ones(found.volume_mm3.shape, bool))
    region = organ_region(labels, found.number_map(labels.shape), affine)
    return measure(region, hu[region.box], found.listed(), calibrated=coefficients is not None)


class Truth(NamedTuple):
    """The true measurements of an ellipsoid."""

    volume_mm3: float
    longest_mm: float
    perpendicular_mm: float
    extent_mm: Array
    centroid_lps: Array


def truth(lesion: Ellipsoid, affine: Array, slice_axis: int) -> Truth:
    """The true measurements; diameters are those in the slice plane through the centre, the largest cross-section."""
    plane = np.linalg.qr(np.delete(affine[:3, :3], slice_axis, axis=1))[0]
    across, along = 2 / np.sqrt(np.linalg.eigvalsh(plane.T @ lesion.form @ plane)[::-1])
    return Truth(
        volume_mm3=4 / 3 * np.pi * float(np.prod(lesion.half_axes)),
        longest_mm=float(along),
        perpendicular_mm=float(across),
        extent_mm=2 * np.sqrt(np.diag(np.linalg.inv(lesion.form))),
        centroid_lps=(CENTRE + lesion.middle) * [-1, -1, 1],
    )
