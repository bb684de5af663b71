"""Implicit shapes and smooth random fields: a shape is a field in millimetres that is negative inside."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, radians, sin
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Axes = Sequence[npt.NDArray[Any]]
Points = tuple[Array, Array, Array]
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class SmoothField:
    """Gaussian random field of zero mean and unit variance, smooth over `scale` millimetres.

    It is defined everywhere by white noise on knots, so that two grids that overlap see the same field.
    """

    knots: tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]
    weights: Array
    scale: float

    def __call__(self, axes: Axes) -> Array:
        """Values on the grid that three coordinate axes (mm) span, as an array (len(x), len(y), len(z))."""
        values = self.weights
        for axis, knots in zip(axes, self.knots):
            basis = np.exp(-0.5 * ((np.asarray(axis)[:, None] - knots) / self.scale) ** 2)
            basis /= np.linalg.norm(basis, axis=1, keepdims=True)
            # Contracting the first axis moves the new one to the end: after three rounds the order is x, y, z again.
            values = np.tensordot(values, basis.astype(np.float32), axes=(0, 1))
        return np.ascontiguousarray(values)


def smooth_field(rng: np.random.Generator, axes: Axes, scale: float) -> SmoothField:
    """Draw a `SmoothField` that covers the given coordinate axes (mm), with a correlation length `scale` (mm)."""
    x, y, z = (np.arange(np.min(axis) - 2 * scale, np.max(axis) + 2.5 * scale, scale) for axis in axes)
    weights = rng.standard_normal((len(x), len(y), len(z)), dtype=np.float32)
    return SmoothField((x, y, z), weights, scale)


def norm(*components: Any) -> Array:
    """Euclidean length of vectors given by their components (arrays that broadcast)."""
    squares = components[0] * components[0]
    for component in components[1:]:
        squares = squares + component * component
    return np.sqrt(squares)


@dataclass(frozen=True)
class Ellipsoid:
    """Ellipsoid by centre and radii (mm), turned by `yaw` degrees in the axial plane."""

    centre: Triple
    radii: Triple
    yaw: float = 0.0

    @property
    def reach(self) -> Triple:
        """Half the size (mm) of an upright box that holds the ellipsoid at any yaw."""
        widest = max(self.radii[:2]) if self.yaw else 0.0
        return max(widest, self.radii[0]), max(widest, self.radii[1]), self.radii[2]

    def unit_radius(self, points: Points) -> Array:
        """Distance from the centre in units of the radius: 1 on the surface."""
        x, y, z = (p - np.float32(c) for p, c in zip(points, self.centre))
        c, s = np.float32(cos(radians(self.yaw))), np.float32(sin(radians(self.yaw)))
        a, b, h = (np.float32(1 / r) for r in self.radii)
        return norm((c * x + s * y) * a, (c * y - s * x) * b, z * h)

    def field(self, points: Points) -> Array:
        """About the signed distance (mm) to the surface, negative inside."""
        return (self.unit_radius(points) - 1) * np.float32(min(self.radii))


def capsule(points: Points, start: npt.NDArray[Any], end: npt.NDArray[Any], radius: float) -> Array:
    """Signed distance (mm) to a rod of one radius (mm) from `start` to `end`, negative inside."""
    along = np.asarray(end - start, np.float32)
    offsets = [p - np.float32(s) for p, s in zip(points, start)]
    t = sum(o * a for o, a in zip(offsets, along)) / np.float32(max(float(along @ along), 1e-6))
    t = np.clip(t, 0, 1)
    return norm(*(o - t * a for o, a in zip(offsets, along))) - np.float32(radius)


def smooth_union(first: Array, second: Array, width: float) -> Array:
    """Union of two shapes with a fillet about `width` mm wide (polynomial smooth minimum, Quilez)."""
    gap = np.maximum(width - np.abs(first - second), 0) / np.float32(width)
    return np.minimum(first, second) - gap * gap * np.float32(width / 4)


def voxel_steps(field: Array) -> Array:
    """How much a field changes across one voxel: the sum of its absolute differences along the three axes."""
    steps = np.full_like(field, 1e-3)
    for axis in range(3):
        steps += np.abs(np.gradient(field, axis=axis))
    return steps


def coverage(field: Array, steps: Array | None = None, softness: float = 0.0) -> Array:
    """Share of each voxel that lies inside the shape (partial volume): 0.5 where the field is 0.

    Exact for planes along the voxels' faces; a ball of 6 voxels' radius sums to its volume within 3 percent.

    `steps` are the field's `voxel_steps`, where already known; `softness` (mm) blurs the boundary further.
    """
    steps = voxel_steps(field) if steps is None else steps
    return np.clip(np.float32(0.5) - field / (steps + np.float32(softness)), 0, 1)
