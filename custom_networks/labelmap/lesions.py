"""The predicted lesions of a case: how large each is, how far the network believed in it, how likely it is a real one.

A lesion is a component of tumor by 26-neighbourhood. Arrays are those of `anatomy`: label maps (H, W, D) uint8 with 0
background, 1 liver, 2 tumor; probabilities (2, H, W, D) uint8 of liver and tumor, x 255; spacing in mm.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.special import expit

from custom_networks.errors import UsageError
from custom_networks.labelmap.boxes import Box, box_around, grown_box
from custom_networks.labelmap.components import NEIGHBOURS_26, is_within
from custom_networks.labelmap.labels import LIVER, TUMOR, Floats, Labels, Mask

Coefficients = Mapping[str, float]

CONFIDENCE_TERMS = ("intercept", "mean_probability")


@dataclass(frozen=True)
class PredictedLesions:
    """The lesions of a label map in the order of their numbers, 1 to n; each array below `components` has shape (n,).

    Attributes:
        box: where in the label map `components` lies.
        components: number of the lesion at each voxel of the box, 0 where there is none.
        volume_mm3: volume of each lesion, mm3.
        mean_probability: mean tumor probability over its voxels, 0 to 1.
        confidence: chance that it touches a real lesion, 0 to 1; see `lesion_confidence`.
    """

    box: Box
    components: npt.NDArray[np.int32]
    volume_mm3: Floats
    mean_probability: Floats
    confidence: Floats


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
    which is no calibrated chance.

    Args:
        mean_probability: (n,) mean tumor probabilities, 0 to 1.
        coefficients: values of CONFIDENCE_TERMS; None for the mean probability.

    Returns:
        (n,) confidences, 0 to 1.
    """
    if coefficients is None:
        return mean_probability
    intercept, slope = (coefficients.get(name, 0.0) for name in CONFIDENCE_TERMS)
    return np.asarray(expit(intercept + slope * mean_probability))


def list_lesions(
    labels: Labels,
    probabilities: npt.NDArray[np.uint8],
    spacing: Sequence[float],
    coefficients: Coefficients | None = None,
    margin_mm: float = 0.0,
) -> PredictedLesions:
    """List the lesions of a label map.

    Args:
        labels: (H, W, D) label map.
        probabilities: (2, H, W, D) of liver and tumor.
        spacing: voxel size, mm.
        coefficients: of `lesion_confidence`.
        margin_mm: how far the box reaches beyond the lesions, mm, inside the label map.

    Returns:
        The lesions; without any, arrays of length 0 and a box without voxels.
    """
    tight = box_around(labels == TUMOR) or (slice(0, 0),) * 3
    box = grown_box(tight, margin_mm, spacing, labels.shape) if tight[0].stop else tight
    components, count = ndimage.label(labels[box] == TUMOR, NEIGHBOURS_26)
    is_tumor = components > 0
    numbers = components[is_tumor]
    tumor = probabilities[1][box][is_tumor] / 255
    voxels = np.bincount(numbers, minlength=count + 1)[1:]
    mean = np.bincount(numbers, tumor, minlength=count + 1)[1:] / voxels
    volume = voxels.astype(np.float64) * float(np.prod(spacing))
    return PredictedLesions(box, components, volume, mean, lesion_confidence(mean, coefficients))


def drop_stray_lesions(
    labels: Labels,
    probabilities: npt.NDArray[np.uint8],
    spacing: Sequence[float],
    capsule_mm: float = 10.0,
    min_lesion_mm3: float = 30.0,
    min_lesion_confidence: float = 0.3,
    coefficients: Coefficients | None = None,
) -> Labels:
    """Remove lesions that lie outside the liver, that are too small, or that are hardly likely to be real.

    Each lesion is judged as a whole. One farther than `capsule_mm` from every liver voxel lies outside and becomes
    background. One that touches the liver stays in full however far it grows out of it: cutting tumor voxel by voxel
    at 10 mm from the liver would take 31 % of the tumor of LiTS 4 and 12 % of 3D-IRCADb 9, while no lesion of 29
    experts' masks begins farther than 3.5 mm from the liver. Of the lesions left, those under `min_lesion_mm3` or
    under `min_lesion_confidence` become liver. Without any liver voxel every lesion is outside.

    Args:
        labels: (H, W, D) label map.
        probabilities: (2, H, W, D) of liver and tumor.
        spacing: voxel size, mm.
        capsule_mm: largest distance of a lesion from the liver, mm, between voxel centres.
        min_lesion_mm3: smallest volume of a lesion, mm3; 0 keeps all.
        min_lesion_confidence: smallest confidence in a lesion, 0 to 1; 0 keeps all.
        coefficients: of `lesion_confidence`; None: the confidence is the mean tumor probability.

    Returns:
        (H, W, D) label map, a new array.
    """
    cleaned = labels.copy()
    lesions = list_lesions(labels, probabilities, spacing, coefficients, capsule_mm)
    doubtful = (lesions.volume_mm3 < min_lesion_mm3) | (lesions.confidence < min_lesion_confidence)
    stray = is_stray(lesions.components, labels[lesions.box] == LIVER, spacing, capsule_mm)
    becomes = np.where(stray, 0, np.where(doubtful, LIVER, TUMOR)).astype(np.uint8)
    is_lesion = lesions.components > 0
    cleaned[lesions.box][is_lesion] = becomes[lesions.components[is_lesion] - 1]
    return cleaned


def is_stray(
    components: npt.NDArray[np.int32], liver: Mask, spacing: Sequence[float], capsule_mm: float
) -> npt.NDArray[np.bool_]:
    """Whether each component, (n,), lies farther than `capsule_mm` from the liver, both (H, W, D) on one grid."""
    stray = []
    parts = ndimage.find_objects(components) if components.size else []
    for number, part in enumerate(parts, start=1):
        around = grown_box(part, capsule_mm, spacing, components.shape)
        stray.append(not is_within(components[around] == number, liver[around], capsule_mm, spacing))
    return np.array(stray, bool)
