"""Match lesions of a corrected mask with those of an earlier report, so that they keep their numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from custom_networks.labelmap.labels import Numbers
from custom_networks.report.lesion import MeasuredLesion
from custom_networks.report.measurements import Measurements
from custom_networks.report.organ_region import OrganRegion


def numbered_as(
    earlier: Sequence[Mapping[str, Any]], region: OrganRegion, found: Measurements
) -> tuple[OrganRegion, Measurements]:
    """Return region and measurements with lesions renumbered to match an earlier report.

    Two lesions match if their centroids are no farther apart than a quarter of the sum of their longest diameters.
    (Centres of touching spheres would be twice as far apart.) The closest pairs are matched first. Lesions without a
    match get numbers above those in the earlier report.

    Args:
        earlier: `lesions` of the earlier report.json.
        region: the liver region with its lesion numbers.
        found: the measurements to renumber.
    """
    number_of = _same_lesions(earlier, found.lesions)
    unused = 1 + max([int(lesion["id"]) for lesion in earlier], default=0)
    for lesion in found.lesions:
        if lesion.id not in number_of:
            number_of[lesion.id], unused = unused, unused + 1
    lesions = tuple(replace(lesion, id=number_of[lesion.id]) for lesion in found.lesions)
    numbers = _renumbered(region.numbers, number_of)
    return replace(region, numbers=numbers), replace(found, lesions=lesions, numbers=numbers)


def _same_lesions(earlier: Sequence[Mapping[str, Any]], lesions: Sequence[MeasuredLesion]) -> dict[int, int]:
    """Return the number of each matched lesion in the earlier report, by its present number."""
    pairs = sorted(
        (float(np.linalg.norm(np.subtract(old["centroid"], new.centroid))), int(old["id"]), new.id, i, j)
        for i, old in enumerate(earlier)
        for j, new in enumerate(lesions)
    )
    number_of: dict[int, int] = {}
    for distance, number, own, i, j in pairs:
        near = distance <= (float(earlier[i]["longest_mm"]) + lesions[j].longest_mm) / 4
        if near and own not in number_of and number not in number_of.values():
            number_of[own] = number
    return number_of


def _renumbered(numbers: Numbers, number_of: Mapping[int, int]) -> Numbers:
    """Return a lesion number map with new numbers, as uint8 if they fit, else as int32."""
    dtype = np.uint8 if max(number_of.values(), default=0) <= 255 else np.int32
    table: Numbers = np.zeros(max(number_of, default=0) + 1, dtype)
    table[list(number_of)] = list(number_of.values())
    renumbered: Numbers = table[numbers]
    return renumbered
