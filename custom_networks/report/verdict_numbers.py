"""Measure the numbers that a verdict is based on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import ndimage

from custom_networks.io.case import SeriesInfo
from custom_networks.io.volume import Volume
from custom_networks.labelmap.boxes import box_around
from custom_networks.labelmap.labels import LIVER
from custom_networks.report.aorta import aorta_hu
from custom_networks.report.coarse import CoarseView, coarse_view
from custom_networks.report.measurements import Measurements
from custom_networks.report.organ_region import OrganRegion

BODY_RANGE_HU, FAT_RANGE_HU = (-200, 300), (-200, -20)
DENSE_HU, METAL_HU = 300, 2500
LEAST_WIDTH_MM = 200.0  # of a completely visible trunk
TYPICAL_BMI, TYPICAL_AGE = 25.0, 60.0
NOTHING_FOUND = "nothing found"


@dataclass(frozen=True)
class VerdictNumbers:
    """Measured numbers of a scan and its mask; None if a number could not be measured. Shares are from 0 to 1.

    Voxels count as tissue if they are above -300 HU and above the minimum of the image. "At the level of the liver"
    means in the whole scan if there is no liver.

    Attributes:
        lowest_hu: minimum of the image, including padding.
        highest_hu: maximum of the image.
        at_highest_share: share of the tissue that has the maximum value.
        tissue_share: share of all voxels that are tissue.
        in_range_share: share of the tissue between -200 and 300 HU.
        fat_share: share of the tissue between -200 and -20 HU.
        one_value_share: share of the tissue that has its most common (rounded) value, the maximum excluded.
        slice_mm: distance between slices in mm.
        metal_ml: volume above 2500 HU in the trunk at the level of the liver, in ml.
        dense_ml: volume above 300 HU inside the liver, without noise, in ml.
        cut_share: share of the trunk's outline on the edge of the field of view at the level of the liver.
        liver_ml: volume of the liver including tumors, in ml.
        expected_ml: expected volume of the liver for the size of the body, in ml.
        expected_by: what the size of the body was estimated from: "height", "height and weight" or "width"; "" if
            `expected_ml` is None.
        touches_border: sides of the image that the liver reaches, such as "feet, head"; "" if none.
        left_share: share of the liver to the left of the trunk's midline, if the whole trunk is visible.
        parts_ml: volume of the liver outside its largest connected component, in ml.
        liver_hu: median of the liver without tumors, in HU.
        aorta_hu: median of the aorta, in HU.
        unsure_share: number of voxels whose probability of being liver or tumor is 25 to 75 %, divided by the number of
            liver voxels; can exceed 1.
        unsure_tumor_share: share of the liver voxels in which tumor makes up 25 to 75 % of this probability.
        scout_gap_mm: largest distance of a side of the mask from the same side of the scout's box, in mm.
        scout_reached: whether the mask reaches the border of the scout's box inside the image.
        scout_saw_nothing: whether the scout searched and found no liver.
        confidence: confidence of each lesion, by its number.
    """

    lowest_hu: float
    highest_hu: float
    at_highest_share: float
    tissue_share: float
    in_range_share: float
    fat_share: float
    one_value_share: float
    slice_mm: float
    metal_ml: float
    dense_ml: float
    cut_share: float
    liver_ml: float
    expected_ml: float | None
    expected_by: str
    touches_border: str
    left_share: float | None
    parts_ml: float
    liver_hu: float | None
    aorta_hu: float | None
    unsure_share: float | None = None
    unsure_tumor_share: float | None = None
    scout_gap_mm: float | None = None
    scout_reached: bool = False
    scout_saw_nothing: bool = False
    confidence: Mapping[int, float] = field(default_factory=dict)


def verdict_numbers(
    ct: Volume,
    region: OrganRegion,
    found: Measurements,
    *,
    series: SeriesInfo | None = None,
    scout: Mapping[str, Any] | None = None,
    unsure: tuple[float | None, float | None] = (None, None),
) -> VerdictNumbers:
    """Measure the numbers for a verdict, mostly on a subsampled scan for speed.

    Args:
        ct: the scan in HU.
        region: the liver region of its label map.
        found: the measurements of the case.
        series: DICOM series, whose headers may state the patient's height and weight.
        scout: the `scout` block of report.json.
        unsure: `unsure_share` and `unsure_tumor_share`, from `labelmap.doubt.unsure_shares`.
    """
    view = coarse_view(ct, region)
    cut = view.cut_share()
    whole = view.width_mm >= LEAST_WIDTH_MM and cut < 0.2
    expected, by = _expected_ml(series, view.width_mm if whole else None)
    gap, reached = _scout_gap(scout or {}, region)
    return VerdictNumbers(
        **_intensities(view),
        slice_mm=ct.spacing[ct.slice_axis],
        metal_ml=view.trunk_ml_above(METAL_HU),
        dense_ml=_dense_ml(ct, region),
        cut_share=cut,
        liver_ml=found.liver_ml,
        expected_ml=expected,
        expected_by=by,
        touches_border=_sides(region),
        left_share=view.left_share() if whole else None,
        parts_ml=view.parts_ml(),
        liver_hu=_liver_hu(ct, region),
        aorta_hu=aorta_hu(view),
        unsure_share=unsure[0],
        unsure_tumor_share=unsure[1],
        scout_gap_mm=gap,
        scout_reached=reached,
        scout_saw_nothing=(scout or {}).get("state") == NOTHING_FOUND,
        confidence={lesion.id: lesion.confidence for lesion in found.lesions if lesion.confidence is not None},
    )


def _intensities(view: CoarseView) -> dict[str, Any]:
    """Return the numbers that depend on intensities only, by name."""
    hu = view.hu
    lowest, highest = float(hu.min()), float(hu.max())
    tissue = hu[hu > view.air_hu]
    count = max(1, tissue.size)
    _, same = np.unique(np.rint(tissue[tissue < highest]), return_counts=True)
    low, high = BODY_RANGE_HU
    fat_low, fat_high = FAT_RANGE_HU
    return {
        "lowest_hu": lowest,
        "highest_hu": highest,
        "at_highest_share": float(np.count_nonzero(tissue == highest) / count),
        "tissue_share": tissue.size / hu.size,
        "in_range_share": float(np.count_nonzero((tissue >= low) & (tissue <= high)) / count),
        "fat_share": float(np.count_nonzero((tissue >= fat_low) & (tissue <= fat_high)) / count),
        "one_value_share": float(same.max() / count) if same.size else 0.0,
    }


def _dense_ml(ct: Volume, region: OrganRegion) -> float:
    """Return the volume above `DENSE_HU` inside the liver in ml.

    A morphological opening with an in-plane cross of 3 x 3 voxels removes noise and compression artefacts.
    """
    dense = (ct.array[region.box] > DENSE_HU) & (region.labels > 0)
    box = box_around(dense)
    if box is None:
        return 0.0
    cross = ndimage.generate_binary_structure(3, 1)
    cross[tuple(slice(None) if axis == region.slice_axis else 1 for axis in range(3))] = [False, True, False]
    return float(np.count_nonzero(ndimage.binary_opening(dense[box], cross)) * region.voxel_mm3 / 1000)


def _liver_hu(ct: Volume, region: OrganRegion) -> float | None:
    liver = ct.array[region.box][region.labels == LIVER]
    return float(np.median(liver)) if liver.size else None


def _expected_ml(series: SeriesInfo | None, width_mm: float | None) -> tuple[float | None, str]:
    """Return the expected liver volume in ml, or None, and what it was estimated from.

    If a plausible height is known, the volume follows from body surface area (Mosteller) as 893.485 x BSA - 439.169
    (1000 living donors, PMID 26693231). A BMI of 25 is assumed if no plausible weight is known.

    Otherwise, the volume follows from the width of the trunk as 203.3 - 3.61 x age + 58.7 x width in cm, minus 463.7
    for Japanese patients (Kokudo et al., J Hepatol 63, 2015). An age of 60 is assumed, and half of 463.7 is subtracted.
    Without a width, the result is None and "".
    """
    height, weight = (series.height_m, series.weight_kg) if series else (None, None)
    if height and 1.2 <= height <= 2.3:
        known = weight is not None and 30 <= weight <= 300
        kg = weight if known and weight is not None else TYPICAL_BMI * height**2
        area = (100 * height * kg / 3600) ** 0.5
        return 893.485 * area - 439.169, "height and weight" if known else "height"
    if width_mm is None:
        return None, ""
    return 203.3 - 3.61 * TYPICAL_AGE + 5.87 * width_mm - 463.7 / 2, "width"


def _sides(region: OrganRegion) -> str:
    """Return the sides of the image that the liver reaches, separated by commas; "" if none."""
    organ = box_around(region.labels)
    if organ is None:
        return ""
    names = (("left", "right"), ("back", "front"), ("feet", "head"))
    reached = []
    for axis, (outer, part, size) in enumerate(zip(region.box, organ, region.shape, strict=True)):
        world = int(np.argmax(np.abs(region.to_mm[:, axis])))
        low, high = names[world] if region.to_mm[world, axis] > 0 else names[world][::-1]
        reached += [low] * (outer.start + part.start == 0) + [high] * (outer.start + part.stop == size)
    return ", ".join(reached)


def _scout_gap(scout: Mapping[str, Any], region: OrganRegion) -> tuple[float | None, bool]:
    """Return `scout_gap_mm` and `scout_reached` of `VerdictNumbers`; None and False without a box or a liver."""
    organ, box = box_around(region.labels), scout.get("box")
    if organ is None or box is None:
        return None, False
    gaps, reached = [], False
    for (first, stop), outer, part, size, mm in zip(box, region.box, organ, region.shape, region.spacing, strict=True):
        below, above = outer.start + part.start - first, stop - outer.start - part.stop
        gaps += [below * mm, above * mm]
        reached |= (first > 0 and below <= 0) or (stop < size and above <= 0)
    return float(max(gaps)), reached
