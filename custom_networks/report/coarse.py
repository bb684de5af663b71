"""A scan and its label map, subsampled and reoriented to the axes closest to the patient's."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from nibabel.orientations import apply_orientation, io_orientation
from scipy import ndimage

from custom_networks.io.volume import Volume
from custom_networks.labelmap.boxes import Box, box_around
from custom_networks.labelmap.components import NEIGHBOURS_26, component_sizes
from custom_networks.labelmap.labels import Labels
from custom_networks.report.organ_region import OrganRegion

COARSE_MM = 3.0
TISSUE_HU = -300
MOST_SLICES = 16
RIM = 0.96  # fraction of the radius of a circular field of view beyond which a pixel is on its edge
MOST_UNFILLED = 0.5  # if more of the air has the padding value, air is clipped, and padding cannot be recognised
THIN_MM = 20.0  # cables and cushions touching the skin are thinner than this


@dataclass(frozen=True, eq=False)
class CoarseView:
    """Every n-th voxel of a scan and its label map.

    Attributes:
        hu: CT in HU, axes (x, y, z) closest to the patient's right, anterior and superior.
        labels: label map on the same grid: 0 background, 1 liver, 2 tumor.
        spacing: distances between voxels in mm.
    """

    hu: npt.NDArray[Any]
    labels: Labels
    spacing: tuple[float, float, float]

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in ml."""
        return float(np.prod(self.spacing)) / 1000

    @cached_property
    def air_hu(self) -> float:
        """Threshold above which a voxel is tissue: -300 HU, or the image's lowest value if that is higher."""
        return max(float(TISSUE_HU), float(self.hu.min()))

    @cached_property
    def organ(self) -> Box | None:
        """Bounding box of the liver with its tumors, or None without a liver."""
        return box_around(self.labels)

    @cached_property
    def seen_slices(self) -> list[int]:
        """Indices of up to 16 evenly spaced slices through the liver, or through the whole scan without a liver."""
        height = self.organ[2] if self.organ else slice(0, self.hu.shape[2])
        count = min(MOST_SLICES, height.stop - height.start)
        return sorted({int(k) for k in np.linspace(height.start, height.stop - 1, count)})

    @cached_property
    def trunk(self) -> npt.NDArray[np.bool_]:
        """Mask (x, y, n) of the largest connected piece of tissue in each of the n `seen_slices`.

        Thin objects touching the skin are removed, because a cable would count as metal and a table would add to the
        width.
        """
        tissue = self.hu[..., self.seen_slices] > self.air_hu
        disc = _disc(THIN_MM / 2, self.spacing)
        return np.stack([_without_thin_parts(_largest(tissue[..., k]), disc) for k in range(tissue.shape[2])], axis=-1)

    @cached_property
    def width_mm(self) -> float:
        """Median width of the trunk over the `seen_slices`, in mm."""
        spans = [_span(np.any(self.trunk[..., k], axis=1)) for k in range(self.trunk.shape[2])]
        return float(np.median([stop - start for start, stop in spans]) * self.spacing[0])

    @cached_property
    def middle(self) -> float:
        """Median x index of the trunk's midline over the `seen_slices`."""
        spans = [_span(np.any(self.trunk[..., k], axis=1)) for k in range(self.trunk.shape[2])]
        return float(np.median([(start + stop - 1) / 2 for start, stop in spans]))

    def cut_share(self) -> float:
        """Return the share, 0 to 1, of the trunk's outline that lies on the edge of the field of view.

        The field of view is the whole image, or the inscribed circle if the corners are padded. Only the `seen_slices`
        are considered.
        """
        edge = self._rim()
        outline = self.trunk & ~ndimage.binary_erosion(self.trunk, _CROSS_IN_SLICE, border_value=0)
        return float((outline & edge[..., None]).sum() / max(1, outline.sum()))

    def _rim(self) -> npt.NDArray[np.bool_]:
        """Return a mask (x, y) of the pixels on the edge of the field of view; if that is a circle, also outside it."""
        shape = self.hu.shape[:2]
        edge = np.ones(shape, bool)
        edge[1:-1, 1:-1] = False
        x, y = (np.linspace(-1, 1, size) for size in shape)
        radius = np.hypot(x[:, None], y[None])
        hu = self.hu[..., self.seen_slices]
        unfilled, air = hu == self.hu.min(), (hu <= self.air_hu) & (radius < RIM)[..., None]
        noisy = np.count_nonzero(unfilled & air) <= MOST_UNFILLED * np.count_nonzero(air)
        round_field = noisy and unfilled[radius > 1].all()
        return edge | (radius > RIM) if round_field else edge

    def trunk_ml_above(self, hu: float) -> float:
        """Return the volume in ml of the trunk's voxels above `hu`, estimated from the `seen_slices`.

        It covers the height of the liver or, without a liver, the whole scan.
        """
        height = self.organ[2].stop - self.organ[2].start if self.organ else self.hu.shape[2]
        voxels = np.count_nonzero((self.hu[..., self.seen_slices] > hu) & self.trunk)
        return voxels * self.voxel_ml * height / len(self.seen_slices)

    def parts_ml(self) -> float:
        """Return the volume of the liver outside its largest connected component, in ml; 0 without a liver."""
        if self.organ is None:
            return 0.0
        components, count = ndimage.label(self.labels[self.organ] > 0, NEIGHBOURS_26)
        sizes = component_sizes(components, count)
        return float(sizes.sum() - sizes.max()) * self.voxel_ml

    def left_share(self) -> float | None:
        """Return the fraction, 0 to 1, of the liver to the left of the trunk's midline, or None without a liver."""
        if self.organ is None:
            return None
        x = np.nonzero(self.labels[self.organ])[0] + self.organ[0].start
        return float((x < self.middle).mean())


_CROSS_IN_SLICE = ndimage.generate_binary_structure(3, 1) & np.array([False, True, False])


def coarse_view(ct: Volume, region: OrganRegion) -> CoarseView:
    """Subsample a scan and its label map, and reorient them to the closest axes of the patient.

    Along each axis, every n-th voxel is taken, with n such that the new spacing is closest to 3 mm.
    """
    steps = [max(1, round(COARSE_MM / mm)) for mm in ct.spacing]
    hu = ct.array[tuple(slice(None, None, step) for step in steps)]
    labels = np.zeros(hu.shape, np.uint8)
    # The first voxel of the region on the coarse grid, and its index there.
    starts = [-part.start % step for part, step in zip(region.box, steps, strict=True)]
    seen = region.labels[tuple(slice(start, None, step) for start, step in zip(starts, steps, strict=True))]
    corner = [(part.start + start) // step for part, start, step in zip(region.box, starts, steps, strict=True)]
    labels[tuple(slice(first, first + size) for first, size in zip(corner, seen.shape, strict=True))] = seen
    orientation = io_orientation(ct.affine)
    spacing = np.multiply(ct.spacing, steps)[np.argsort(orientation[:, 0])]
    x, y, z = (float(mm) for mm in spacing)
    turned = np.ascontiguousarray(apply_orientation(hu, orientation))
    return CoarseView(turned, apply_orientation(labels, orientation), (x, y, z))


def _largest(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the largest connected component of a 2D mask; an empty mask is returned as it is."""
    pieces, count = ndimage.label(mask)
    return np.asarray(pieces == 1 + np.argmax(np.bincount(pieces.ravel(), minlength=2)[1:])) if count else mask


def _disc(radius: float, spacing: tuple[float, ...]) -> npt.NDArray[np.bool_]:
    """Return a disc of `radius` mm as a 2D structuring element; `spacing` is in mm."""
    x, y = (np.arange(-int(radius / mm), int(radius / mm) + 1) * mm for mm in spacing[:2])
    return np.asarray(np.hypot(x[:, None], y[None]) <= radius)


def _without_thin_parts(piece: npt.NDArray[np.bool_], disc: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the largest component of a 2D mask after removing parts that are thinner than the disc.

    If the mask is thinner everywhere, it is returned unchanged. For the erosion, holes are filled, and the mask is
    assumed to continue beyond the edge of the image.
    """
    eroded = ndimage.binary_erosion(ndimage.binary_fill_holes(piece), disc, border_value=1)
    thick = piece & ndimage.binary_dilation(eroded, disc)
    return _largest(thick) if thick.any() else piece


def _span(seen: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """Return the start and stop index of the range from the first to the last true value, or (0, 0) without any."""
    indices = np.flatnonzero(seen)
    return (int(indices[0]), int(indices[-1]) + 1) if len(indices) else (0, 0)
