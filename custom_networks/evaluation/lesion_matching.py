"""Match lesions: which true tumors were found, and which predicted ones are false.

A lesion is a 26-connected component of a tumor mask. Single voxels count like any other lesion in both masks.

- A true lesion is *found* if it shares a voxel with a predicted one.
- A predicted lesion is *false* if it shares no voxel with a true one.

A single large prediction would thus find every lesion in it, so these counts say little without the tumor Dice. For
comparison with LiTS, lesions are also counted at an overlap t:

- A true lesion T is found at t if ``|T & P| / (|T| + outside) > t``, where P is the predicted tumor and *outside* is
  the part of all predicted lesions touching T that is in no true lesion. This is the IoU of T and the predicted lesions
  touching it, except that T is not penalised for other true lesions that they cover. A lesion predicted in several
  pieces, or two lesions merged into one prediction, are thus judged by the voxels that are actually missing or
  superfluous.
- A predicted lesion is false at t if at most the fraction t of its volume lies in true tumor, of any lesion.

At 0, these are the definitions above. At 0.5 they are similar to the matching of the LiTS challenge (Bilic et al.,
Medical Image Analysis 2023), which merges components greedily into pairs and requires an IoU above 0.5.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from custom_networks.labelmap.components import NEIGHBOURS_26
from custom_networks.labelmap.diameters import widest_slice
from custom_networks.labelmap.labels import Numbers


class LesionCounts(NamedTuple):
    """How many lesions of a case are true, predicted, found and false, at an overlap."""

    truth: int
    predicted: int
    found: int
    false: int


def shared_voxels(prediction: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Count the voxels that each pair of a true and a predicted lesion shares.

    Args:
        prediction: predicted tumor (H, W, D).
        truth: true tumor (H, W, D).

    Returns:
        Table (true lesions + 1, predicted lesions + 1) of voxel counts. Row 0 and column 0 are the background; the
        entry [0, 0] is 0.
    """
    predicted, true = ndimage.label(prediction, NEIGHBOURS_26), ndimage.label(truth, NEIGHBOURS_26)
    return shared_by_components(*predicted, *true)


def shared_by_components(predicted: Numbers, n_predicted: int, true: Numbers, n_true: int) -> npt.NDArray[np.int64]:
    """The table of `shared_voxels` for maps (H, W, D) of lesion numbers, 0 for none, 1 to `n_predicted` or `n_true`."""
    either = (predicted > 0) | (true > 0)
    pairs = true[either].astype(np.int64) * (n_predicted + 1) + predicted[either]
    counts = np.bincount(pairs, minlength=(n_true + 1) * (n_predicted + 1))
    return counts.reshape(n_true + 1, n_predicted + 1)


def count_lesions(shared: npt.NDArray[np.int64], overlap: float = 0.0) -> LesionCounts:
    """Count lesions by the rules at the top of this module.

    Args:
        shared: the table of `shared_voxels`.
        overlap: the fraction t, at least 0 and under 1; at 0, one shared voxel is enough.
    """
    covered = shared[1:, 1:].sum(axis=1)
    outside = (shared[1:, 1:] > 0) @ shared[0, 1:]
    found = covered / (shared[1:].sum(axis=1) + outside) > overlap
    false = shared[1:, 1:].sum(axis=0) / shared[:, 1:].sum(axis=0) <= overlap
    return LesionCounts(len(found), len(false), int(found.sum()), int(false.sum()))


def longest_in_plane_mm(
    components: npt.NDArray[np.int32], count: int, spacing: Sequence[float]
) -> npt.NDArray[np.float64]:
    """Longest diameter of each lesion within a slice, mm, as in RECIST 1.1 and in the reports.

    Args:
        components: map (H, W, D) of lesion numbers, 0 for none, 1 to `count`; D is the axis of the slices.
        count: number of lesions.
        spacing: voxel size along H, W, D in mm.

    Returns:
        (count,) diameters, mm.
    """
    parts = enumerate(ndimage.find_objects(components, count), start=1)
    return np.array([widest_slice(components[part] == n, 2, np.diag(spacing))[0].longest_mm for n, part in parts])
