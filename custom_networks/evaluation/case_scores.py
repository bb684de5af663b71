"""Score one case: how well a predicted label map agrees with the truth, in clinical units.

Liver means the whole organ (labels 1 and 2 together), tumor is label 2. If the true tumors of a case are not known, its
voxels with label 2 are not reliably organ either and are ignored. DEFINITIONS describes each score, also for empty
masks. A missed tumor and a tumor found in a healthy liver both get the worst possible value of each overlap and
distance score, because leaving them out would improve the mean.
"""

from collections.abc import Sequence
from math import inf, nan

import numpy as np
import torch
from monai.metrics.utils import get_edge_surface_distance

from custom_networks.errors import InputError
from custom_networks.evaluation.lesion_matching import count_lesions, shared_voxels
from custom_networks.labelmap.boxes import box_around
from custom_networks.labelmap.labels import LIVER, TUMOR, Labels, Mask

STRUCTURE_SCORES = ("dice", "nsd_1mm", "nsd_3mm", "hd95_mm", "assd_mm", "voe", "rvd")
TOLERANCES_MM = (1.0, 3.0)
# NIfTI headers store spacing in float32; 1.0000001 mm must not put a whole surface outside a tolerance of 1 mm.
ROUNDING_MM = 1e-4

DEFINITIONS = {
    "liver": "labels 1 and 2 together: the organ with its lesions; if the tumors of a case were not labelled, voxels "
    "with label 2 in the truth are left out of both masks",
    "tumor": "label 2; if the tumors of a case were not labelled, its columns are empty and the case does not count",
    "dice": "2 |P and T| / (|P| + |T|) of one case; both empty: 1, one empty: 0",
    "nsd_1mm, nsd_3mm": "surface Dice: share of the surface voxels of both masks that lie within 1 or 3 mm of the "
    "other mask's surface (voxels are counted, not areas); both empty: 1, one empty: 0",
    "hd95_mm": "the larger of the two directed 95th percentiles of the distances between the surfaces, mm; "
    "both empty: 0, one empty: the diagonal of the whole image",
    "assd_mm": "mean distance from the surface voxels of each mask to the other mask's surface, over both masks, mm; "
    "empty masks as for hd95_mm",
    "voe": "1 - |P and T| / |P or T|; both empty: 0, one empty: 1",
    "rvd": "(|P| - |T|) / |T|, negative if too little was segmented; both empty: 0, only P empty: -1, "
    "only T empty: undefined and left out (see tumor_ml instead)",
    "_ml, _ml_truth": "predicted and true volume, ml",
    "lesions_truth, lesions_predicted": "number of 26-connected components, single voxels included",
    "lesions_found": "true lesions that share a voxel with a predicted one; lesions_found_at_50: true lesions whose "
    "IoU with the predicted lesions touching them (ignoring voxels of other true lesions) is above 0.5",
    "false_lesions": "predicted lesions that share no voxel with a true one; false_lesions_at_50: predicted lesions of "
    "which at most half lies in true tumor",
}


def case_scores(
    prediction: Labels,
    truth: Labels,
    spacing: Sequence[float],
    tumor_labelled: bool = True,
    voxel_mm3: float | None = None,
) -> dict[str, float]:
    """Score one predicted label map against the truth on the same grid.

    Args:
        prediction: label map (H, W, D), 0 background, 1 liver, 2 tumor.
        truth: label map of the same shape.
        spacing: voxel size along H, W, D in mm.
        tumor_labelled: False if label 2 in the truth cannot be trusted; all tumor scores are then nan, and the liver is
            scored without those voxels.
        voxel_mm3: volume of a voxel, mm3; by default the product of the spacings, which is wrong for a sheared grid.

    Returns:
        Scores by column name, always the same names in the same order; see DEFINITIONS. Distances are in mm and volumes
        in ml; other scores have no unit.

    Raises:
        InputError: shapes differ or are not 3D, a map is not uint8 or has a label above 2, or the spacing is not three
            positive numbers.
    """
    _check(prediction, truth, spacing)
    diagonal_mm = float(np.linalg.norm(np.multiply(truth.shape, spacing)))
    box = box_around((prediction > 0) | (truth > 0)) or (slice(0, 0),) * 3
    predicted, true = prediction[box], truth[box]
    known = (true != TUMOR) | tumor_labelled
    sizes = spacing, diagonal_mm, float(np.prod(spacing)) if voxel_mm3 is None else voxel_mm3
    liver = structure_scores((predicted >= LIVER) & known, (true >= LIVER) & known, *sizes)
    tumor = structure_scores(predicted == TUMOR, true == TUMOR, *sizes) if tumor_labelled else {}
    scores = {f"liver_{name}": liver[name] for name in STRUCTURE_SCORES}
    scores |= {f"tumor_{name}": tumor.get(name, nan) for name in STRUCTURE_SCORES}
    scores |= {f"liver_{name}": liver[name] for name in ("ml", "ml_truth")}
    scores |= {f"tumor_{name}": tumor.get(name, nan) for name in ("ml", "ml_truth")}
    lesions = lesion_scores(predicted == TUMOR, true == TUMOR)
    return scores | (lesions if tumor_labelled else dict.fromkeys(lesions, nan))


def structure_scores(
    prediction: Mask, truth: Mask, spacing: Sequence[float], diagonal_mm: float, voxel_mm3: float
) -> dict[str, float]:
    """Compute STRUCTURE_SCORES and the volumes in ml of one structure, by name; see DEFINITIONS.

    Args:
        prediction: predicted mask (H, W, D).
        truth: true mask of the same shape.
        spacing: voxel size in mm.
        diagonal_mm: distance to use if only one of the masks is empty, mm.
        voxel_mm3: volume of a voxel, mm3.
    """
    sizes = int(prediction.sum()), int(truth.sum())
    voxel_ml = voxel_mm3 / 1000
    return {
        **_volume_scores(*sizes, int((prediction & truth).sum())),
        **_surface_scores(prediction, truth, spacing, diagonal_mm),
        "ml": sizes[0] * voxel_ml,
        "ml_truth": sizes[1] * voxel_ml,
    }


def lesion_scores(prediction: Mask, truth: Mask) -> dict[str, float]:
    """The numbers of true, predicted, found and false lesions, by any overlap and at 0.5; see DEFINITIONS."""
    shared = shared_voxels(prediction, truth)
    touched, half = count_lesions(shared), count_lesions(shared, 0.5)
    return {
        "lesions_truth": float(touched.truth),
        "lesions_predicted": float(touched.predicted),
        "lesions_found": float(touched.found),
        "false_lesions": float(touched.false),
        "lesions_found_at_50": float(half.found),
        "false_lesions_at_50": float(half.false),
    }


def _volume_scores(predicted: int, true: int, both: int) -> dict[str, float]:
    """Dice, VOE and RVD from the numbers of predicted, true and shared voxels."""
    if not predicted and not true:
        return {"dice": 1.0, "voe": 0.0, "rvd": 0.0}
    return {
        "dice": 2 * both / (predicted + true),
        "voe": 1 - both / (predicted + true - both),
        "rvd": (predicted - true) / true if true else nan,
    }


def _surface_scores(prediction: Mask, truth: Mask, spacing: Sequence[float], diagonal_mm: float) -> dict[str, float]:
    """NSD, HD95 and ASSD of two masks; see DEFINITIONS for empty masks."""
    predicted, true = bool(prediction.any()), bool(truth.any())
    if not (predicted and true):
        distance, share = (diagonal_mm, 0.0) if predicted or true else (0.0, 1.0)
        return {"nsd_1mm": share, "nsd_3mm": share, "hd95_mm": distance, "assd_mm": distance}
    # Compute the distances once for all four scores; each of MONAI's metrics would compute them again.
    _, directed, _ = get_edge_surface_distance(
        torch.from_numpy(prediction), torch.from_numpy(truth), spacing=list(spacing), symmetric=True
    )
    distances = torch.cat(list(directed)).numpy()
    nsd = {f"nsd_{mm:.0f}mm": float(np.mean(distances <= mm + ROUNDING_MM)) for mm in TOLERANCES_MM}
    hd95 = max(float(np.percentile(one_way.numpy(), 95)) for one_way in directed)
    return {**nsd, "hd95_mm": hd95, "assd_mm": float(distances.mean(dtype=np.float64))}


def _check(prediction: Labels, truth: Labels, spacing: Sequence[float]) -> None:
    """Raise InputError for label maps or a spacing that `case_scores` cannot score."""
    if prediction.shape != truth.shape or truth.ndim != 3:
        raise InputError(
            "Prediction and truth must be label maps (H, W, D) on the same grid, got shapes "
            f"{prediction.shape} and {truth.shape}: invert the preprocessing of the prediction first."
        )
    if len(spacing) != 3 or not all(0 < mm < inf for mm in spacing):
        raise InputError(f"Spacing must be three positive numbers in mm, got {list(spacing)}: correct the affine.")
    for name, labels in (("prediction", prediction), ("truth", truth)):
        if labels.dtype != np.uint8 or labels.max(initial=0) > TUMOR:
            raise InputError(
                f"The {name} must be uint8 with labels 0 (background), 1 (liver), 2 (tumor), got {labels.dtype} with "
                f"a maximum of {labels.max(initial=0)}: map its labels to these and convert it to uint8."
            )
