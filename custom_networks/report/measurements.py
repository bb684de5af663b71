"""Numbers of a case and of each of its lesions, from the CT and what the anatomy rules found in it.

Arrays lie on the file's own grid, (i, j, k) in any orientation, with its affine to RAS mm (nibabel's convention).
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
    """Numbers of a case.

    Attributes:
        liver_ml: volume of the liver with its tumors, ml.
        tumor_ml: volume of the tumors, ml.
        lesions: the largest first.
        touches_border: whether the liver reaches the first or last voxel of the image along any axis: it may be cut,
            and the volumes are those of the part that is seen.
        calibrated: whether the lesions' confidence is a chance that was fitted for the weights in use; else it is a
            ranking.
        numbers: (i, j, k) id of the lesion at each voxel of `box`, 0 where there is none.
        box: where in the image `numbers` lies.
        shape: (i, j, k) of the image.
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
        """Volume of the liver without its tumors, ml."""
        return self.liver_ml - self.tumor_ml

    @property
    def burden_percent(self) -> float | None:
        """Share of the liver that is tumor, percent of the liver with its tumors; None without a liver."""
        return 100 * self.tumor_ml / self.liver_ml if self.liver_ml else None

    def lesion_map(self) -> npt.NDArray[np.int32]:
        """The id of the lesion at each voxel of the whole image, (i, j, k); 0 where there is none."""
        whole = np.zeros(self.shape, np.int32)
        whole[self.box] = self.numbers
        return whole


def measure(
    region: OrganRegion, hu: npt.NDArray[np.generic], lesions: Sequence[FoundLesion], calibrated: bool
) -> Measurements:
    """Measure a case; without a liver, volumes are 0 and there is no lesion.

    Args:
        region: the liver and what lies around it, from `organ_region`.
        hu: (i, j, k) CT of the region's box alone, HU: `ct[region.box]`.
        lesions: what the anatomy rules found, numbered as in the region's number map.
        calibrated: whether their confidence is a chance that was fitted for the weights in use.

    Raises:
        InputError: the CT is not of the shape of the region.
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
