"""The loss on a few voxels: weighted cross-entropy, Dice of organ and tumor, and labels 3 and 4."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from monai.losses import DiceCELoss
from torch import Tensor

from custom_networks.training import OrganTumorLoss

WEIGHTS = (1.0, 2.0, 5.0)
TRAINED = (1.0, 1.0, 3.0)  # as in train.json
Probabilities = tuple[float, float, float]


def logits_of(*voxels: Probabilities) -> Tensor:
    """Logits (1, 3, n, 1, 1) with the given softmax for each voxel."""
    return torch.tensor(voxels).T.log().reshape(1, 3, -1, 1, 1).requires_grad_()


def target_of(*labels: int) -> Tensor:
    return torch.tensor(labels).reshape(1, 1, -1, 1, 1)


def loss_of(voxels: Sequence[Probabilities], labels: Sequence[int], **more: Any) -> float:
    return float(OrganTumorLoss(**({"class_weights": TRAINED} | more))(logits_of(*voxels), target_of(*labels)))


def cross_entropy_of(voxels: Sequence[Probabilities], labels: Sequence[int], **more: Any) -> float:
    return loss_of(voxels, labels, dice_weight=0.0, **more)


def dice_of(voxels: Sequence[Probabilities], labels: Sequence[int], **more: Any) -> float:
    return loss_of(voxels, labels, ce_weight=0.0, **more)


def gradient_of(voxels: Sequence[Probabilities], labels: Sequence[int]) -> Tensor:
    """Gradient (voxels, 3) of the loss with respect to the logits."""
    logits = logits_of(*voxels)
    OrganTumorLoss(TRAINED)(logits, target_of(*labels)).backward()
    assert logits.grad is not None
    return logits.grad[0, :, :, 0, 0].T


def random_batch(labels: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 5, 3, generator=generator)
    return logits, torch.randint(labels, (2, 1, 4, 5, 3), generator=generator)


# --- cross-entropy ----------------------------------------------------------------------------------------------------


def test_cross_entropy_is_the_mean_weighted_by_class() -> None:
    expected = (1 * -math.log(0.5) + 3 * -math.log(0.6)) / (1 + 3)
    found = cross_entropy_of([(0.2, 0.5, 0.3), (0.1, 0.3, 0.6)], [1, 2], class_weights=(1, 1, 3))
    assert found == pytest.approx(expected, rel=1e-5)


def test_cross_entropy_of_labels_0_to_2_equals_torchs_and_monais() -> None:
    logits, target = random_batch()
    found = float(OrganTumorLoss(class_weights=WEIGHTS, dice_weight=0.0)(logits, target))
    weight = torch.tensor(WEIGHTS)
    assert found == pytest.approx(float(torch.nn.CrossEntropyLoss(weight)(logits, target[:, 0])), rel=1e-5)
    monai = DiceCELoss(to_onehot_y=True, softmax=True, weight=weight, lambda_dice=0.0)
    assert found == pytest.approx(float(monai(logits, target)), rel=1e-5)


# --- Dice -------------------------------------------------------------------------------------------------------------

LIVER_AND_TUMOR: list[Probabilities] = [(0.2, 0.5, 0.3), (0.1, 0.3, 0.6)]
# the organ is found with .8 and .9, wanted in both: 1 - (2 * 1.7 + 1) / (1.7 + 2 + 1)
ORGAN_DICE = 1 - 4.4 / 4.7
# the tumor is found with .3 and .6, wanted in the second: 1 - (2 * .6 + 1) / (.9 + 1 + 1)
TUMOR_DICE = 1 - 2.2 / 2.9


def test_dice_is_the_mean_of_organ_and_tumor_worked_by_hand() -> None:
    assert dice_of(LIVER_AND_TUMOR, [1, 2]) == pytest.approx((ORGAN_DICE + TUMOR_DICE) / 2, rel=1e-5)


def test_dice_weights_multiply_organ_and_tumor() -> None:
    expected = (0.5 * ORGAN_DICE + 3 * TUMOR_DICE) / 2
    assert dice_of(LIVER_AND_TUMOR, [1, 2], dice_weights=(0.5, 3.0)) == pytest.approx(expected, rel=1e-5)


def test_tumor_predicted_as_liver_does_not_affect_the_organs_dice() -> None:
    confused: list[Probabilities] = [(0.2, 0.5, 0.3), (0.1, 0.6, 0.3)]
    assert dice_of(confused, [1, 2], dice_weights=(1.0, 0.0)) == pytest.approx(ORGAN_DICE / 2, rel=1e-5)


def test_dice_is_taken_over_the_batch_not_per_stack() -> None:
    logits, target = logits_of(*LIVER_AND_TUMOR), target_of(1, 2)
    dice = OrganTumorLoss(TRAINED, ce_weight=0.0)
    as_two_stacks = dice(logits.reshape(3, 2).T.reshape(2, 3, 1, 1, 1), target.reshape(2, 1, 1, 1, 1))
    assert float(as_two_stacks) == pytest.approx(float(dice(logits, target)), rel=1e-5)


def test_loss_is_the_weighted_sum_of_its_parts() -> None:
    parts = 0.3 * cross_entropy_of(LIVER_AND_TUMOR, [1, 2]) + 0.7 * dice_of(LIVER_AND_TUMOR, [1, 2])
    assert loss_of(LIVER_AND_TUMOR, [1, 2], ce_weight=0.3, dice_weight=0.7) == pytest.approx(parts, rel=1e-5)


# --- label 3: liver or tumor, unknown which ---------------------------------------------------------------------------


def test_label_3_uses_the_sum_of_liver_and_tumor() -> None:
    assert cross_entropy_of([(0.3, 0.5, 0.2)], [3]) == pytest.approx(-math.log(0.7), rel=1e-5)
    # organ .7 wanted 1: 1 - (1.4 + 1) / (.7 + 1 + 1); the tumor's Dice has no voxel: 1 - 1 / 1
    assert dice_of([(0.3, 0.5, 0.2)], [3]) == pytest.approx((1 - 2.4 / 2.7) / 2, rel=1e-5)


@pytest.mark.parametrize("tumor", [0.01, 0.35, 0.69])
def test_moving_mass_between_liver_and_tumor_under_label_3_changes_nothing(tumor: float) -> None:
    others: list[Probabilities] = [*LIVER_AND_TUMOR, (0.3, 0.4, 0.3)]
    moved: list[Probabilities] = [*LIVER_AND_TUMOR, (0.3, 0.7 - tumor, tumor)]
    assert loss_of(moved, [1, 2, 3]) == pytest.approx(loss_of(others, [1, 2, 3]), rel=1e-5)


def test_the_gradient_of_label_3_raises_liver_and_tumor_together() -> None:
    background, liver, tumor = gradient_of([*LIVER_AND_TUMOR, (0.3, 0.5, 0.2)], [1, 2, 3])[2]
    assert background > 0 > liver and tumor < 0  # descent goes the other way
    assert float(liver / tumor) == pytest.approx(0.5 / 0.2, rel=1e-4)  # the odds of liver to tumor do not move


def test_label_3_has_the_weight_of_liver_in_the_cross_entropy() -> None:
    expected = (2 * -math.log(0.7) + 5 * -math.log(0.6)) / (2 + 5)
    found = cross_entropy_of([(0.3, 0.5, 0.2), (0.1, 0.3, 0.6)], [3, 2], class_weights=WEIGHTS)
    assert found == pytest.approx(expected, rel=1e-5)


# --- label 4: ignored -------------------------------------------------------------------------------------------------


def test_label_4_has_no_gradient_and_the_loss_is_that_of_the_other_voxels() -> None:
    voxels: list[Probabilities] = [*LIVER_AND_TUMOR, (0.98, 0.01, 0.01)]
    gradient = gradient_of(voxels, [1, 2, 4])
    assert torch.count_nonzero(gradient[2]) == 0
    assert torch.count_nonzero(gradient[:2]) == 6
    assert loss_of(voxels, [1, 2, 4]) == pytest.approx(loss_of(LIVER_AND_TUMOR, [1, 2]), rel=1e-5)


def test_a_batch_with_only_label_4_has_no_gradient() -> None:
    assert torch.count_nonzero(gradient_of(LIVER_AND_TUMOR, [4, 4])) == 0


# --- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [[0, 1, 2], [0, 0, 0], [0, 1, 1]])
def test_a_perfect_prediction_has_no_loss_and_the_opposite_a_large_one(labels: list[int]) -> None:
    certain = torch.nn.functional.one_hot(torch.tensor(labels), 3).float().T.reshape(1, 3, 3, 1, 1) * 20
    assert float(OrganTumorLoss(TRAINED)(certain, target_of(*labels))) < 1e-4
    assert float(OrganTumorLoss(TRAINED)(-certain, target_of(*labels))) > 10


@pytest.mark.parametrize("labels", [[0, 1], [0, 0], [3, 0], [3, 4]])
def test_batch_without_tumor_gives_a_finite_loss_and_gradient(labels: list[int]) -> None:
    assert math.isfinite(loss_of(LIVER_AND_TUMOR, labels))
    gradient = gradient_of(LIVER_AND_TUMOR, labels)
    assert gradient.isfinite().all() and gradient.abs().sum() > 0


def test_even_extreme_bfloat16_logits_have_a_finite_float32_loss_and_gradients() -> None:
    logits, target = random_batch(labels=5)
    logits = (300 * logits).bfloat16().requires_grad_()
    loss = OrganTumorLoss(TRAINED)(logits, target)
    loss.backward()
    assert loss.dtype == torch.float32 and loss.isfinite()
    assert logits.grad is not None and logits.grad.isfinite().all() and logits.grad.abs().sum() > 0


def test_labels_may_be_floats_as_returned_by_transforms() -> None:
    logits, target = random_batch(labels=5)
    loss = OrganTumorLoss(TRAINED)
    assert float(loss(logits, target.float())) == float(loss(logits, target))
