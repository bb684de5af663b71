"""Make a phantom from a seed: a synthetic abdominal CT, with a scanner's blur and noise, and its exact truth."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from custom_networks.errors import UsageError
from custom_networks.phantom import body
from custom_networks.phantom.canvas import Array, Canvas, Grid, Triple, blank_canvas
from custom_networks.phantom.lesions import Lesion, draw_lesions, find_sites, paint_lesion
from custom_networks.phantom.organs import draw_neighbours, liver_field, liver_window, paint_liver, paint_organs
from custom_networks.phantom.tissue import Enhancement, draw_enhancement

MOST_LESIONS = 8
SMALLEST_SHAPE = (32, 32, 8)
LOWEST, HIGHEST = -1024, 3071  # the range of 12 bits with the usual intercept of -1024


@dataclass(frozen=True)
class Phantom:
    """A synthetic CT and its truth on one grid.

    Arrays are (i, j, k) with i to the patient's left, j to the back and k to the head.

    Attributes:
        image: HU, int16.
        label: uint8, 0 background, 1 liver, 2 tumor.
        affine: (4, 4), from indices to RAS mm.
        spacing: voxel size, mm.
        lesions: the tumors.
        cysts: benign cysts, which are labelled liver, so that a model has to distinguish them from tumors.
    """

    image: npt.NDArray[np.int16]
    label: npt.NDArray[np.uint8]
    affine: npt.NDArray[np.float64]
    spacing: Triple
    lesions: tuple[Lesion, ...]
    cysts: tuple[Lesion, ...]


def _check(seed: int, shape: tuple[int, ...] | None, spacing: tuple[float, ...] | None, lesions: int | None) -> None:
    """Raise UsageError if an argument of `make_phantom` is out of range."""
    if seed < 0:
        raise UsageError(f"A phantom's seed must be 0 or more, got {seed}; choose another seed.")
    if shape is not None and (len(shape) != 3 or any(n < low for n, low in zip(shape, SMALLEST_SHAPE))):
        raise UsageError(
            f"A phantom must have at least {SMALLEST_SHAPE} voxels along its three axes, got {shape}; enlarge it."
        )
    if spacing is not None and (len(spacing) != 3 or not all(0.1 <= s <= 20 for s in spacing)):
        raise UsageError(f"A phantom's spacing must be 0.1 to 20 mm along each axis, got {spacing}; change it.")
    if lesions is not None and not 0 <= lesions <= MOST_LESIONS:
        raise UsageError(f"A phantom has 0 to {MOST_LESIONS} lesions, got {lesions}; ask for a number in that range.")


def _draw_grid(
    rng: np.random.Generator, shape: tuple[int, int, int] | None, spacing: tuple[float, float, float] | None
) -> Grid:
    """Grid of a scan, with the given shape and spacing; what is not given varies as in clinical scans."""
    field_of_view, height = rng.uniform(330, 410), rng.uniform(190, 235)
    thickness = float(rng.choice([2.0, 2.5, 3.0, 4.0, 5.0]))
    pixels = int(rng.choice([256, 288] if thickness < 3 else [256, 288, 320]))
    if shape is None and spacing is not None:
        shape = (round(field_of_view / spacing[0]), round(field_of_view / spacing[1]), round(height / spacing[2]))
        shape = (max(shape[0], 32), max(shape[1], 32), max(shape[2], 8))
    elif shape is None:
        shape = (pixels, pixels, round(height / thickness))
    sides = (field_of_view / shape[0], field_of_view / shape[1], height / shape[2])
    # Rounded to a precision that both DICOM's decimal strings and float32 headers can represent.
    dx, dy, dz = (round(float(side), 4) for side in (spacing or sides))
    corner = (dx * (shape[0] - 1) / 2, dy * (shape[1] - 1) / 2, -dz * (shape[2] - 1) / 2)
    x, y, z = (round(float(c + shift), 3) for c, shift in zip(corner, rng.uniform((-9, -9, -900), (9, 9, -100))))
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), (dx, dy, dz), (x, y, z))


def _draw_body(rng: np.random.Generator, grid: Grid) -> tuple[Triple, Triple]:
    """Centre (RAS mm) of a body that fills the field of view, and its scale relative to the standard body."""
    width, depth, height = (n * s for n, s in zip(grid.shape, grid.spacing))
    half_width = min(0.45 * width, 190.0) * rng.uniform(0.95, 1.03)
    half_depth = min(half_width * rng.uniform(0.66, 0.78), 0.42 * depth)
    middle = [(axis[0] + axis[-1]) / 2 for axis in grid.axes]
    x, y, z = (m + shift for m, shift in zip(middle, rng.uniform(-1, 1, 3) * (0.01 * width, 0.01 * depth, 0)))
    scale = (half_width / body.HALF_WIDTH, half_depth / body.HALF_DEPTH, min(height / 2, 125.0) / body.HALF_HEIGHT)
    return (x, y + 0.03 * depth, z), scale


def _paint_patient(rng: np.random.Generator, canvas: Canvas, tissue: Enhancement) -> Array:
    """Paint the whole patient except lesions; return the liver's field on the whole grid (mm, negative inside)."""
    cavity, wall = body.paint_trunk(rng, canvas, tissue)
    body.paint_table(canvas)
    under = body.paint_chest(rng, canvas, cavity, tissue)
    body.paint_spine(rng, canvas, tissue)
    body.paint_ribs(rng, canvas, wall)
    organs = draw_neighbours(rng)
    paint_organs(rng, canvas, organs, cavity, under, tissue)
    field = liver_field(rng, canvas, organs, cavity, under)
    paint_liver(rng, canvas, field, tissue)
    everywhere = np.full(canvas.hu.shape, 1e3, np.float32)
    everywhere[liver_window(canvas)] = field
    return everywhere


def _blur(image: Array, sigma_mm: float, spacing: Triple, sigma_slices: float = 0.0) -> Array:
    """Gaussian blur with `sigma_mm` in-plane and `sigma_slices` along the slices."""
    sigmas = (sigma_mm / spacing[0], sigma_mm / spacing[1], sigma_slices)
    return ndimage.gaussian_filter(image, sigmas, truncate=3.0, output=np.float32)


def acquire(rng: np.random.Generator, hu: Array, spacing: Triple) -> npt.NDArray[np.int16]:
    """Turn painted tissue into a CT image (int16 HU) of random sharpness, with noise strongest in the middle."""
    image = _blur(hu, rng.uniform(0.55, 0.85), spacing, 0.2)
    # Noise with a band of in-plane frequencies, as filtered back-projection produces it.
    fine = _blur(rng.standard_normal(hu.shape, dtype=np.float32), 0.75, spacing, 0.35)
    grain = fine - np.float32(0.75) * _blur(fine, 1.6, spacing)
    grain = grain / np.float32(grain.std()) * np.float32(rng.uniform(8, 22))
    x, y = (np.linspace(-1, 1, n, dtype=np.float32)[:, None] for n in hu.shape[:2])
    middle = np.exp(-1.2 * (x**2 + y.T**2)) * np.float32(0.5) + np.float32(0.65)
    image += grain * middle[:, :, None]
    return np.clip(np.rint(image), LOWEST, HIGHEST).astype(np.int16)


def make_phantom(
    seed: int,
    *,
    shape: tuple[int, int, int] | None = None,
    spacing: tuple[float, float, float] | None = None,
    lesions: int | None = None,
) -> Phantom:
    """Make a synthetic CT of the upper abdomen with exact truth; on one machine, a seed always gives the same phantom.

    The anatomy fills the field of view, so that a small shape with large voxels still shows the whole upper abdomen. A
    voxel is labelled by the tissue at its centre.

    Args:
        seed: 0 or more.
        shape: voxels along each axis; by default, it varies with the seed.
        spacing: voxel size, mm; by default, it varies with the seed.
        lesions: number of tumors, 0 to 8; by default, it varies with the seed.

    Raises:
        UsageError: a value is out of range.
    """
    _check(seed, shape, spacing, lesions)
    rng = np.random.default_rng(seed)
    grid = _draw_grid(rng, shape, spacing)
    canvas = blank_canvas(rng, grid, *_draw_body(rng, grid))
    tissue = draw_enhancement(rng)
    organ = _paint_patient(rng, canvas, tissue)
    label = (organ < 0).astype(np.uint8)
    window = liver_window(canvas)
    number = int(rng.integers(0, MOST_LESIONS + 1))
    sites = find_sites(grid, window, organ[window] < 0)
    tumors, cysts = draw_lesions(rng, sites, number if lesions is None else lesions)
    for lesion in cysts + tumors:
        box, mask = paint_lesion(rng, canvas.hu, organ, grid, lesion, tissue)
        if lesion in tumors:
            label[box][mask] = 2
    return Phantom(acquire(rng, canvas.hu, grid.spacing), label, grid.affine, grid.spacing, tuple(tumors), tuple(cysts))
