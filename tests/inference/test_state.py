"""Digests change with the weights and the structure of a network."""

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch

from custom_networks.inference.state import architecture_digest, state_digest
from custom_networks.networks import ContextNet25D

SMALL = {"channels": [4, 6], "depth_kernels": [1, 3], "aspp_channels": 4, "aspp_rates": [1], "aspp_window": 3}


def small(**other: object) -> ContextNet25D:
    torch.manual_seed(0)
    return ContextNet25D(**{**SMALL, **other}).eval()  # type: ignore[arg-type]


CHANGES: dict[str, Callable[[ContextNet25D], object]] = {
    "in place": lambda network: network.head.bias.add_(1e-6),
    "behind the version counter": lambda network: network.head.bias.data.add_(1e-6),
    "a buffer": lambda network: network.stem[1].running_mean.add_(1e-6),  # type: ignore[operator, union-attr]
    "loaded": lambda network: network.load_state_dict(
        {name: value + 1 for name, value in network.state_dict().items()}
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@torch.no_grad()
def test_a_change_of_the_weights_changes_the_digest(change: Callable[[ContextNet25D], object]) -> None:
    network = small()
    before, architecture = state_digest(network), architecture_digest(network)
    assert state_digest(deepcopy(network)) == before
    change(network)
    assert state_digest(network) != before and architecture_digest(network) == architecture


@pytest.mark.parametrize("other", [{"aspp_window": 5}, {"aspp_rates": [2]}, {"depth_kernels": [3, 1]}], ids=str)
def test_a_structural_change_without_effect_on_tensors_changes_the_digest(other: dict[str, object]) -> None:
    assert architecture_digest(small(**other)) != architecture_digest(small())


def test_dropout_does_not_change_the_digest() -> None:
    assert architecture_digest(small(dropout=0.2)) == architecture_digest(small())
