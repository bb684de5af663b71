"""Scores of one case, checked by hand and against MONAI's metrics."""

from math import isnan, nan

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice

from custom_networks.errors import InputError
from custom_networks.evaluation.case_scores import DEFINITIONS, STRUCTURE_SCORES, case_scores
from custom_networks.labelmap.labels import Labels

SPACING = (1.0, 2.0, 5.0)
SHAPE = (20, 10, 6)
DIAGONAL_MM = (20**2 + 20**2 + 30**2) ** 0.5


def label_map(*boxes: tuple[int, tuple[slice, slice, slice]], shape: tuple[int, int, int] = SHAPE) -> Labels:
    labels = np.zeros(shape, dtype=np.uint8)
    for value, box in boxes:
        labels[box] = value
    return labels


def liver_with_tumor(tumor: tuple[slice, slice, slice] | None) -> Labels:
    liver = (1, np.s_[2:18, 1:9, 1:5])
    return label_map(liver, (2, tumor)) if tumor else label_map(liver)


def test_two_boxes_shifted_along_the_last_axis_have_the_scores_worked_by_hand() -> None:
    # 4 x 4 x 1 voxels each, one slice (5 mm) apart: no voxel shared, every distance is 5 mm
    scores = case_scores(label_map((1, np.s_[4:8, 2:6, 3:4])), label_map((1, np.s_[4:8, 2:6, 2:3])), SPACING)
    assert scores["liver_dice"] == 0 and scores["liver_voe"] == 1 and scores["liver_rvd"] == 0
    assert scores["liver_hd95_mm"] == scores["liver_assd_mm"] == 5
    assert scores["liver_nsd_1mm"] == scores["liver_nsd_3mm"] == 0
    assert scores["liver_ml"] == scores["liver_ml_truth"] == pytest.approx(16 * 10 / 1000)


def test_two_rods_shifted_along_the_second_axis_have_the_scores_worked_by_hand() -> None:
    # rods of 1 x 4 x 1 voxels, one voxel (2 mm) apart: 3 voxels shared; one end of each is 2 mm off, six voxels are on
    scores = case_scores(label_map((1, np.s_[4:5, 3:7, 2:3])), label_map((1, np.s_[4:5, 2:6, 2:3])), SPACING)
    assert scores["liver_dice"] == pytest.approx(6 / 8)
    assert scores["liver_voe"] == pytest.approx(1 - 3 / 5)
    assert scores["liver_assd_mm"] == pytest.approx(4 / 8)
    assert scores["liver_nsd_1mm"] == pytest.approx(6 / 8)
    assert scores["liver_nsd_3mm"] == 1
    # 95th percentile of 0, 0, 0, 2 lies 0.85 of the way from the third to the fourth
    assert scores["liver_hd95_mm"] == pytest.approx(2 * 0.85)


def test_the_volume_difference_is_positive_for_too_large_and_negative_for_too_small_masks() -> None:
    small, large = label_map((1, np.s_[4:8, 2:6, 2:4])), label_map((1, np.s_[4:8, 2:8, 2:4]))
    assert case_scores(large, small, SPACING)["liver_rvd"] == pytest.approx(0.5)
    assert case_scores(small, large, SPACING)["liver_rvd"] == pytest.approx(-1 / 3)


def test_a_perfect_prediction_has_the_best_score_in_every_column() -> None:
    truth = liver_with_tumor(np.s_[5:8, 3:6, 2:4])
    scores = case_scores(truth, truth, SPACING)
    for structure in ("liver", "tumor"):
        assert [scores[f"{structure}_{name}"] for name in STRUCTURE_SCORES] == [1, 1, 1, 0, 0, 0, 0]
    assert (scores["lesions_truth"], scores["lesions_found"], scores["false_lesions"]) == (1, 1, 0)


def test_tumor_counts_as_liver() -> None:
    truth = liver_with_tumor(np.s_[5:8, 3:6, 2:4])
    scores = case_scores(liver_with_tumor(None), truth, SPACING)
    assert scores["liver_dice"] == 1 and scores["liver_ml"] == scores["liver_ml_truth"]
    assert scores["tumor_dice"] == 0


def test_reversed_label_order_ruins_the_tumor_and_not_the_organ() -> None:
    # liver 512 voxels, 18 of them tumor: reversed, the "tumor" has 494, none of them right
    truth = liver_with_tumor(np.s_[5:8, 3:6, 2:4])
    swapped = np.array([0, 2, 1], dtype=np.uint8)[truth]
    scores = case_scores(swapped, truth, SPACING)
    assert scores["liver_dice"] == 1 and scores["tumor_dice"] == 0
    assert scores["tumor_rvd"] == pytest.approx(494 / 18 - 1)
    assert (scores["lesions_found"], scores["false_lesions"]) == (0, 1)


def tumor_scores(prediction: Labels, truth: Labels) -> list[float]:
    scores = case_scores(prediction, truth, SPACING)
    return [scores[f"tumor_{name}"] for name in STRUCTURE_SCORES]


def test_no_tumor_in_truth_and_prediction_is_perfect() -> None:
    assert tumor_scores(liver_with_tumor(None), liver_with_tumor(None)) == [1, 1, 1, 0, 0, 0, 0]


def test_missed_tumor_has_the_worst_scores_and_the_diagonal_of_the_whole_image_as_distance() -> None:
    found = tumor_scores(liver_with_tumor(None), liver_with_tumor(np.s_[5:8, 3:6, 2:4]))
    assert found == pytest.approx([0, 0, 0, DIAGONAL_MM, DIAGONAL_MM, 1, -1])


def test_false_tumor_in_a_healthy_liver_has_the_worst_scores() -> None:
    found = tumor_scores(liver_with_tumor(np.s_[5:6, 3:4, 2:3]), liver_with_tumor(None))
    assert found == pytest.approx([0, 0, 0, DIAGONAL_MM, DIAGONAL_MM, 1, nan], nan_ok=True)


def test_two_empty_maps_are_scored_as_agreement() -> None:
    scores = case_scores(label_map(), label_map(), SPACING)
    assert scores["liver_dice"] == 1 and scores["liver_hd95_mm"] == 0 and scores["liver_ml"] == 0


def test_unlabelled_tumors_leave_tumor_columns_undefined_and_the_columns_the_same() -> None:
    prediction = liver_with_tumor(np.s_[5:8, 3:6, 2:4])
    known = case_scores(prediction, prediction, SPACING)
    unknown = case_scores(prediction, liver_with_tumor(None), SPACING, tumor_labelled=False)
    assert list(unknown) == list(known)
    assert {name for name, value in unknown.items() if isnan(value)} == {
        name for name in known if not name.startswith("liver")
    }
    assert unknown["liver_dice"] == 1


def test_an_unreliable_label_2_is_ignored_for_the_liver() -> None:
    doubtful = np.s_[5:8, 3:6, 2:4]
    truth, prediction = liver_with_tumor(doubtful), liver_with_tumor(None)
    prediction[5:8, 3:6, 2] = 0  # half of what is doubtful: background, the other half: liver
    scores = case_scores(prediction, truth, SPACING, tumor_labelled=False)
    assert scores["liver_dice"] == 1 and scores["liver_rvd"] == 0
    assert scores["liver_ml"] == scores["liver_ml_truth"] == pytest.approx((truth == 1).sum() * np.prod(SPACING) / 1000)
    assert case_scores(prediction, truth, SPACING)["liver_dice"] < 1


def test_lesions_are_judged_by_any_overlap_and_at_a_half() -> None:
    # 2 of 36 predicted voxels are true: IoU 0.06
    prediction, truth = liver_with_tumor(np.s_[4:10, 2:8, 2:3]), liver_with_tumor(np.s_[4:6, 2:3, 2:3])
    scores = case_scores(prediction, truth, SPACING)
    assert (scores["lesions_found"], scores["false_lesions"]) == (1, 0)
    assert (scores["lesions_found_at_50"], scores["false_lesions_at_50"]) == (0, 1)


def test_float32_rounding_of_spacing_does_not_change_surface_dice() -> None:
    truth, prediction = label_map((1, np.s_[4:8, 2:6, 2:3])), label_map((1, np.s_[5:9, 2:6, 2:3]))
    exact = case_scores(prediction, truth, (1.0, 1.0, 5.0))["liver_nsd_1mm"]
    assert exact == 1
    assert case_scores(prediction, truth, (1.0000001, 1.0000001, 5.0))["liver_nsd_1mm"] == exact


def test_every_column_family_is_defined() -> None:
    text = " ".join(DEFINITIONS)
    for name in case_scores(label_map(), label_map(), SPACING):
        family = name.removeprefix("liver_").removeprefix("tumor_").removesuffix("_at_50")
        assert family in text, name


def random_blocks(seed: int) -> Labels:
    rng = np.random.default_rng(seed)
    boxes = [(value, tuple(slice(a, a + 4) for a in rng.integers(0, 8, 3))) for value in (1, 1, 2)]
    return label_map(*boxes, shape=(12, 12, 12))  # type: ignore[arg-type]


def one_hot(labels: Labels) -> torch.Tensor:
    return torch.from_numpy(np.stack([labels > 0, labels == 2])[None])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6), st.tuples(*[st.sampled_from([0.7, 1.0, 1.25, 2.5, 5.0])] * 3))
def test_surface_scores_equal_those_of_monai_if_no_mask_is_empty(
    first: int, second: int, spacing: tuple[float, float, float]
) -> None:
    prediction, truth = random_blocks(first), random_blocks(second)
    scores = case_scores(prediction, truth, spacing)
    pair, options = (one_hot(prediction), one_hot(truth)), {"include_background": True, "spacing": list(spacing)}
    expected: dict[str, npt.NDArray[np.float32]] = {
        "hd95_mm": compute_hausdorff_distance(*pair, percentile=95, **options)[0].numpy(),
        "assd_mm": compute_average_surface_distance(*pair, symmetric=True, **options)[0].numpy(),
        "nsd_1mm": compute_surface_dice(*pair, class_thresholds=[1.0001] * 2, **options)[0].numpy(),
        "nsd_3mm": compute_surface_dice(*pair, class_thresholds=[3.0001] * 2, **options)[0].numpy(),
    }
    for name, values in expected.items():
        assert [scores[f"liver_{name}"], scores[f"tumor_{name}"]] == pytest.approx(list(values), abs=1e-4), name


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(InputError, match=r"the same grid, got shapes \(20, 10, 6\) and \(20, 10, 5\)"):
        case_scores(label_map(), label_map(shape=(20, 10, 5)), SPACING)


def test_a_label_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InputError, match="The truth must be uint8 .* maximum of 3"):
        case_scores(label_map(), label_map((3, np.s_[1:2, 1:2, 1:2])), SPACING)


def test_volumes_of_a_sheared_grid_use_the_volume_of_its_voxels() -> None:
    labels = liver_with_tumor(np.s_[4:8, 2:6, 2:4])  # 16 x 8 x 4 voxels, 32 of them tumor
    scores = case_scores(labels, labels, SPACING, voxel_mm3=9.0)
    assert (scores["liver_ml"], scores["tumor_ml_truth"]) == pytest.approx((512 * 0.009, 32 * 0.009))


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.0, nan)])
def test_invalid_spacing_is_refused(spacing: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="three positive numbers"):
        case_scores(label_map(), label_map(), spacing)
