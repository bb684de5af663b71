"""Channels last changes where weights lie, never what they are."""

import torch
from torch import nn

from custom_networks.networks import ContextNet25D, to_channels_last


@torch.no_grad()
def test_channels_last_keeps_weights_and_answers(network: ContextNet25D) -> None:
    torch.manual_seed(1)
    x = torch.randn(1, 1, 8, 8, 4)
    before, weights = network(x), {name: value.clone() for name, value in network.state_dict().items()}
    assert to_channels_last(network) is network
    assert all(torch.equal(weights[name], value) for name, value in network.state_dict().items())
    torch.testing.assert_close(network(x), before, rtol=1e-5, atol=1e-5)


def test_channels_last_lays_out_every_2d_convolution(network: ContextNet25D) -> None:
    to_channels_last(network)
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert convolutions
    assert all(conv.weight.is_contiguous(memory_format=torch.channels_last) for conv in convolutions)
    mixing = [conv for conv in convolutions if conv.kernel_size == (3, 3) and conv.groups == 1 and conv.in_channels > 1]
    assert all(not conv.weight.is_contiguous() for conv in mixing)


def test_channels_last_leaves_weights_of_other_ranks_alone() -> None:
    pair = nn.Sequential(nn.Conv3d(2, 3, 3), nn.Conv2d(3, 4, 3))
    to_channels_last(pair)
    assert pair[0].weight.is_contiguous() and not pair[1].weight.is_contiguous()


def test_channels_last_keeps_parameters_that_an_optimizer_already_holds(network: ContextNet25D) -> None:
    held = dict(network.named_parameters())
    to_channels_last(network)
    assert all(held[name] is parameter for name, parameter in network.named_parameters())
