"""Deep supervision for `recipes.py`: does the network learn better when coarser decoder levels must answer, too?

Used by overrides of train.json, as in docs/training/deep_supervision.json. The heads are part of the saved weights of
such a training; what is segmented with does not ask them.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from custom_networks.networks import ContextNet25D
from custom_networks.training import OrganTumorLoss


class _Remembering(nn.Module):
    """A decoder level that keeps its latest output."""

    def __init__(self, level: nn.Module) -> None:
        super().__init__()
        self.level = level
        self.latest: Tensor | None = None

    def forward(self, x: Tensor, skip: Tensor, stacks: int) -> Tensor:
        answer: Tensor = self.level(x, skip, stacks)
        self.latest = answer if self.training else None
        return answer


def with_coarse_heads(network: ContextNet25D, levels: int = 2) -> ContextNet25D:
    """The network with a 1 x 1 head on each of that many decoder levels under the finest, finer ones first.

    The heads are made where the network's own is: on its device.
    """
    head, heads = network.head, []
    for i in range(2, 2 + levels):
        channels = network.decoder[-i].refine.point[0].out_channels
        heads.append(nn.Conv2d(channels, head.out_channels, 1, device=head.weight.device))
        network.decoder[-i] = _Remembering(network.decoder[-i])
    network.coarse_heads = nn.ModuleList(heads)
    return network


class DeepLoss(OrganTumorLoss):
    """`OrganTumorLoss` of the output, and of the coarser heads' against every second, fourth, ... pixel of the label.

    Args:
        network: from `with_coarse_heads`.
        level_weights: one a head, finer ones first; the output has weight 1, and the sum is scaled back to 1.
        more: arguments of `OrganTumorLoss`.
    """

    def __init__(self, network: nn.Module, level_weights: Sequence[float] = (0.5, 0.25), **more: Any) -> None:
        super().__init__(**more)
        self._network = [network]  # in a list, or the network would be a part of its loss
        self.level_weights = tuple(level_weights)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss as that of `OrganTumorLoss`."""
        (network,) = self._network
        loss = super().forward(logits, target)
        for i, (head, weight) in enumerate(zip(network.coarse_heads, self.level_weights)):
            features = network.decoder[-2 - i].latest
            coarse = head(features.float()).unflatten(0, (target.shape[0], target.shape[4])).permute(0, 2, 3, 4, 1)
            step = 2 ** (i + 1)
            loss = loss + weight * super().forward(coarse, target[:, :, ::step, ::step])
        return loss / (1 + sum(self.level_weights))
