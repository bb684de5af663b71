"""The loss of patent application CN114723669A, weighted categorical cross-entropy and Dice, also for partial labels."""

from collections.abc import Sequence

import torch
from monai.losses import DiceLoss
from torch import Tensor, nn
from torch.nn import functional as F

from custom_networks.training.data.partial_labels import IGNORED, ORGAN


class OrganTumorLoss(nn.Module):
    """Weighted cross-entropy of background, liver and tumor + weighted Dice loss of organ (liver or tumor) and tumor.

    Dice is computed over the whole batch, so that a stack without tumor does not weigh as much as one with tumor. For
    voxels labelled 3 (liver or tumor, unknown which) only `p_liver + p_tumor` counts, and they are left out of the
    tumor's Dice; voxels labelled 4 are left out altogether.

    Args:
        class_weights: weights of background, liver and tumor in the cross-entropy.
        dice_weights: weights of organ and tumor in the Dice loss.
        ce_weight: weight of the cross-entropy.
        dice_weight: weight of the Dice loss.
    """

    def __init__(
        self,
        class_weights: Sequence[float],
        dice_weights: Sequence[float] = (1.0, 1.0),
        ce_weight: float = 1.0,
        dice_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.register_buffer("class_weights", torch.tensor(class_weights, dtype=torch.float32), persistent=False)
        self.dice = DiceLoss(batch=True, weight=list(dice_weights), smooth_nr=1.0, smooth_dr=1.0)
        self.ce_weight = ce_weight
        self.dice_weight = dice_weight

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss, a scalar, of logits `(B, 3, H, W, N)` for a target `(B, 1, H, W, N)` with labels 0 to 4."""
        target = target[:, 0].long()
        log_probabilities = F.log_softmax(logits.float(), dim=1)
        return self.ce_weight * self._cross_entropy(log_probabilities, target) + self.dice_weight * self._dice(
            log_probabilities.exp(), target
        )

    def _cross_entropy(self, log_probabilities: Tensor, target: Tensor) -> Tensor:
        """Mean of -log p(target) weighted by class, like `torch.nn.CrossEntropyLoss`.

        Label 3 means liver or tumor and has the weight of liver.
        """
        weights = self.get_buffer("class_weights").to(log_probabilities.device)
        organ = torch.logaddexp(log_probabilities[:, 1], log_probabilities[:, 2])
        scores = torch.cat([log_probabilities, organ[:, None]], dim=1)
        weight = torch.cat([weights, weights[1:2]])
        return F.nll_loss(scores, target, weight, ignore_index=IGNORED)

    def _dice(self, probabilities: Tensor, target: Tensor) -> Tensor:
        """Dice loss of organ and tumor, over the voxels whose label is known."""
        labelled = (target != IGNORED).float()
        tumor_labelled = labelled * (target != ORGAN)
        organ, tumor = probabilities[:, 1] + probabilities[:, 2], probabilities[:, 2]
        found = torch.stack([organ * labelled, tumor * tumor_labelled], dim=1)
        wanted = torch.stack([(target > 0) * labelled, (target == 2).float()], dim=1)
        return self.dice(found, wanted)
