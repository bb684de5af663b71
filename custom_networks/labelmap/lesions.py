"""Lesions are found here, once: which parts of the tumor count, how large each is and how sure the network was of it.

A lesion is a component of tumor by 26-neighbourhood. `find_lesions` is the last anatomy rule; everything that is said
of lesions later, in reports, tables and DICOM, goes by the numbers that it gives them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.special import expit

from custom_networks.errors import UsageError
from custom_networks.labelmap.boxes import NOWHERE, Box, box_around, copy_in, grown_box, moved_box
from custom_networks.labelmap.components import NEIGHBOURS_26, is_within
from custom_networks.labelmap.grid import spacing_of, voxel_mm3
from custom_networks.labelmap.labels import LIVER, TUMOR, Floats, Labels, Mask, Numbers, Probabilities

Coefficients = Mapping[str, float]

CONFIDENCE_TERMS = ("intercept", "mean_probability")


@dataclass(frozen=True)
class FoundLesion:
    """One of the `Lesions`, with its number: 1 for the largest lesion; nobody is sure or unsure of a person's."""

    number: int
    volume_mm3: float
    mean_probability: float | None
    confidence: float | None


@dataclass(frozen=True, eq=False)
class Lesions:
    """The lesions of a label map in the order of their numbers, 1 to n; each array below `numbers` has shape (n,).

    Attributes:
        box: where in the label map `numbers` lies.
        numbers: number of the lesion at each voxel of the box, 0 where there is none.
        volume_mm3: volume of each lesion, mm3.
        mean_probability: mean tumor probability over its voxels, 0 to 1.
        confidence: chance that it touches a real lesion, 0 to 1; see `lesion_confidence`.
    """

    box: Box
    numbers: Numbers
    volume_mm3: Floats
    mean_probability: Floats
    confidence: Floats

    def largest_first(self, chosen: Mask) -> "Lesions":
        """The chosen lesions (n,), numbered anew by size; equally large ones keep their order."""
        order = np.flatnonzero(chosen)
        order = order[np.argsort(-self.volume_mm3[order], kind="stable")]
        # One byte a voxel where it can be: the map of a scan of 1000 slices takes 250 MB as uint8, 1 GB as int32.
        new: Numbers = np.zeros(chosen.size + 1, np.uint8 if order.size <= 255 else np.int32)
        new[order + 1] = np.arange(1, order.size + 1)
        of_each = self.volume_mm3[order], self.mean_probability[order], self.confidence[order]
        return Lesions(self.box, new[self.numbers], *of_each)

    def number_map(self, shape: Sequence[int]) -> Numbers:
        """The number of the lesion at each voxel of the whole label map of that shape."""
        whole = np.zeros(shape, self.numbers.dtype)
        whole[self.box] = self.numbers
        return whole

    def listed(self) -> tuple[FoundLesion, ...]:
        """The lesions one by one."""
        columns = zip(self.volume_mm3.tolist(), self.mean_probability.tolist(), self.confidence.tolist())
        return tuple(FoundLesion(number, *values) for number, values in enumerate(columns, start=1))


def check_coefficients(coefficients: Coefficients | None) -> Coefficients | None:
    """The coefficients, once each is known to be one of CONFIDENCE_TERMS; else a UsageError that lists them."""
    unknown = sorted(set(coefficients or ()) - set(CONFIDENCE_TERMS))
    if unknown:
        raise UsageError(
            f"Confidence coefficients must be among {', '.join(CONFIDENCE_TERMS)}, got {', '.join(unknown)}: copy "
            "them from the file that the tuning wrote."
        )
    return coefficients


def lesion_confidence(mean_probability: Floats, coefficients: Coefficients | None = None) -> Floats:
    """Chance that each lesion touches a real one, from the network's mean belief in its voxels (Platt scaling).

    ``confidence = 1 / (1 + exp(-(intercept + mean_probability * mean)))``, where both names are coefficients and a
    missing one is 0. They are fitted on predictions for patients that the network was not trained on
    (`custom_networks.tuning.calibration`). Without coefficients the confidence is the mean tumor probability itself,
    which is no calibrated chance. Both are (n,), 0 to 1.
    """
    if coefficients is None:
        return mean_probability
    intercept, slope = (coefficients.get(name, 0.0) for name in CONFIDENCE_TERMS)
    return np.asarray(expit(intercept + slope * mean_probability))


def list_lesions(
    labels: Labels,
    probabilities: Probabilities,
    affine: Floats,
    coefficients: Coefficients | None = None,
    margin_mm: float = 0.0,
) -> Lesions:
    """All components of tumor, in the order in which they are met; without any, a box without voxels.

    Inside the label map the box reaches `margin_mm` beyond the lesions; for the coefficients see `lesion_confidence`.
    """
    organ = box_around(labels) or NOWHERE
    tight = box_around(labels[organ] == TUMOR)
    tight = moved_box(tight, organ) if tight else None
    box = grown_box(tight, margin_mm, spacing_of(affine), labels.shape) if tight else NOWHERE
    numbers, count = ndimage.label(labels[box] == TUMOR, NEIGHBOURS_26)
    is_tumor = numbers > 0
    of_voxels = numbers[is_tumor]
    tumor = probabilities[1][box][is_tumor] / 255
    voxels = np.bincount(of_voxels, minlength=count + 1)[1:].astype(np.float64)
    mean = np.bincount(of_voxels, tumor, minlength=count + 1)[1:] / voxels
    # Rounded, so that a lesion of exactly the volume asked for counts on a turned grid, too.
    volume = np.round(voxels * voxel_mm3(affine), 6)
    return Lesions(box, numbers, volume, mean, lesion_confidence(mean, coefficients))


def find_lesions(
    labels: Labels,
    probabilities: Probabilities,
    affine: Floats,
    capsule_mm: float = 10.0,
    min_lesion_mm3: float = 30.0,
    min_lesion_confidence: float = 0.3,
    coefficients: Coefficients | None = None,
) -> tuple[Labels, Lesions]:
    """Find the lesions that count, and remove those outside the liver, too small, or hardly likely to be real.

    Each lesion is judged as a whole. One farther than `capsule_mm` from every liver voxel lies outside and becomes
    background. One that touches the liver stays in full however far it grows out of it: cutting tumor voxel by voxel
    at 10 mm from the liver would take 31 % of the tumor of LiTS 4 and 12 % of 3D-IRCADb 9, while no lesion of 29
    experts' masks begins farther than 3.5 mm from the liver. Of the lesions left, those under `min_lesion_mm3` or
    under `min_lesion_confidence` become liver. Without any liver voxel every lesion is outside.

    Args:
        labels: label map.
        probabilities: of liver and tumor.
        affine: of the grid.
        capsule_mm: largest distance of a lesion from the liver, mm, between voxel centres.
        min_lesion_mm3: smallest volume of a lesion, mm3; 0 keeps all.
        min_lesion_confidence: smallest confidence in a lesion, 0 to 1; 0 keeps all.
        coefficients: of `lesion_confidence`.

    Returns:
        The label map, a new array, whose tumor is that of the lesions; and these, the largest first.
    """
    cleaned = copy_in(box_around(labels) or NOWHERE, labels)
    found = list_lesions(labels, probabilities, affine, coefficients, capsule_mm)
    doubtful = (found.volume_mm3 < min_lesion_mm3) | (found.confidence < min_lesion_confidence)
    stray = is_stray(found.numbers, labels[found.box] == LIVER, spacing_of(affine), capsule_mm)
    becomes = np.where(stray, 0, np.where(doubtful, LIVER, TUMOR)).astype(np.uint8)
    is_lesion = found.numbers > 0
    cleaned[found.box][is_lesion] = becomes[found.numbers[is_lesion] - 1]
    return cleaned, found.largest_first(~stray & ~doubtful)


def is_stray(numbers: Numbers, liver: Mask, spacing: Sequence[float], capsule_mm: float) -> npt.NDArray[np.bool_]:
    """Whether each lesion, (n,), lies farther than `capsule_mm` from the liver, both (H, W, D) on one grid."""
    parts = ndimage.find_objects(numbers) if numbers.size else []
    boxes = [grown_box(part, capsule_mm, spacing, numbers.shape) for part in parts]
    return np.array(
        [not is_within(numbers[b] == n, liver[b], capsule_mm, spacing) for n, b in enumerate(boxes, start=1)], bool
    )
