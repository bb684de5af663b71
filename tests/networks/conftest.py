"""A network small enough to run in milliseconds, in which every layer affects the output."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from custom_networks.networks import ContextNet25D


def randomise(module: nn.Module) -> nn.Module:
    """Set every BatchNorm and every depth kernel to random values, so that no layer is an identity."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d) and part.running_mean is not None and part.running_var is not None:
            part.running_mean.normal_(0, 0.2)
            part.running_var.uniform_(0.5, 2)
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, 0, 0.2)
    for name, parameter in module.named_parameters():
        if name.endswith("depth.weight"):
            nn.init.uniform_(parameter, 0.2, 1)
    return module.eval()


def fit_statistics(network: ContextNet25D) -> None:
    """Estimate batch statistics on random images; otherwise deep levels of a new network hardly affect its logits."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0  # the statistics of the one batch
    with torch.no_grad():
        network.train()(torch.randn(2, 1, 16, 16, 9))
    network.eval()


def small_network() -> ContextNet25D:
    torch.manual_seed(0)
    small = ContextNet25D(
        channels=[4, 6, 8], depth_kernels=[1, 3, 3], aspp_channels=6, aspp_rates=[1, 2], aspp_window=3
    )
    randomise(small)
    fit_statistics(small)
    return small


@pytest.fixture
def randomised() -> Callable[[nn.Module], nn.Module]:
    return randomise


@pytest.fixture
def network() -> ContextNet25D:
    """Three levels (stride 4) and two depth kernels of 3: a stack of S = 5 slices."""
    return small_network()


@pytest.fixture(scope="session")
def scripted() -> torch.jit.ScriptModule:
    """The same network in TorchScript."""
    return torch.jit.script(small_network())
