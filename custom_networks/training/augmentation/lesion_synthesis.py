"""Synthesise the appearance of liver lesions in CT, as functions without side effects in mm and HU.

The steps are those of Hu et al., "Label-Free Liver Tumor Segmentation" (CVPR 2023): shape by deformation and noise,
texture, edge, mass effect, capsule. The formulas are our own. A lesion is added to the image as a difference, so that
the noise of the scan is kept inside it; only structures that stand out from the liver (vessels) are removed or moved.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.interpolate import BSpline
from scipy.ndimage import gaussian_filter, map_coordinates

from custom_networks.labelmap.labels import Mask

Array = npt.NDArray[np.float32]
Axes = tuple[Array, Array, Array]

REACH = 2.0  # radii; a lesion and most of the tissue that it pushes aside lie within this distance from its centre
DARKEST = 0.0  # HU: necrosis and cysts are as dark as water, not darker
ROSE = 5.0  # signal-to-noise ratio over its area that makes an object visible (Rose 1948)
_SUBSLICE = 1.5  # mm: largest distance between the planes that are averaged for a slice
_STRUCTURE = 1.5  # pixels: smoothing that separates vessels from noise
_SPLINE = BSpline.basis_element(np.arange(-2.0, 3.0), extrapolate=False)
_SPLINE_POWER = 151 / 315  # integral of the squared cubic B-spline


@dataclass(frozen=True)
class Lesion:
    """Size and appearance of a lesion.

    Attributes:
        radius: mean radius, mm.
        contrast: difference from the surrounding liver, HU.
        softness: width of the edge, mm.
        texture: standard deviation of the texture, HU.
        grain: grain of the texture, mm.
        core: HU added in the centre; 0 for no core.
        rim: HU added along the edge; 0 for no rim.
        calcification: HU added in specks; 0 for no specks.
        mass_effect: share of the lesion's volume by which it pushes its surroundings aside, 0 to 1.
    """

    radius: float
    contrast: float
    softness: float
    texture: float
    grain: float
    core: float = 0.0
    rim: float = 0.0
    calcification: float = 0.0
    mass_effect: float = 0.0


def smooth_noise(random: np.random.RandomState, axes: Axes, grain: float) -> Array:
    """A smooth random field of mean 0 and standard deviation 1, a cubic B-spline with random control points.

    Args:
        random: source of the control points.
        axes: positions in mm along the three axes, of n, m and k points.
        grain: distance of the control points in mm.

    Returns:
        (n, m, k).
    """
    bases = [_spline_basis(axis / grain, random.rand()) for axis in axes]
    field = random.standard_normal([basis.shape[1] for basis in bases]).astype(np.float32)
    for basis in bases:  # each contraction moves its axis to the end, so that three restore the order
        field = np.tensordot(field, basis, axes=(0, 1))
    return field / np.float32(_SPLINE_POWER**1.5)


def _spline_basis(positions: Array, phase: float) -> Array:
    """Weights (points, control points) of a cubic B-spline whose control points are 1 apart, shifted by `phase`."""
    first = np.floor(positions.min()) - 2
    controls = np.arange(first, np.ceil(positions.max()) + 3) + phase
    return np.nan_to_num(_SPLINE(positions[:, None] - controls)).astype(np.float32)


def smoothstep(t: npt.NDArray[Any]) -> Array:
    """0 below 0, 1 above 1, and a smooth transition in between."""
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


def relative_depth(random: np.random.RandomState, axes: Axes, radius: float) -> Array:
    """Distance from the centre as a share of the surface's distance in the same direction: below 1 inside the lesion.

    The surface is a randomly oriented ellipsoid, deformed by a smooth displacement and roughened. It stays within
    `REACH` radii.

    Args:
        random: source of the shape.
        axes: positions in mm from the centre, of n, m and k points.
        radius: mean radius in mm.

    Returns:
        (n, m, k).
    """
    turn = np.linalg.qr(random.standard_normal((3, 3)))[0] / (radius * random.uniform(0.75, 1.25, (3, 1)))
    places = [axis.reshape([-1 if i == k else 1 for i in range(3)]) for k, axis in enumerate(axes)]
    moved = [place + _bounded(smooth_noise(random, axes, radius), 0.13 * radius) for place in places]
    squares = sum((row[0] * moved[0] + row[1] * moved[1] + row[2] * moved[2]) ** 2 for row in turn.astype(np.float32))
    return np.sqrt(squares) * (1 + _bounded(smooth_noise(random, axes, 0.4 * radius), 0.06))


def _bounded(noise: Array, deviation: float) -> Array:
    """Unit noise scaled to a standard deviation and clipped at two standard deviations."""
    return np.float32(deviation) * np.clip(noise, -2, 2)


def lesion_on_slices(
    random: np.random.RandomState, axes: Axes, lesion: Lesion, thickness: float
) -> tuple[Array, Array]:
    """Draw the shape of a lesion in slices of a given thickness.

    Args:
        random: source of the shape.
        axes: positions in mm from the lesion's centre, of n, m and k (slices) points.
        lesion: its radius and softness are used.
        thickness: slice thickness, mm.

    Returns:
        Mean relative depth of each voxel, and the share of each voxel that is lesion (partial volume), each (n, m, k).
    """
    planes = max(1, int(np.ceil(thickness / _SUBSLICE)))
    offsets = thickness * ((np.arange(planes) + 0.5) / planes - 0.5)
    heights = (axes[2][:, None] + offsets).ravel().astype(np.float32)
    planewise = relative_depth(random, (axes[0], axes[1], heights), lesion.radius)
    depth = planewise.reshape(*planewise.shape[:2], -1, planes)
    share = smoothstep(0.5 + (1 - depth) * np.float32(lesion.radius / lesion.softness))
    return depth.mean(axis=3), share.mean(axis=3)


def lesion_offset(
    random: np.random.RandomState, axes: Axes, depth: Array, share: Array, lesion: Lesion, lowest: float
) -> Array:
    """The HU that a lesion adds to its surroundings at each voxel, (n, m, k).

    The sum of contrast, texture and core is raised to at least `lowest`. Specks are added, and the result is multiplied
    by `share`; the rim, which reaches a little beyond the edge, is added last.
    """
    texture = smooth_noise(random, axes, lesion.grain)
    offset = lesion.contrast + lesion.texture * texture
    if lesion.core:
        offset += lesion.core * smoothstep((np.float32(random.uniform(0.5, 0.8)) - depth + 0.08 * texture) / 0.25)
    offset = np.maximum(offset, lowest)
    if lesion.calcification:
        specks = smooth_noise(random, axes, max(1.5, 0.15 * lesion.radius))
        offset += lesion.calcification * smoothstep((specks - depth - 0.2) / 1.5)
    offset *= share
    if lesion.rim:
        width = random.uniform(0.8, 1.6)
        inwards = (1 - depth) * lesion.radius / width
        offset += lesion.rim * np.exp(-0.5 * (inwards - 0.5) ** 2)
    return offset.astype(np.float32)


def liver_structures(hu: Array, tissue: Mask) -> tuple[float, Array]:
    """The HU level of the liver in a box, and the structures that stand out from it (vessels, ducts).

    Args:
        hu: (n, m, k) box of the image, in HU.
        tissue: (n, m, k) liver without lesions, not empty.

    Returns:
        The liver's median in HU, and an (n, m, k) array, in HU, of how far each voxel of the smoothed image lies above
        (positive) or below (negative) the liver's own variation. It is 0 outside `tissue`, and near its edge, where
        neighbours influence the smoothed image.
    """
    smooth, weight = _smoothed(hu, tissue)
    level, deviation = _level_and_deviation(smooth[tissue])
    spread = 2 * deviation
    excess = smooth - np.clip(smooth, level - spread, level + spread)
    return level, excess * tissue * np.clip(3 * weight - 2, 0, 1)


def _smoothed(hu: Array, tissue: Mask) -> tuple[Array, Array]:
    """The image smoothed in-plane over tissue voxels only, and the weight of tissue around each voxel."""
    inside = tissue.astype(np.float32)
    sigma = (_STRUCTURE, _STRUCTURE, 0)
    weight = gaussian_filter(inside, sigma, truncate=2.5)
    return gaussian_filter(hu * inside, sigma, truncate=2.5) / np.maximum(weight, 1e-3), weight


def _level_and_deviation(values: Array) -> tuple[float, float]:
    """Median and robust standard deviation, from a sample of a few thousand values."""
    sample = values[:: 1 + len(values) // 5000]
    level = float(np.median(sample))
    return level, 1.4826 * float(np.median(np.abs(sample - level)))


def pushed_aside(structures: Array, depth: Array, centre: tuple[float, float], mass_effect: float) -> Array:
    """Structures moved in-plane away from the lesion, as if tissue nearly kept its volume.

    A point at relative depth p moves to relative depth q = (p^3 + m)^(1/3), where m is `mass_effect` up to q = 1 and
    falls smoothly to 0 at q = 1.8.

    Args:
        structures: (n, m, k) structures from `liver_structures`.
        depth: (n, m, k) relative depth.
        centre: row and column of the lesion's centre in the box.
        mass_effect: share of the lesion's volume by which it pushes its surroundings aside.
    """
    if not mass_effect or not structures.any():
        return structures
    fading = mass_effect * smoothstep((1.8 - depth) / np.float32(0.8))
    ratio = np.cbrt(np.maximum(depth**3 - fading, 0)) / np.maximum(depth, 1e-3)
    rows = centre[0] + (np.arange(depth.shape[0])[:, None, None] - centre[0]) * ratio
    columns = centre[1] + (np.arange(depth.shape[1])[None, :, None] - centre[1]) * ratio
    slices = range(depth.shape[2])
    moved = [map_coordinates(structures[..., k], [rows[..., k], columns[..., k]], order=1) for k in slices]
    return np.stack(moved, axis=-1)


def lesion_in_box(
    random: np.random.RandomState, hu: Array, tissue: Mask, axes: Axes, lesion: Lesion, thickness: float
) -> tuple[Array, Mask]:
    """Draw a lesion as a change to a box of the image; only `tissue` is changed.

    Args:
        random: source of shape and texture.
        hu: (n, m, k) box of the image, in HU.
        tissue: (n, m, k) liver without lesions, not empty.
        axes: positions of the box's voxels in mm from the lesion's centre.
        lesion: the lesion to draw.
        thickness: slice thickness, mm.

    Returns:
        (n, m, k) change in HU, and (n, m, k) mask of the voxels that are at least half lesion, in tissue or not.
    """
    depth, share = lesion_on_slices(random, axes, lesion, thickness)
    liver, structures = liver_structures(hu, tissue)
    centre = tuple(float(np.interp(0, axis, np.arange(len(axis)))) for axis in axes[:2])
    moved = pushed_aside(structures, depth, (centre[0], centre[1]), lesion.mass_effect)
    drawn = lesion_offset(random, axes, depth, share, lesion, min(DARKEST - liver, 0.0))
    change = (1 - share) * moved - structures + drawn
    return change * tissue, share >= 0.5


def stands_out(change: Array, inside: Mask, hu: Array, tissue: Mask) -> bool:
    """Whether a lesion's largest cross-section is visible in the liver's noise; False if the lesion has no voxel.

    A network trained on invisible lesions would learn to guess.

    Args:
        change: (n, m, k) change that the lesion makes, in HU.
        inside: (n, m, k) voxels of the lesion, all of them tissue.
        hu: (n, m, k) box of the image before, in HU.
        tissue: (n, m, k) liver without lesions, not empty.
    """
    areas = inside.sum(axis=(0, 1))
    largest = int(areas.argmax())
    if not areas[largest]:
        return False
    section = (..., slice(largest, largest + 1))
    smooth, _ = _smoothed(hu[section], tissue[section])
    # Smoothing reduces white noise by this factor, and coarse noise, which hides more, by less.
    noise = 2 * np.sqrt(np.pi) * _STRUCTURE * _level_and_deviation(smooth[tissue[section]])[1]
    contrast = abs(float(change[..., largest][inside[..., largest]].mean()))
    return bool(contrast * np.sqrt(areas[largest]) >= ROSE * noise)
