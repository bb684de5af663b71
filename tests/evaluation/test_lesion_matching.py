"""Found and false lesions, on masks small enough to count by hand."""

import numpy as np
import numpy.typing as npt

from custom_networks.evaluation.lesion_matching import LesionCounts, count_lesions, shared_voxels

Mask = npt.NDArray[np.bool_]


def row(*filled: tuple[int, int]) -> Mask:
    """Mask (30, 1, 1) that is true in each [start, stop)."""
    mask = np.zeros((30, 1, 1), dtype=bool)
    for start, stop in filled:
        mask[start:stop] = True
    return mask


def judge(prediction: Mask, truth: Mask, overlap: float = 0.0) -> LesionCounts:
    return count_lesions(shared_voxels(prediction, truth), overlap)


def test_one_found_one_missed_and_one_false_lesion_are_counted() -> None:
    counts = judge(prediction=row((1, 5), (20, 23)), truth=row((0, 5), (10, 15)))
    assert counts == LesionCounts(truth=2, predicted=2, found=1, false=1)


def test_one_shared_voxel_finds_a_lesion() -> None:
    assert judge(row((0, 12)), row((11, 20))) == LesionCounts(truth=1, predicted=1, found=1, false=0)
    assert judge(row((0, 11)), row((11, 20))) == LesionCounts(truth=1, predicted=1, found=0, false=1)


def test_a_lesion_is_found_above_the_overlap_and_not_at_it() -> None:
    # 2 voxels shared, 10 in the union
    prediction, truth = row((4, 12)), row((2, 6))
    assert judge(prediction, truth, 0.19).found == 1
    assert judge(prediction, truth, 0.2).found == 0


def test_true_lesion_hit_by_two_predictions_is_found_once_with_both_counted() -> None:
    # pieces of 3 and 3 of 10 voxels: alone 0.3, together 0.6; none of the pieces is false
    counts = judge(prediction=row((0, 3), (7, 10)), truth=row((0, 10)), overlap=0.5)
    assert counts == LesionCounts(truth=1, predicted=2, found=1, false=0)


def test_two_true_lesions_merged_into_one_prediction_are_both_found() -> None:
    # 8 + 4 true voxels and a bridge of 2: 8 / 10 and 4 / 6
    prediction, truth = row((0, 14)), row((0, 8), (10, 14))
    assert judge(prediction, truth, 0.5) == LesionCounts(truth=2, predicted=1, found=2, false=0)
    assert judge(prediction, truth, 0.7).found == 1


def test_prediction_far_larger_than_the_lesion_finds_nothing_at_a_tenth_and_is_false() -> None:
    prediction, truth = row((0, 30)), row((10, 12))
    assert judge(prediction, truth, 0.1) == LesionCounts(truth=1, predicted=1, found=0, false=1)


def test_a_prediction_is_false_at_the_overlap_and_not_above_it() -> None:
    # 1 of 10 predicted voxels lies in true tumor
    prediction, truth = row((0, 10)), row((9, 12))
    assert judge(prediction, truth, 0.09).false == 0
    assert judge(prediction, truth, 0.1).false == 1


def test_voxels_that_touch_at_a_corner_are_one_lesion() -> None:
    truth = np.zeros((3, 3, 3), dtype=bool)
    truth[0, 0, 0] = truth[1, 1, 1] = True
    assert judge(np.zeros_like(truth), truth) == LesionCounts(truth=1, predicted=0, found=0, false=0)


def test_without_lesions_all_counts_are_zero() -> None:
    assert judge(row(), row()) == LesionCounts(0, 0, 0, 0)
