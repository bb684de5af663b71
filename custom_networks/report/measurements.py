"""Numbers of a case and of each of its lesions, from the label map, the CT and the network's probabilities.

Arrays lie on the file's own grid, (i, j, k) in any orientation, with its affine to RAS mm (nibabel's convention).
Lesions and their confidence are those of `custom_networks.transforms.list_lesions`.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from custom_networks.labelmap.boxes import Box, box_around
from custom_networks.labelmap.distances import Surface
from custom_networks.labelmap.labels import TUMOR
from custom_networks.labelmap.lesions import Coefficients, list_lesions
from custom_networks.report.lesion import Lesion, measure_lesion
from custom_networks.report.organ_view import OrganView, check_shape, inside


@dataclass(frozen=True, eq=False)
class Measurements:
    """Numbers of a case.

    Attributes:
        liver_ml: volume of the liver with its tumors, ml.
        tumor_ml: volume of the tumors, ml.
        lesions: the largest first.
        touches_border: whether the liver reaches the first or last voxel of the image along any axis: it may be cut,
            and the volumes are those of the part that is seen.
        calibrated: whether the lesions' confidence is a calibrated chance; else it is the mean tumor probability.
        numbers: (i, j, k) id of the lesion at each voxel of `box`, 0 where there is none.
        box: where in the image `numbers` lies.
        shape: (i, j, k) of the image.
    """

    liver_ml: float
    tumor_ml: float
    lesions: tuple[Lesion, ...]
    touches_border: bool
    calibrated: bool
    numbers: npt.NDArray[np.int32]
    box: Box
    shape: tuple[int, ...]

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


class Measured:
    """Something that holds `measurements`, and offers the most wanted of them by name."""

    measurements: Measurements

    @property
    def lesions(self) -> tuple[Lesion, ...]:
        """The lesions, the largest first."""
        return self.measurements.lesions

    @property
    def liver_ml(self) -> float:
        """Volume of the liver with its tumors, ml."""
        return self.measurements.liver_ml

    @property
    def tumor_ml(self) -> float:
        """Volume of the tumors, ml."""
        return self.measurements.tumor_ml


def measure(view: OrganView, hu: npt.NDArray[np.generic], coefficients: Coefficients | None = None) -> Measurements:
    """Measure a case.

    Args:
        view: its label map and probabilities, from `organ_view`.
        hu: (i, j, k) CT of the whole image, HU.
        coefficients: of `lesion_confidence`; None where it is not calibrated.

    Returns:
        The numbers of the case; without a liver, volumes of 0 and no lesion.

    Raises:
        InputError: the CT is not of the shape of the label map.
    """
    check_shape("the CT", hu.shape, view.shape)
    found = list_lesions(view.labels, view.probabilities, view.spacing, coefficients)
    largest_first = np.argsort(-found.volume_mm3, kind="stable")
    ids = np.zeros(len(largest_first) + 1, np.int32)
    ids[largest_first + 1] = np.arange(1, len(largest_first) + 1)
    numbers = ids[found.components]
    surface, ct = Surface(view.labels, view.to_mm), hu[view.box]
    lesions: list[Lesion] = []
    for index, part in zip(largest_first, ndimage.find_objects(numbers) if numbers.size else ()):
        box = inside(part, found.box)
        mask = numbers[part] == len(lesions) + 1
        confidence = float(found.mean_probability[index]), float(found.confidence[index])
        lesions.append(measure_lesion(len(lesions) + 1, mask, box, view, ct, surface, confidence))
    organ = box_around(view.labels)
    voxel_ml = view.voxel_mm3 / 1000
    return Measurements(
        liver_ml=np.count_nonzero(view.labels) * voxel_ml,
        tumor_ml=np.count_nonzero(view.labels == TUMOR) * voxel_ml,
        lesions=tuple(lesions),
        touches_border=organ is not None and view.at_border(organ),
        calibrated=coefficients is not None,
        numbers=numbers,
        box=inside(found.box, view.box),
        shape=view.shape,
    )
