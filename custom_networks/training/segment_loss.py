"""The loss for Couinaud's segments: cross-entropy and Dice over voxels whose true segment is known."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from custom_networks.labelmap.segments import SEGMENTS


class SegmentsLoss(nn.Module):
    """Cross-entropy over the eight segments + `dice_weight` x (1 - mean Dice).

    Voxels labelled 0 (outside the liver, or in a part without a known segment) are ignored. Dice is computed over the
    batch, for the segments that occur in it.

    Args:
        dice_weight: weight of the Dice loss.
        smoothing: label smoothing of the cross-entropy; experts' borders differ by a centimetre.
    """

    def __init__(self, dice_weight: float = 1.0, smoothing: float = 0.05) -> None:
        super().__init__()
        self.dice_weight, self.smoothing = dice_weight, smoothing

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss, a scalar, of logits `(B, 8, H, W, N)` for a target `(B, 1, H, W, N)` with labels 0 to 8.

        It is 0 if no voxel has a segment.
        """
        flat = logits.float().movedim(1, -1)
        known = target[:, 0] > 0
        if not known.any():
            return flat.sum() * 0
        scores, wanted = flat[known], target[:, 0][known].long() - 1
        entropy = F.cross_entropy(scores, wanted, label_smoothing=self.smoothing)
        return entropy + self.dice_weight * _dice_loss(scores.softmax(-1), wanted)


def _dice_loss(probabilities: Tensor, wanted: Tensor) -> Tensor:
    """1 - mean smoothed Dice of the classes that occur, from probabilities (n, 8) and true classes (n,)."""
    truth = F.one_hot(wanted, len(SEGMENTS)).float()
    both, sizes = (probabilities * truth).sum(0), probabilities.sum(0) + truth.sum(0)
    shown = truth.sum(0) > 0
    return 1 - torch.mean((2 * both + 1)[shown] / (sizes + 1)[shown])
