"""Runs the network on stacks that bring their own halo, as training does."""

from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import Inferer

from custom_networks.inference.precision import autocast


class StackInferer(Inferer):
    """Logits of stacks `(B, C, H, W, N + S - 1)` that hold real neighbours: `(B, K, H, W, N)` float32.

    Args:
        precision: "float32", "bfloat16", or "auto" for bfloat16 where the processor or GPU has instructions for it.
    """

    def __init__(self, precision: str = "auto") -> None:
        self.precision = precision

    def __call__(self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        # Through forward, not slab: DistributedDataParallel hooks into forward alone.
        with autocast(inputs.device, self.precision, training=True):
            logits: torch.Tensor = network(torch.as_tensor(inputs).as_subclass(torch.Tensor), with_halo=True)
        return logits.float()
