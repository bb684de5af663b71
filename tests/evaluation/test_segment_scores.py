"""Dice of segments and segments of lesions, worked by hand."""

import math

import numpy as np
import pytest

from custom_networks.evaluation.segment_scores import placed_lesions, segment_dice


def maps() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Found, truth and labels of a liver of 20 x 4 x 4: segment 8 changes to 5 at index 10 in truth and at 8 in found;
    the last two planes have no segment in the truth."""
    labels, truth, found = (np.zeros((24, 4, 4), np.uint8) for _ in range(3))
    labels[:20] = 1
    truth[:10], truth[10:18] = 8, 5
    found[:8], found[8:20] = 8, 5
    return found, truth, labels


def test_dice_ignores_liver_without_a_true_segment() -> None:
    dice = segment_dice(*maps())
    assert dice[8] == pytest.approx(2 * 8 / 18) and dice[5] == pytest.approx(2 * 8 / 18)
    assert all(math.isnan(dice[number]) for number in (1, 2, 3, 4, 6, 7))


def test_segments_found_outside_the_true_liver_lower_dice() -> None:
    found, truth, labels = maps()
    found[20:] = 5
    assert segment_dice(found, truth, labels)[5] == pytest.approx(2 * 8 / 22)


def test_lesions_belong_to_the_segment_with_their_largest_share() -> None:
    found, truth, labels = maps()
    labels[1, 0, 0], labels[7:10, 2, 2], labels[19, 3, 3] = 2, 2, 2
    lesions = placed_lesions(found, truth, labels, (4.0, 1.0, 2.0))
    assert [(lesion.truth, lesion.found, lesion.volume_mm3) for lesion in lesions] == [(8, 8, 8.0), (8, 5, 24.0)]
    assert [lesion.near_border for lesion in lesions] == [False, True]
