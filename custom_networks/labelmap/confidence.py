"""The confidence that a lesion is real, from its tumor probability, its shape and its position.

Structures mistaken for tumors are often ducts, vessels or streaks. These are longer or flatter than most tumors, and
many lie near the hilum.
"""

from collections.abc import Mapping
from math import isfinite

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from custom_networks.errors import UsageError
from custom_networks.labelmap.labels import Floats, Mask, Numbers

Coefficients = Mapping[str, float]

TERMS = ("mean_probability", "log_elongation", "distance_mm")
COEFFICIENTS = ("intercept", *TERMS)


def check_coefficients(coefficients: Coefficients | None) -> Coefficients | None:
    """Return the coefficients unchanged; raises UsageError for a name not in COEFFICIENTS or a value not finite."""
    if coefficients is None:
        return None
    if not isinstance(coefficients, Mapping) or not all(map(_is_finite_number, coefficients.values())):
        raise UsageError(f"Confidence coefficients must be finite numbers by name, got {coefficients}: correct them.")
    unknown = sorted(set(coefficients) - set(COEFFICIENTS))
    if unknown:
        raise UsageError(
            f"Confidence coefficients must be among {', '.join(COEFFICIENTS)}, got {', '.join(unknown)}: copy "
            "them from the file that tuning wrote."
        )
    return coefficients


def _is_finite_number(value: object) -> bool:
    return isinstance(value, (int, float)) and isfinite(value)


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
    voxels, tumor_sums, sums, products = _moments(numbers, tumor)
    to_mm = affine[:3, :3]
    means = sums / voxels[:, None]
    scatter = products / voxels[:, None, None] - means[:, :, None] * means[:, None, :]
    # A voxel is a box, not a point, so even a lesion of one voxel has an extent.
    covariance = to_mm @ (scatter + np.eye(3) / 12) @ to_mm.T
    small, middle, large = np.log(np.linalg.eigvalsh(covariance)).T
    distance = np.linalg.norm((means - centre) @ to_mm.T, axis=1)
    return np.stack([tumor_sums / voxels / 255, large - (small + middle) / 2, distance], axis=1)


def _moments(numbers: Numbers, tumor: npt.NDArray[np.uint8]) -> tuple[Floats, Floats, Floats, Floats]:
    """Sums over the voxels of each lesion: 1 (n,), tumor (n,), indices (n, 3) and their products (n, 3, 3).

    They are added up slice by slice, so that a large tumor takes little memory.
    """
    count = int(numbers.max(initial=0))
    total = np.zeros((count + 1, 14))
    for z in range(numbers.shape[2]):
        rows, columns = np.nonzero(numbers[..., z])
        of_voxels = numbers[rows, columns, z]
        places = np.stack([rows, columns, np.full_like(rows, z)], axis=1).astype(np.float64)
        products = (places[:, :, None] * places[:, None, :]).reshape(-1, 9)
        values = np.hstack([np.ones((rows.size, 1)), tumor[rows, columns, z][:, None], places, products])
        total += np.stack([np.bincount(of_voxels, each, minlength=count + 1) for each in values.T], axis=1)
    return total[1:, 0], total[1:, 1], total[1:, 2:5], total[1:, 5:].reshape(-1, 3, 3)


def centroid(mask: Mask) -> Floats:
    """Return the mean index (3,) of the voxels in a mask (i, j, k), which must not be empty."""
    axes = range(mask.ndim)
    sums = (np.count_nonzero(mask, axis=tuple(other for other in axes if other != axis)) for axis in axes)
    return np.array([np.average(np.arange(of_index.size), weights=of_index) for of_index in sums])
