"""The grid of a phantom and the canvas on it, where shapes are painted in Hounsfield units."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from custom_networks.phantom.fields import Array, Axes, Ellipsoid, Points, Triple, coverage, smooth_field

Window = tuple[slice, slice, slice]
WHOLE: Window = (slice(None), slice(None), slice(None))
WARP_REACH = 14.0  # mm; a displacement beyond it has odds of about 1 in 10^4 and would only clip an outline


@dataclass(frozen=True)
class Grid:
    """Voxel grid in DICOM's order: i runs to the patient's left, j to the back, k to the head.

    `shape` in voxels, `spacing` in mm, `origin` the RAS position (mm) of the first voxel's centre.
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
    """Index box of the voxels within `reach` of `centre`; at least two voxels wide, for the gradients' sake."""
    bounds = []
    for axis, c, r in zip(axes, centre, reach):
        nearest = int(np.argmin(np.abs(axis - c)))
        inside = np.append(np.flatnonzero(np.abs(axis - c) <= r), nearest)
        low = min(int(inside.min()), len(axis) - 2)
        bounds.append(slice(low, max(int(inside.max()) + 1, low + 2)))
    return bounds[0], bounds[1], bounds[2]


@dataclass(frozen=True)
class Canvas:
    """Hounsfield units on a grid, with each voxel's place in the standard body.

    The standard body is 330 mm wide, 224 mm deep and 210 mm high about its centre: x to the right, y to the front,
    z to the head. `points` are warped standard coordinates (mm), so that each patient's organs bend together;
    `axes` are the same without the warp.
    """

    hu: Array
    axes: Axes
    points: Points

    def window(self, centre: Iterable[float], reach: Iterable[float]) -> Window:
        """Index box that holds everything within `reach` (standard mm) of `centre`, warp included."""
        return window_around(self.axes, centre, [r + WARP_REACH for r in reach])

    def at(self, window: Window) -> Points:
        """The points inside an index box."""
        x, y, z = self.points
        return x[window], y[window], z[window]

    def blend(self, window: Window, share: Array, hu: Any) -> None:
        """Mix `hu` (a number or an array) into an index box by the share (0 to 1) that it has in each voxel."""
        region = self.hu[window]
        region += share * (hu - region)

    def ellipsoid(self, shape: Ellipsoid, hu: float) -> None:
        """Paint an ellipsoid of one tissue."""
        window = self.window(shape.centre, shape.reach)
        self.blend(window, coverage(shape.field(self.at(window))), hu)

    def texture(self, rng: np.random.Generator, scale: float, window: Window = WHOLE) -> Array:
        """A new `SmoothField` of unit variance inside an index box, smooth over `scale` (standard mm)."""
        axes = [axis[part] for axis, part in zip(self.axes, window)]
        return smooth_field(rng, axes, scale)(axes)


def blank_canvas(rng: np.random.Generator, grid: Grid, centre: Triple, scale: Triple) -> Canvas:
    """Canvas full of air on a grid, for a body with its centre at `centre` (RAS mm), `scale` times the standard one."""
    axes = [(axis - c) / s for axis, c, s in zip(grid.axes, centre, scale)]
    whole = np.meshgrid(*(axis.astype(np.float32) for axis in axes), indexing="ij", sparse=True)
    warps = [np.float32(3.5) * smooth_field(rng, axes, 45.0)(axes) for _ in range(3)]
    x, y, z = (axis + warp for axis, warp in zip(whole, warps))
    return Canvas(np.full(grid.shape, -1000, np.float32), axes, (x, y, z))
