"""Implicit shapes, smooth random fields, and the canvas on which they are painted in Hounsfield units.

A shape is a field in millimetres that is negative inside.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import cos, radians, sin
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Axes = Sequence[npt.NDArray[Any]]
Points = tuple[Array, Array, Array]
Triple = tuple[float, float, float]
Window = tuple[slice, slice, slice]

WHOLE: Window = (slice(None), slice(None), slice(None))
WARP_REACH = 14.0  # mm; a larger displacement has a probability of about 10^-4 and would only clip an outline


def smooth_field(rng: np.random.Generator, axes: Axes, scale: float) -> Callable[[Axes], Array]:
    """Draw a Gaussian random field with zero mean and unit variance, smooth over `scale` mm.

    Args:
        rng: source of the field.
        axes: positions along three axes, mm, whose extent the field covers.
        scale: distance of the field's knots, mm.

    Returns:
        A function from three axes in mm to the field's values (len(x), len(y), len(z)) on their grid. Overlapping grids
        have the same values at the same positions.
    """
    knots = [np.arange(np.min(axis) - 2 * scale, np.max(axis) + 2.5 * scale, scale) for axis in axes]
    weights = rng.standard_normal([len(own) for own in knots], dtype=np.float32)

    def values_on(axes: Axes) -> Array:
        values: Array = weights
        for axis, own in zip(axes, knots):
            basis = np.exp(-0.5 * ((np.asarray(axis)[:, None] - own) / scale) ** 2)
            basis /= np.linalg.norm(basis, axis=1, keepdims=True)
            # Contracting the first axis moves the new one to the end: after three rounds the order is x, y, z again.
            values = np.tensordot(values, basis.astype(np.float32), axes=(0, 1))
        return np.ascontiguousarray(values)

    return values_on


def norm(*components: Any) -> Array:
    """Euclidean length of vectors given by their components (arrays that broadcast)."""
    return np.sqrt(sum(component * component for component in components))


@dataclass(frozen=True)
class Ellipsoid:
    """Ellipsoid with centre and radii in mm, rotated by `yaw` degrees in the axial plane."""

    centre: Triple
    radii: Triple
    yaw: float = 0.0

    @property
    def reach(self) -> Triple:
        """Half the size (mm) of an axis-aligned box that contains the ellipsoid."""
        widest = max(self.radii[:2]) if self.yaw else 0.0
        return max(widest, self.radii[0]), max(widest, self.radii[1]), self.radii[2]

    def unit_radius(self, points: Points) -> Array:
        """Distance from the centre in units of the radius in the same direction, 1 on the surface."""
        x, y, z = (p - np.float32(c) for p, c in zip(points, self.centre))
        c, s = np.float32(cos(radians(self.yaw))), np.float32(sin(radians(self.yaw)))
        a, b, h = (np.float32(1 / r) for r in self.radii)
        return norm((c * x + s * y) * a, (c * y - s * x) * b, z * h)

    def field(self, points: Points) -> Array:
        """Approximate signed distance (mm) to the surface, negative inside."""
        return (self.unit_radius(points) - 1) * np.float32(min(self.radii))


def capsule(points: Points, start: npt.NDArray[Any], end: npt.NDArray[Any], radius: float) -> Array:
    """Signed distance (mm) to a rod with rounded ends from `start` to `end`, negative inside; `radius` in mm."""
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

    Exact for planes parallel to the voxels' faces; for a ball with a radius of 6 voxels, the sum is within 3 percent of
    its volume. `steps` are the field's `voxel_steps`, if already known; `softness` (mm) blurs the boundary further.
    """
    steps = voxel_steps(field) if steps is None else steps
    return np.clip(np.float32(0.5) - field / (steps + np.float32(softness)), 0, 1)


@dataclass(frozen=True)
class Grid:
    """Voxel grid in DICOM's order: i runs to the patient's left, j to the back, k to the head.

    Attributes:
        shape: voxels along each axis.
        spacing: voxel size, mm.
        origin: RAS position of the first voxel's centre, mm.
    """

    shape: tuple[int, int, int]
    spacing: Triple
    origin: Triple

    @property
    def affine(self) -> npt.NDArray[np.float64]:
        """4 x 4 matrix from voxel indices (i, j, k) to RAS millimetres."""
        affine = np.diag([-self.spacing[0], -self.spacing[1], self.spacing[2], 1.0])
        affine[:3, 3] = self.origin
        return affine

    @property
    def axes(self) -> tuple[npt.NDArray[np.float64], ...]:
        """RAS coordinate (mm) of each index, for each of the three axes."""
        steps = np.diag(self.affine)
        return tuple(o + step * np.arange(n) for o, step, n in zip(self.origin, steps, self.shape))


def window_around(axes: Axes, centre: Iterable[float], reach: Iterable[float]) -> Window:
    """Index box of the voxels within `reach` of `centre`; at least two voxels wide, which gradients need."""
    bounds = []
    for axis, c, r in zip(axes, centre, reach):
        nearest = int(np.argmin(np.abs(axis - c)))
        inside = np.append(np.flatnonzero(np.abs(axis - c) <= r), nearest)
        low = min(int(inside.min()), len(axis) - 2)
        bounds.append(slice(low, max(int(inside.max()) + 1, low + 2)))
    return bounds[0], bounds[1], bounds[2]


@dataclass(frozen=True)
class Canvas:
    """Hounsfield units on a grid, with each voxel's position in the standard body.

    The standard body is 330 mm wide, 224 mm deep and 210 mm high about its centre: x to the right, y to the front,
    z to the head. `points` are warped standard coordinates (mm), so that all organs of a patient bend together; `axes`
    are the coordinates without the warp.
    """

    hu: Array
    axes: Axes
    points: Points

    def window(self, centre: Iterable[float], reach: Iterable[float]) -> Window:
        """Index box that contains everything within `reach` (standard mm) of `centre`, warp included."""
        return window_around(self.axes, centre, [r + WARP_REACH for r in reach])

    def at(self, window: Window) -> Points:
        """The `points` inside an index box."""
        x, y, z = self.points
        return x[window], y[window], z[window]

    def blend(self, window: Window, share: Array, hu: Any) -> None:
        """Mix `hu` (a number or an array) into an index box with a weight of `share` (0 to 1) in each voxel."""
        region = self.hu[window]
        region += share * (hu - region)

    def paint(self, window: Window, field: Array, hu: Any, steps: Array | None = None) -> None:
        """Fill the inside of a shape with `hu` (a number or an array), given its field in an index box."""
        self.blend(window, coverage(field, steps), hu)

    def ellipsoid(self, shape: Ellipsoid, hu: float) -> None:
        """Paint an ellipsoid of one tissue."""
        window = self.window(shape.centre, shape.reach)
        self.paint(window, shape.field(self.at(window)), hu)

    def texture(self, rng: np.random.Generator, scale: float, window: Window = WHOLE) -> Array:
        """A new `smooth_field` inside an index box, smooth over `scale` (standard mm)."""
        axes = [axis[part] for axis, part in zip(self.axes, window)]
        return smooth_field(rng, axes, scale)(axes)


def blank_canvas(rng: np.random.Generator, grid: Grid, centre: Triple, scale: Triple) -> Canvas:
    """Canvas full of air on a grid, for a body centred at `centre` (RAS mm), `scale` times the standard body's size."""
    axes = [(axis - c) / s for axis, c, s in zip(grid.axes, centre, scale)]
    whole = np.meshgrid(*(axis.astype(np.float32) for axis in axes), indexing="ij", sparse=True)
    warps = [np.float32(3.5) * smooth_field(rng, axes, 45.0)(axes) for _ in range(3)]
    x, y, z = (axis + warp for axis, warp in zip(whole, warps))
    return Canvas(np.full(grid.shape, -1000, np.float32), axes, (x, y, z))
