"""A network small enough to run in milliseconds."""

import pytest
import torch
from torch import nn

from custom_networks.networks import ContextNet25D


@pytest.fixture(scope="session")
def network() -> ContextNet25D:
    """Three levels (stride 4), stacks of S = 5; batch statistics of random images, so that every layer matters."""
    torch.manual_seed(0)
    small = ContextNet25D(
        channels=[4, 6, 8], depth_kernels=[1, 3, 3], aspp_channels=6, aspp_rates=[1, 2], aspp_window=3
    )
    for module in small.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        small(torch.randn(2, 1, 16, 16, 9))
    return small.eval()
