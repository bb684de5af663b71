"""What is measured of one lesion."""

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
    """One lesion in numbers; places are patient coordinates as in DICOM (LPS: to the left, back and head), mm.

    Attributes:
        id: 1 for the largest lesion, 2 for the next, and on.
        volume_mm3: its voxels times the volume of a voxel, mm3.
        longest_mm: longest diameter in any one slice, mm (RECIST 1.1).
        perpendicular_mm: longest diameter at a right angle to it in the same slice, mm.
        longest_ends: both ends of the longest diameter.
        perpendicular_ends: both ends of the perpendicular one.
        slice_number: slice of the longest diameter, from 1 for the slice nearest to the feet.
        slice_index: the same slice as an index along the file's slice axis, from 0.
        slice_position_mm: z of the middle of the longest diameter, mm.
        extent_mm: size of the smallest box around the lesion with sides along the patient's x, y and z, mm.
        centroid: mean position of its voxels.
        mean_hu: mean intensity, HU.
        sd_hu: standard deviation of the intensity over its voxels, HU.
        contrast_hu: its mean less that of the liver up to 10 mm around it, HU; None where there is no such liver.
        surface_distance_mm: shortest distance to the surface of the liver with its lesions, mm; 0 where it touches
            it; None where the image shows no surface.
        touches_border: whether it reaches the first or last voxel of the image along any axis, so that it may be cut.
        mean_probability: mean tumor probability over its voxels, 0 to 1; None where a person drew it.
        confidence: how sure it is a real lesion, 0 to 1; a chance only where `Measurements.calibrated` says so. None
            where a person drew it.
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
    """Measure one lesion by its mask (i, j, k) of `box`, the smallest box around it in the region; HU of the region.

    `found` is what the anatomy rules say of it, `surface` that of the liver.
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
        # As in the diameters, a voxel reaches to the middles of its faces.
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
