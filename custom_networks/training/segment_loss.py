"""The loss of Couinaud's segments: cross-entropy and Dice where a segment is known."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from custom_networks.labelmap.segments import SEGMENTS


class SegmentsLoss(nn.Module):
    """Cross-entropy over the eight segments + `dice_weight` x (1 - mean Dice), where the truth names a segment.

    A voxel labelled 0 lies outside of the liver, or in a part of it that no segment of the truth covers: it asks for
    nothing. Dice is taken over the batch, of the segments that it shows.

    Args:
        dice_weight: weight of the Dice part.
        smoothing: of the cross-entropy's targets; experts draw the borders a centimetre apart.
    """

    def __init__(self, dice_weight: float = 1.0, smoothing: float = 0.05) -> None:
        super().__init__()
        self.dice_weight, self.smoothing = dice_weight, smoothing

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss of `logits` `(B, 8, H, W, N)` against `target` `(B, 1, H, W, N)` with values 0 to 8."""
        flat = logits.float().movedim(1, -1)
        known = target[:, 0] > 0
        if not known.any():
            return flat.sum() * 0
        scores, wanted = flat[known], target[:, 0][known].long() - 1
        entropy = F.cross_entropy(scores, wanted, label_smoothing=self.smoothing)
        return entropy + self.dice_weight * _dice_loss(scores.softmax(-1), wanted)


def _dice_loss(probabilities: Tensor, wanted: Tensor) -> Tensor:
    """1 - mean Dice of the classes that occur, of probabilities (n, 8) and true classes (n,)."""
    truth = F.one_hot(wanted, len(SEGMENTS)).float()
    both, sizes = (probabilities * truth).sum(0), probabilities.sum(0) + truth.sum(0)
    shown = truth.sum(0) > 0
    return 1 - torch.mean((2 * both + 1)[shown] / (sizes + 1)[shown])
