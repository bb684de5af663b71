"""The confidence that a lesion is real, from its tumor probability, its shape and its position.

Structures mistaken for tumors are often ducts, vessels or streaks. These are longer or flatter than most tumors, and
many lie near the hilum.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from custom_networks.errors import UsageError
from custom_networks.labelmap.labels import Floats, Mask, Numbers

Coefficients = Mapping[str, float]

TERMS = ("mean_probability", "log_elongation", "distance_mm")
COEFFICIENTS = ("intercept", *TERMS)


def check_coefficients(coefficients: Coefficients | None) -> Coefficients | None:
    """Return the coefficients unchanged; raises UsageError if a name is not in COEFFICIENTS."""
    unknown = sorted(set(coefficients or ()) - set(COEFFICIENTS))
    if unknown:
        raise UsageError(
            f"Confidence coefficients must be among {', '.join(COEFFICIENTS)}, got {', '.join(unknown)}: copy "
            "them from the file that tuning wrote."
        )
    return coefficients


def lesion_confidence(terms: Floats, coefficients: Coefficients | None = None) -> Floats:
    """Return the confidence (n,), 0 to 1, in each lesion.

    With coefficients, it is the estimated probability that a lesion overlaps a real one, by a logistic model:
    ``1 / (1 + exp(-(intercept + sum of coefficient * term)))``, fitted on predictions for patients that the network was
    not trained on (`custom_networks.tuning.calibration`). Without coefficients, it is the mean tumor probability, which
    is not calibrated.

    Args:
        terms: (n, 3) the terms of each lesion, from `lesion_terms`.
        coefficients: coefficients by their names in COEFFICIENTS; those missing are 0.
    """
    if coefficients is None:
        return terms[:, 0]
    slopes = np.array([coefficients.get(name, 0.0) for name in TERMS])
    return np.asarray(expit(coefficients.get("intercept", 0.0) + terms @ slopes))


def lesion_terms(numbers: Numbers, tumor: npt.NDArray[np.uint8], centre: Floats, affine: Floats) -> Floats:
    """Return the terms (n, 3) of n lesions for `lesion_confidence`, in the order of TERMS.

    They are the mean tumor probability, 0 to 1; the logarithm of the elongation; and the distance between the centroids
    of lesion and organ in mm. The elongation is a^2 / (b c), with the semi-axes a >= b >= c of the ellipsoid of equal
    second moments: 1 for a ball, and more for tubes and plates.

    Args:
        numbers: (i, j, k) lesion numbers 1 to n, 0 outside lesions.
        tumor: (i, j, k) tumor probability, where 255 means 1.
        centre: (3,) centroid of the organ, in voxel indices of these maps.
        affine: (4, 4) affine of their grid.
    """
    is_lesion = numbers > 0
    of_voxels = numbers[is_lesion]
    count = int(of_voxels.max(initial=0))
    voxels = np.bincount(of_voxels, minlength=count + 1)[1:].astype(np.float64)

    def mean_of(values: Floats) -> Floats:
        return np.asarray(np.bincount(of_voxels, values, minlength=count + 1)[1:] / voxels)

    to_mm = affine[:3, :3]
    places = (np.argwhere(is_lesion) - centre) @ to_mm.T
    centroids = np.stack([mean_of(along) for along in places.T], axis=1)
    places -= centroids[of_voxels - 1]
    moments = [[mean_of(one * other) for other in places.T] for one in places.T]
    # A voxel is a box, not a point, so even a lesion of one voxel has an extent.
    covariance = np.moveaxis(np.array(moments), 2, 0) + to_mm @ to_mm.T / 12
    small, middle, large = np.log(np.linalg.eigvalsh(covariance)).T
    mean_probability = mean_of(tumor[is_lesion] / 255)
    return np.stack([mean_probability, large - (small + middle) / 2, np.linalg.norm(centroids, axis=1)], axis=1)


def centroid(mask: Mask) -> Floats:
    """Return the mean index (3,) of the voxels in a mask (i, j, k), which must not be empty."""
    axes = range(mask.ndim)
    sums = (np.count_nonzero(mask, axis=tuple(other for other in axes if other != axis)) for axis in axes)
    return np.array([np.average(np.arange(of_index.size), weights=of_index) for of_index in sums])
