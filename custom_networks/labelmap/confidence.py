"""The confidence in a lesion: the chance that it is real, from its tumor probability, its shape and its place.

What only looks like a tumor is often a duct, a vessel or a streak, which are longer or flatter than most tumors, or
lies at the edge of the liver.
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
    """Return the coefficients unchanged; UsageError if one of them is not in COEFFICIENTS."""
    unknown = sorted(set(coefficients or ()) - set(COEFFICIENTS))
    if unknown:
        raise UsageError(
            f"Confidence coefficients must be among {', '.join(COEFFICIENTS)}, got {', '.join(unknown)}: copy "
            "them from the file that tuning wrote."
        )
    return coefficients


def lesion_confidence(terms: Floats, coefficients: Coefficients | None = None) -> Floats:
    """Chance (n,), 0 to 1, that each lesion touches a real one.

    This is a logistic model, ``1 / (1 + exp(-(intercept + sum of coefficient * term)))``, fitted on predictions for
    patients that the network was not trained on (`custom_networks.tuning.calibration`). Without coefficients, the mean
    tumor probability itself is returned, which is not a calibrated chance.

    Args:
        terms: (n, 3) the numbers in TERMS for each lesion; see `lesion_terms`.
        coefficients: by the names in COEFFICIENTS; missing ones are 0.
    """
    if coefficients is None:
        return terms[:, 0]
    slopes = np.array([coefficients.get(name, 0.0) for name in TERMS])
    return np.asarray(expit(coefficients.get("intercept", 0.0) + terms @ slopes))


def lesion_terms(numbers: Numbers, tumor: npt.NDArray[np.uint8], centre: Floats, affine: Floats) -> Floats:
    """The terms (n, 3) of `lesion_confidence` for n lesions.

    With the semi-axes a >= b >= c of the ellipsoid of equal second moments, the elongation is a^2 / (b c): 1 for a
    ball, and more for tubes and plates. The distance is that between the centroids of lesion and organ, mm.

    Args:
        numbers: (H, W, D) lesion numbers 1 to n, 0 for none.
        tumor: (H, W, D) tumor probability x 255.
        centre: (3,) centroid of the organ, in voxel indices of these maps.
        affine: (4, 4) of their grid.
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
    """Mean index (3,) of the voxels in a mask (H, W, D) that is not empty."""
    axes = range(mask.ndim)
    sums = (np.count_nonzero(mask, axis=tuple(other for other in axes if other != axis)) for axis in axes)
    return np.array([np.average(np.arange(of_index.size), weights=of_index) for of_index in sums])
