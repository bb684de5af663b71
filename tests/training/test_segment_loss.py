"""The loss of segments worked by hand: unlabelled voxels are ignored, and segments that occur count equally."""

import math

import pytest
import torch

from custom_networks.training import SegmentsLoss


def logits_of(segments: torch.Tensor, scale: float = 50.0) -> torch.Tensor:
    """Logits (B, 8, H, W, N) that predict the given segments (B, 1, H, W, N) with certainty."""
    wanted = (segments[:, 0].long() - 1).clamp(min=0)
    return scale * torch.nn.functional.one_hot(wanted, 8).movedim(-1, 1).float()


def target() -> torch.Tensor:
    """Segment 5 in one half, segment 8 in a quarter, unknown elsewhere."""
    segments = torch.zeros(1, 1, 4, 4, 2)
    segments[..., 0], segments[..., :2, 1] = 5, 8
    return segments


def test_a_correct_prediction_has_no_loss() -> None:
    assert SegmentsLoss(smoothing=0.0)(logits_of(target()), target()) == pytest.approx(0, abs=1e-5)


def test_voxels_without_a_known_segment_have_no_loss() -> None:
    other = torch.where(target() == 0, torch.tensor(3.0), target())
    loss = SegmentsLoss(smoothing=0.0)
    assert loss(logits_of(other), target()) == pytest.approx(float(loss(logits_of(target()), target())))
    logits = torch.randn(1, 8, 4, 4, 2, requires_grad=True)
    assert loss(logits, torch.zeros(1, 1, 4, 4, 2)) == 0
    loss(logits, target()).backward()
    assert logits.grad is not None and (logits.grad[:, :, :, 2:, 1] == 0).all()


def test_a_uniform_prediction_has_the_loss_worked_by_hand() -> None:
    # 24 voxels are known, 16 of segment 5 and 8 of segment 8; each class has an eighth of each.
    dice = [(2 * n / 8 + 1) / (24 / 8 + n + 1) for n in (16, 8)]
    loss = SegmentsLoss(dice_weight=2.0, smoothing=0.0)(torch.zeros(1, 8, 4, 4, 2), target())
    assert loss == pytest.approx(math.log(8) + 2 * (1 - sum(dice) / 2), abs=1e-5)
