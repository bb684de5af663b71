"""Liver lesions: their positions, their irregular shapes with exact volumes, and the appearance of each kind."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from custom_networks.phantom.canvas import (
    Array,
    Axes,
    Grid,
    Triple,
    Window,
    coverage,
    norm,
    smooth_field,
    window_around,
)
from custom_networks.phantom.tissue import WATER, Enhancement

KINDS = ("metastasis", "rim", "hypervascular", "confluent", "calcified")
CYST = "cyst"
SMALLEST, LARGEST = 4.0, 60.0
LATTICE = np.linspace(-2.4, 2.4, 49)  # in radii, fine enough for a volume exact to about 2 percent


@dataclass(frozen=True)
class Lesion:
    """One lesion: its kind, its centre (RAS mm), and the diameter (mm) of a ball of the same volume.

    The volume includes any part of the lesion that lies outside the liver and is cut off.
    """

    kind: str
    centre_mm: Triple
    diameter_mm: float


@dataclass(frozen=True)
class Shape:
    """Outline of a lesion in units of its radius: one or more balls, distorted by noise; its volume is a unit ball's.

    Attributes:
        balls: (n, 4) centre and radius of each ball.
        noise: function that returns unit noise on the grid of three axes.
        bumps: amplitude of the noise.
        level: value of the field at the outline.
    """

    balls: npt.NDArray[np.float64]
    noise: Callable[[Axes], Array]
    bumps: float
    level: float = 0.0

    def field(self, axes: Axes) -> Array:
        """Field, negative inside, on the grid of three axes; all lengths in radii, from the centre."""
        x, y, z = np.meshgrid(*(np.asarray(axis, np.float32) for axis in axes), indexing="ij", sparse=True)
        distances = [norm(x - cx, y - cy, z - cz) - r for cx, cy, cz, r in self.balls.astype(np.float32)]
        return np.minimum.reduce(distances) + np.float32(self.bumps) * self.noise(axes) - np.float32(self.level)


def draw_shape(rng: np.random.Generator, kind: str) -> Shape:
    """Draw a shape for a kind of lesion: a cyst is nearly a ball, a confluent mass consists of several balls."""
    balls = np.array([[0.0, 0.0, 0.0, 1.0]])
    if kind == "confluent":
        more = np.column_stack([rng.normal(0, 0.5, (5, 3)), rng.uniform(0.35, 0.7, 5)])
        balls = np.vstack([balls * 0.75, more])
    bumps = {CYST: 0.02, "confluent": 0.12}.get(kind, 0.08)
    shape = Shape(balls, smooth_field(rng, [LATTICE] * 3, 0.6), bumps)
    voxels = round(4 / 3 * np.pi / (LATTICE[1] - LATTICE[0]) ** 3)
    return replace(shape, level=float(np.partition(shape.field([LATTICE] * 3), voxels, axis=None)[voxels]))


@dataclass(frozen=True)
class Sites:
    """Voxel centres inside the liver (n, 3; RAS mm) and their depths below the surface (n,; mm)."""

    points: npt.NDArray[np.float64]
    depth: npt.NDArray[np.float64]


def find_sites(grid: Grid, window: Window, liver: npt.NDArray[np.bool_]) -> Sites:
    """Candidate centres of lesions, from the liver's mask in an index box; every second pixel if pixels are small."""
    stride = 2 if grid.spacing[0] < 2.5 else 1
    mask = np.pad(liver[::stride, ::stride], 1)
    sampling = (grid.spacing[0] * stride, grid.spacing[1] * stride, grid.spacing[2])
    depth = ndimage.distance_transform_edt(mask, sampling=sampling)[1:-1, 1:-1, 1:-1]
    indices = np.argwhere(depth > 0)
    voxels = indices * [stride, stride, 1] + [part.start for part in window]
    return Sites(voxels @ grid.affine[:3, :3].T + grid.affine[:3, 3], depth[tuple(indices.T)])


def place(rng: np.random.Generator, sites: Sites, kind: str, diameter: float, others: list[Lesion]) -> Lesion:
    """Place a lesion where the liver has room beside the other lesions; if there is too little room, make it smaller.

    It is never made smaller than `SMALLEST`. One lesion in four is at the surface, where the organ's outline cuts off
    up to about a tenth of its volume.
    """
    superficial = rng.random() < 0.25
    room = sites.depth / (0.65 if superficial else 0.95)
    for other in others:
        distance = np.linalg.norm(sites.points - other.centre_mm, axis=1)
        room = np.minimum(room, (distance - other.diameter_mm / 2) / 1.25)
    diameter = max(SMALLEST, min(diameter, 1.9 * float(room.max())))
    candidates = np.flatnonzero(room >= min(diameter / 2, float(room.max())))
    if superficial:
        depth = sites.depth[candidates]
        candidates = candidates[depth <= max(0.45 * diameter, float(depth.min()))]
    x, y, z = sites.points[rng.choice(candidates)]
    return Lesion(kind, (float(x), float(y), float(z)), float(diameter))


def draw_lesions(rng: np.random.Generator, sites: Sites, count: int) -> tuple[list[Lesion], list[Lesion]]:
    """Draw `count` tumors, placed in order of their drawn diameters (largest first), and zero to two benign cysts."""
    kinds = [str(kind) for kind in rng.choice(KINDS, count, p=(0.4, 0.2, 0.2, 0.1, 0.1))]
    low = np.array([20.0 if kind == "confluent" else SMALLEST for kind in kinds])
    diameters = np.exp(rng.uniform(np.log(low), np.log(LARGEST))) if count else low
    tumors: list[Lesion] = []
    cysts: list[Lesion] = []
    for index in np.argsort(-diameters, kind="stable"):
        tumors.append(place(rng, sites, kinds[index], float(diameters[index]), tumors))
    for _ in range(int(rng.choice(3, p=(0.65, 0.25, 0.1)))):
        cysts.append(place(rng, sites, CYST, float(rng.uniform(5, 25)), tumors + cysts))
    return tumors, cysts


def _contrast(rng: np.random.Generator, kind: str, tissue: Enhancement) -> tuple[float, float, float]:
    """HU of a lesion's core and rim relative to the liver, and the rim's width (mm, 0 for no rim)."""
    if kind == CYST:
        return WATER + rng.uniform(-3, 8) - tissue.liver, 0.0, 0.0
    if kind == "rim":
        enhancing = 0.35 if tissue.phase == "unenhanced" else 1.0
        return -max(30.0, rng.uniform(0.45, 0.7) * tissue.liver), enhancing * rng.uniform(18, 40), rng.uniform(2.0, 4.0)
    if kind == "hypervascular":
        return (rng.uniform(35, 60), 0.0, 0.0) if tissue.phase == "arterial" else (-rng.uniform(20, 32), 12.0, 1.2)
    # In proportion to the liver, so that a lesion in a fatty liver is not darker than water.
    return -max(24.0, rng.uniform(0.3, 0.55) * tissue.liver), 0.0, 0.0


def lesion_hu(rng: np.random.Generator, kind: str, outline: Array, texture: Array, tissue: Enhancement) -> Array:
    """HU inside a lesion, from the field of its outline (mm) and a unit texture on the same grid."""
    core, rim, width = _contrast(rng, kind, tissue)
    hu = np.full_like(outline, tissue.liver + core)
    if kind == CYST:
        return hu
    hu += np.float32(6 if kind != "confluent" else 10) * texture
    if width:
        hu += coverage(-outline - np.float32(width), softness=1.0) * np.float32(rim - core)
    if kind == "calcified":
        hu += np.float32(rng.uniform(200, 500)) * np.clip(texture - np.float32(0.9), 0, 1)
    return hu


def paint_lesion(
    rng: np.random.Generator, hu: Array, organ: Array, grid: Grid, lesion: Lesion, tissue: Enhancement
) -> tuple[Window, npt.NDArray[np.bool_]]:
    """Paint one lesion into `hu`, inside the organ, and return the lesion's index box and its mask in that box.

    `organ` is the organ's field on the whole grid (mm, negative inside).
    """
    window = window_around(grid.axes, lesion.centre_mm, [lesion.diameter_mm / 2 * LATTICE[-1]] * 3)
    relative = [axis[part] - c for axis, part, c in zip(grid.axes, window, lesion.centre_mm)]
    radius = np.float32(lesion.diameter_mm / 2)
    outline = radius * draw_shape(rng, lesion.kind).field([axis / radius for axis in relative])
    texture = smooth_field(rng, relative, 3.0)(relative)
    softness = 0.0 if lesion.kind == CYST else min(rng.uniform(0.5, 3.0), 0.2 * lesion.diameter_mm)
    share = np.minimum(coverage(outline, softness=softness), coverage(organ[window]))
    region: Any = hu[window]
    region += share * (lesion_hu(rng, lesion.kind, outline, texture, tissue) - region)
    return window, np.maximum(outline, organ[window]) < 0
