"""Measurements of a case and its lesions.

Arrays are on the file's own grid, (i, j, k) in any orientation; affines map to RAS mm, as in nibabel.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from custom_networks.labelmap.boxes import Box, box_around
from custom_networks.labelmap.distances import Surface
from custom_networks.labelmap.labels import TUMOR, Numbers
from custom_networks.labelmap.lesions import FoundLesion
from custom_networks.report.lesion import MeasuredLesion, measure_lesion
from custom_networks.report.organ_region import OrganRegion, check_shape


@dataclass(frozen=True, eq=False)
class Measurements:
    """Measurements of a case.

    Attributes:
        liver_ml: volume of the liver including tumors, in ml.
        tumor_ml: volume of the tumors in ml.
        lesions: the lesions, largest first.
        touches_border: whether the liver reaches the border of the image; if so, it may be cut off, and volumes cover
            only the visible part.
        calibrated: whether the confidence in the lesions is a probability, calibrated for the weights in use;
            otherwise, it only ranks lesions.
        numbers: (i, j, k) lesion id at each voxel of `box`, 0 outside lesions.
        box: position of `numbers` in the image.
        shape: (i, j, k) shape of the image.
        by_person: whether a person made or corrected the mask.
    """

    liver_ml: float
    tumor_ml: float
    lesions: tuple[MeasuredLesion, ...]
    touches_border: bool
    calibrated: bool
    numbers: Numbers
    box: Box
    shape: tuple[int, ...]
    by_person: bool = False

    @property
    def liver_without_tumor_ml(self) -> float:
        """Volume of the liver without its tumors, in ml."""
        return self.liver_ml - self.tumor_ml

    @property
    def burden_percent(self) -> float | None:
        """Tumor volume in percent of the liver volume including tumors, or None without a liver."""
        return 100 * self.tumor_ml / self.liver_ml if self.liver_ml else None

    def lesion_map(self) -> npt.NDArray[np.int32]:
        """Return the lesion id at each voxel of the whole image, (i, j, k); 0 outside lesions."""
        whole = np.zeros(self.shape, np.int32)
        whole[self.box] = self.numbers
        return whole


def measure(
    region: OrganRegion, hu: npt.NDArray[np.generic], lesions: Sequence[FoundLesion], calibrated: bool
) -> Measurements:
    """Measure the liver and its lesions; without a liver, volumes are 0 and there are no lesions.

    Args:
        region: the liver and its surroundings, from `organ_region`.
        hu: (i, j, k) CT of the region in HU, `ct[region.box]`.
        lesions: lesions from the anatomy rules, numbered as in `region.numbers`.
        calibrated: whether their confidence is calibrated for the weights in use.

    Raises:
        InputError: the CT and the region differ in shape.
    """
    check_shape("the CT", hu.shape, region.labels.shape)
    surface = Surface(region.labels, region.to_mm)
    boxes = ndimage.find_objects(region.numbers) if region.numbers.size else ()
    organ = box_around(region.labels)
    voxel_ml = region.voxel_mm3 / 1000
    return Measurements(
        liver_ml=np.count_nonzero(region.labels) * voxel_ml,
        tumor_ml=np.count_nonzero(region.labels == TUMOR) * voxel_ml,
        lesions=tuple(
            measure_lesion(found, region.numbers[box] == found.number, box, region, hu, surface)
            for found, box in zip(lesions, boxes, strict=True)
        ),
        touches_border=organ is not None and region.at_border(organ),
        calibrated=calibrated,
        numbers=region.numbers,
        box=region.box,
        shape=region.shape,
    )
