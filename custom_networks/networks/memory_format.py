"""Memory format of a network's weights."""

from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def to_channels_last(network: Network) -> Network:
    """Lay the weights of every `Conv2d` out channels last, in place, which makes the network run in that format.

    `module.to(memory_format=...)` would refuse a network that also holds parameters of another rank.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
    return network
