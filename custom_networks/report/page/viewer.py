"""Volumes for the viewer on report.html: the CT around the liver, and its labels, small enough to embed.

They are NIfTI files on grids along the scan's own axes, reordered to be close to RAS. The grids are never finer than
the scan. Positions in mm follow from the affines.
"""

import base64
import zlib
from dataclasses import dataclass

import nibabel as nib
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from custom_networks.io.volume import Volume
from custom_networks.labelmap.boxes import Box
from custom_networks.labelmap.labels import TUMOR, Floats
from custom_networks.report.measurements import Measurements
from custom_networks.report.organ_region import RAS_TO_LPS, OrganRegion
from custom_networks.report.oriented import OrientedCase, Point, oriented
from custom_networks.report.pictures import MARGIN_MM, WINDOW_HU
from custom_networks.report.sampling import nearest, volume_at

FINEST_MM, COARSEST_MM = 0.75, 1.25  # size of pixels
FINEST_SLICE_MM, COARSEST_SLICE_MM = 1.25, 2.5
MOST_VOXELS = 4_500_000
MOST_CHARACTERS = 4_600_000  # of the CT in base64; a page has at most 8 MB
SOLID_MM = 2.0
LIVER, FIRST_LESION = 1, 2  # lesion n has the value n + 1, at most 255


@dataclass(frozen=True)
class ViewerVolumes:
    """Volumes as .nii.gz files in base64.

    Attributes:
        ct: the CT clipped to `WINDOW_HU`, with 8 bits; the header's slope and intercept restore HU.
        labels: label map on the grid of `ct`: 0 background, 1 liver, n + 1 (at most 255) for lesion n.
        solid: smoothed mask of the liver for 3D rendering, 0 to 255; "" without a liver.
        solid_lesions: the lesions on the grid of `solid`, valued as in `labels`; "" without a liver.
        spacing: distances between the CT's voxels along x, y and z, in mm.
        middle: centre of `ct`, LPS mm.
    """

    ct: str
    labels: str
    solid: str
    solid_lesions: str
    spacing: Point
    middle: Point


@dataclass(frozen=True, eq=False)
class _Grid:
    """A grid to which a case is resampled.

    Attributes:
        at: evenly spaced positions along the three axes, in voxels of the case.
        affine: (4, 4) affine of the grid, index to RAS mm.
        spacing: distances between grid points in mm.
    """

    at: tuple[Floats, Floats, Floats]
    affine: Floats
    spacing: Floats


def viewer_volumes(ct: Volume, region: OrganRegion, measured: Measurements) -> ViewerVolumes:
    """Return the volumes of a case for the viewer."""
    case = oriented(ct, region, measured)
    shown, grid = _ct(case)
    labels = _labels(case, grid)
    solid, lesions = _solid(case, grid, labels) if case.labels.size else ("", "")
    middle = grid.affine @ [*(len(at) / 2 for at in grid.at), 1.0]
    return ViewerVolumes(
        ct=shown,
        labels=_encoded(labels, grid.affine, "label"),
        solid=solid,
        solid_lesions=lesions,
        spacing=_point(grid.spacing),
        middle=_point(middle[:3] * RAS_TO_LPS),
    )


def _ct(case: OrientedCase) -> tuple[str, _Grid]:
    """Return the encoded CT and its grid, whose spacing is increased until the CT is small enough for the page."""
    spacing = _spacing(case)
    while True:
        grid = _grid(case, spacing)
        shown = _encoded(_window(volume_at(case.hu, *grid.at)), grid.affine, "hu")
        if len(shown) <= MOST_CHARACTERS:
            return shown, grid
        spacing = spacing * (len(shown) / MOST_CHARACTERS) ** (1 / 3) * 1.03


def _solid(case: OrientedCase, shown: _Grid, labels: npt.NDArray[np.uint8]) -> tuple[str, str]:
    """Return `solid` and `solid_lesions` of `ViewerVolumes`, made from the labels on the CT's grid."""
    grid = _grid(case, np.maximum(SOLID_MM, shown.spacing))
    inside = [(at - own[0]) / (own[1] - own[0]) for at, own in zip(grid.at, shown.at, strict=True)]
    body = ndimage.gaussian_filter(volume_at(labels > 0, *inside), 1.0) * 255
    lesions = labels[np.ix_(*(nearest(at, size) for at, size in zip(inside, labels.shape, strict=True)))]
    lesions[lesions == LIVER] = 0
    return _encoded(body.astype(np.uint8), grid.affine), _encoded(lesions, grid.affine, "label")


def _spacing(case: OrientedCase) -> Floats:
    """Return the voxel size of the viewer's CT along x, y and z in mm.

    It is never finer than the scan or `FINEST_MM` (between slices, `FINEST_SLICE_MM`), and coarse enough for at most
    `MOST_VOXELS`.
    """
    finest = np.full(3, FINEST_MM)
    finest[case.slice_axis] = FINEST_SLICE_MM
    spacing = np.maximum(finest, case.spacing)
    size = [(side.stop - side.start) * mm for side, mm in zip(_shown(case), case.spacing, strict=True)]
    coarsest = np.full(3, COARSEST_MM)
    coarsest[case.slice_axis] = COARSEST_SLICE_MM
    while np.prod(size / spacing) > MOST_VOXELS:
        grows = spacing < coarsest
        spacing = np.where(grows if grows.any() else True, spacing * 1.05, spacing)
    return spacing


def _shown(case: OrientedCase) -> Box:
    """Return the box of the image to show: the liver with a margin, or the whole image without a liver."""
    if not case.labels.size:
        x, y, z = (slice(0, size) for size in case.hu.shape)
        return x, y, z
    margins = np.ceil(MARGIN_MM / case.spacing).astype(int).tolist()
    x, y, z = (
        slice(max(0, side.start - margin), min(size, side.stop + margin))
        for side, margin, size in zip(case.box, margins, case.hu.shape, strict=True)
    )
    return x, y, z


def _grid(case: OrientedCase, spacing: Floats) -> _Grid:
    """Return a grid with this spacing (mm), centred in the box to show and within it.

    There are at least two points along each axis, even if the box is smaller.
    """
    starts, at = [], []
    for side, mm, own in zip(_shown(case), spacing, case.spacing, strict=True):
        step = float(mm / own)
        count = max(2, int((side.stop - side.start) / step))
        first = (side.start + side.stop - 1) / 2 - (count - 1) / 2 * step
        starts.append(first)
        at.append(first + np.arange(count) * step)
    affine = case.affine.copy()
    affine[:3, 3] = (case.affine @ [*starts, 1.0])[:3]
    affine[:3, :3] = case.affine[:3, :3] * (spacing / case.spacing)
    return _Grid((at[0], at[1], at[2]), affine, spacing)


def _labels(case: OrientedCase, grid: _Grid) -> npt.NDArray[np.uint8]:
    """Return the viewer's label map on a grid, by nearest neighbour; 0 outside the case's region."""
    sizes = tuple(len(at) for at in grid.at)
    found = np.zeros(sizes, np.uint8)
    if not case.labels.size:
        return found
    inside = [at - side.start for at, side in zip(grid.at, case.box, strict=True)]
    seen = [(at > -0.5) & (at < size - 0.5) for at, size in zip(inside, case.labels.shape, strict=True)]
    read = [nearest(at[s], size) for at, s, size in zip(inside, seen, case.labels.shape, strict=True)]
    labels = case.labels[np.ix_(*read)]
    values, lesion = (labels > 0).astype(np.uint8), np.nonzero(labels == TUMOR)
    x, y, z = (at[part] for at, part in zip(read, lesion, strict=True))
    values[lesion] = np.minimum(case.numbers[x, y, z].astype(np.int64) + FIRST_LESION - 1, 255)
    found[np.ix_(*seen)] = values
    return found


def _window(hu: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    low, high = WINDOW_HU
    hu -= low
    hu *= 255 / (high - low)
    return np.asarray(np.rint(np.clip(hu, 0, 255, out=hu), out=hu).astype(np.uint8))


def _encoded(voxels: npt.NDArray[np.uint8], affine: Floats, kind: str = "") -> str:
    """Encode voxels as a .nii.gz file in base64.

    The kind "hu" adds the slope and intercept that restore HU, and "label" marks a label map.
    """
    image = nib.Nifti1Image(np.asarray(voxels, np.uint8), affine)
    image.header.set_xyzt_units("mm")
    if kind == "hu":
        low, high = WINDOW_HU
        image.header.set_slope_inter((high - low) / 255, low)
    elif kind == "label":
        image.header.set_intent("label")
    # A noisy CT has no repeated strings: run-length encoding compresses it better, in less than half the time.
    strategy = zlib.Z_RLE if kind == "hu" else zlib.Z_DEFAULT_STRATEGY
    press = zlib.compressobj(4, wbits=zlib.MAX_WBITS | 16, strategy=strategy)
    return base64.b64encode(press.compress(image.to_bytes()) + press.flush()).decode("ascii")


def _point(values: Floats) -> Point:
    x, y, z = (round(float(value), 4) for value in values)
    return x, y, z
