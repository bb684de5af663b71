"""Measurements of a single lesion."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from custom_networks.labelmap.boxes import Box, grown_box
from custom_networks.labelmap.diameters import widest_slice
from custom_networks.labelmap.distances import RING_MM, Surface, liver_around
from custom_networks.labelmap.labels import Floats, Mask
from custom_networks.labelmap.lesions import FoundLesion
from custom_networks.report.organ_region import OrganRegion

Point = tuple[float, float, float]


@dataclass(frozen=True)
class MeasuredLesion:
    """Measurements of one lesion; points are DICOM patient coordinates (LPS) in mm.

    Attributes:
        id: number of the lesion. Lesions are numbered by volume from 1, the largest, unless `numbered_as` gave them
            the numbers of an earlier report.
        volume_mm3: volume in mm3.
        longest_mm: longest diameter in any slice, in mm (RECIST 1.1).
        perpendicular_mm: longest perpendicular diameter in the same slice, in mm.
        longest_ends: end points of the longest diameter.
        perpendicular_ends: end points of the perpendicular diameter.
        slice_number: slice of the longest diameter, counted from feet to head, beginning with 1.
        slice_index: index of the same slice along the file's slice axis, from 0.
        slice_position_mm: z of the midpoint of the longest diameter, in mm.
        extent_mm: size of the bounding box along the patient's x, y and z axes, in mm.
        centroid: mean position of its voxels.
        mean_hu: mean intensity in HU.
        sd_hu: standard deviation of the intensity in HU.
        contrast_hu: mean intensity of the lesion minus the mean of the liver within 10 mm of it, in HU, without the
            liver next to any lesion (see `liver_around`). None if no liver voxel is left.
        surface_distance_mm: shortest distance to the surface of the liver (including its lesions) in mm, 0 if the
            lesion touches it; None if the image shows no surface.
        touches_border: whether the lesion reaches the border of the image, so that it may be cut off.
        mean_probability: mean tumor probability, 0 to 1; None for a person's mask.
        confidence: confidence that the lesion is real, 0 to 1; a probability only if `Measurements.calibrated` is
            true. None for a person's mask.
    """

    id: int
    volume_mm3: float
    longest_mm: float
    perpendicular_mm: float
    longest_ends: tuple[Point, Point]
    perpendicular_ends: tuple[Point, Point]
    slice_number: int
    slice_index: int
    slice_position_mm: float
    extent_mm: Point
    centroid: Point
    mean_hu: float
    sd_hu: float
    contrast_hu: float | None
    surface_distance_mm: float | None
    touches_border: bool
    mean_probability: float | None
    confidence: float | None


def measure_lesion(
    found: FoundLesion, mask: Mask, box: Box, region: OrganRegion, hu: npt.NDArray[np.generic], surface: Surface
) -> MeasuredLesion:
    """Measure one lesion.

    Args:
        found: number, probability and confidence from the anatomy rules.
        mask: (i, j, k) mask of the lesion in `box`.
        box: bounding box of the lesion in the region.
        region: the liver and its surroundings.
        hu: (i, j, k) CT of the region in HU.
        surface: surface of the liver.
    """
    widest, index = widest_slice(mask, region.slice_axis, region.to_mm)
    start = np.array([part.start for part in box])
    longest, across = (
        region.lps(start + np.insert(ends, region.slice_axis, index, axis=1))
        for ends in (widest.longest_ends, widest.perpendicular_ends)
    )
    slice_index = int(index + box[region.slice_axis].start + region.box[region.slice_axis].start)
    from_feet = region.affine[2, region.slice_axis] > 0
    places = region.lps(np.argwhere(mask) + start)
    intensities = hu[box][mask].astype(np.float64)
    return MeasuredLesion(
        id=found.number,
        volume_mm3=len(places) * region.voxel_mm3,
        longest_mm=widest.longest_mm,
        perpendicular_mm=widest.perpendicular_mm,
        longest_ends=(_point(longest[0]), _point(longest[1])),
        perpendicular_ends=(_point(across[0]), _point(across[1])),
        slice_number=slice_index + 1 if from_feet else region.shape[region.slice_axis] - slice_index,
        slice_index=slice_index,
        slice_position_mm=float(longest[:, 2].mean()),
        # From face to face of the outermost voxels, as for the diameters.
        extent_mm=_point(np.ptp(places, axis=0) + np.abs(region.to_mm).max(axis=1)),
        centroid=_point(places.mean(axis=0)),
        mean_hu=float(intensities.mean()),
        sd_hu=float(intensities.std()),
        contrast_hu=_contrast(mask, box, region, hu, float(intensities.mean())),
        surface_distance_mm=surface.distance_mm(mask, start),
        touches_border=region.at_border(box),
        mean_probability=found.mean_probability,
        confidence=found.confidence,
    )


def _contrast(mask: Mask, box: Box, region: OrganRegion, hu: npt.NDArray[np.generic], mean_hu: float) -> float | None:
    around = grown_box(box, RING_MM, region.spacing, region.labels.shape)
    lesion = np.zeros(region.labels[around].shape, bool)
    lesion[tuple(slice(b.start - a.start, b.stop - a.start) for b, a in zip(box, around, strict=True))] = mask
    ring = liver_around(region.labels[around], lesion, region.spacing)
    return mean_hu - float(hu[around][ring].mean()) if ring.any() else None


def _point(values: Floats) -> Point:
    x, y, z = (float(value) for value in values)
    return x, y, z
