"""Lesions of a corrected mask keep the numbers that an earlier report gave them."""

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
    """The same lesions, the largest first, with the numbers of the earlier report where they are the same.

    A lesion is the same where both centroids are nearer to each other than a quarter of the sum of both longest
    diameters (round lesions that only touch are twice as far apart); the nearest pairs come first. New lesions get
    numbers that the earlier report has not. `earlier` is `lesions` of that report.
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
    """The earlier number of each lesion that is the same, by its own; every number is given once."""
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
    """A number map with other numbers, in one byte a voxel where they fit."""
    dtype = np.uint8 if max(number_of.values(), default=0) <= 255 else np.int32
    table: Numbers = np.zeros(max(number_of, default=0) + 1, dtype)
    table[list(number_of)] = list(number_of.values())
    renumbered: Numbers = table[numbers]
    return renumbered
