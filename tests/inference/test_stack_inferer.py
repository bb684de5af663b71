"""Training stacks, which include their halo."""

import pytest
import torch
from monai.data import MetaTensor
from torch import Tensor, nn

from custom_networks.inference import StackInferer
from custom_networks.networks import ContextNet25D


class CountsForward(nn.Module):
    """A wrapper that must be called itself, like DistributedDataParallel."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.calls = 0

    def forward(self, *args: Tensor, **kwargs: bool) -> Tensor:
        self.calls += 1
        logits: Tensor = self.module(*args, **kwargs)
        return logits


@torch.no_grad()
def test_the_output_for_stacks_with_halo_are_the_logits_of_their_central_slices(network: ContextNet25D) -> None:
    torch.manual_seed(1)
    stacks = torch.randn(2, 1, 8, 8, 7)
    logits = StackInferer("float32")(stacks, network)
    assert logits.shape == (2, 3, 8, 8, 3)
    torch.testing.assert_close(logits, network.slab(stacks), rtol=1e-5, atol=1e-5)


def test_logits_of_a_metatensor_are_a_plain_tensor_with_gradient(network: ContextNet25D) -> None:
    torch.manual_seed(1)
    logits = StackInferer("float32")(MetaTensor(torch.randn(1, 1, 8, 8, 5)), network)
    assert type(logits) is torch.Tensor and logits.requires_grad


@torch.no_grad()
def test_bfloat16_logits_are_float32_and_close_to_those_of_float32(network: ContextNet25D) -> None:
    torch.manual_seed(1)
    stacks = torch.randn(1, 1, 8, 8, 6)
    half, full = (StackInferer(precision)(stacks, network) for precision in ("bfloat16", "float32"))
    assert half.dtype == torch.float32 and not torch.equal(half, full)
    torch.testing.assert_close(half, full, rtol=0, atol=0.1 * float(full.abs().max()))


@torch.no_grad()
def test_a_wrapped_network_is_run_through_its_wrapper(network: ContextNet25D) -> None:
    torch.manual_seed(1)
    wrapper, stacks = CountsForward(network), torch.randn(1, 1, 8, 8, 5)
    logits = StackInferer("float32")(stacks, wrapper)
    assert wrapper.calls == 1
    torch.testing.assert_close(logits, network.slab(stacks), rtol=1e-5, atol=1e-5)


def test_unknown_precision_is_refused(network: ContextNet25D) -> None:
    with pytest.raises(ValueError, match="precision"):
        StackInferer("float16")(torch.zeros(1, 1, 8, 8, 5), network)
