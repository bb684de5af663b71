"""ContextNet25D: its receptive field, that cutting a volume does not change its output, and scripting."""

import io
from collections.abc import Callable
from functools import partial

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from monai.inferers import SlidingWindowInferer
from torch import Tensor, nn

from custom_networks.networks import ContextNet25D

same = partial(torch.testing.assert_close, rtol=1e-5, atol=1e-5)


def with_repeated_ends(volume: Tensor, halo: int) -> Tensor:
    """`(..., D)` with the end slices repeated `halo` times, by copying slices one by one."""
    depth = volume.shape[-1]
    return torch.stack([volume[..., min(max(i, 0), depth - 1)] for i in range(-halo, depth + halo)], dim=-1)


def one_stack_at_a_time(network: ContextNet25D, volume: Tensor) -> Tensor:
    """The output by definition: each slice computed from its own stack."""
    padded = with_repeated_ends(volume, network.halo)
    stacks = [padded[..., i : i + network.stack] for i in range(volume.shape[-1])]
    return torch.cat([network.slab(stack) for stack in stacks], dim=-1)


def slab_by_slab(network: ContextNet25D, volume: Tensor, slab: int) -> Tensor:
    padded, depth = with_repeated_ends(volume, network.halo), volume.shape[-1]
    starts = range(0, depth, slab)
    ends = [min(start + slab, depth) + network.stack - 1 for start in starts]
    return torch.cat([network.slab(padded[..., start:end]) for start, end in zip(starts, ends)], dim=-1)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(depth=st.integers(1, 11), slab=st.integers(1, 6), stacks=st.integers(1, 2), seed=st.integers(0, 99))
@torch.no_grad()
def test_whole_volume_equals_slabs_and_single_stacks(
    network: ContextNet25D, depth: int, slab: int, stacks: int, seed: int
) -> None:
    torch.manual_seed(seed)
    volume = torch.randn(stacks, 1, 8, 12, depth)
    whole = network(volume)
    assert whole.shape == (stacks, 3, 8, 12, depth)
    same(slab_by_slab(network, volume, slab), whole)
    same(one_stack_at_a_time(network, volume), whole)


@pytest.mark.parametrize("depth", [1, 3, 4, 5, 7])
@torch.no_grad()
def test_depths_of_1_below_the_stack_and_between_slab_sizes_agree(network: ContextNet25D, depth: int) -> None:
    torch.manual_seed(1)
    volume = torch.randn(1, 1, 8, 8, depth)
    same(slab_by_slab(network, volume, 3), network(volume))
    same(one_stack_at_a_time(network, volume), network(volume))


@torch.no_grad()
def test_volumes_of_a_batch_do_not_influence_each_other(network: ContextNet25D) -> None:
    torch.manual_seed(1)
    pair = torch.randn(2, 1, 8, 8, 4)
    same(network(pair), torch.cat([network(pair[:1]), network(pair[1:])]))


@torch.no_grad()
def test_with_halo_uses_the_real_neighbours_like_slab(network: ContextNet25D) -> None:
    torch.manual_seed(1)
    volume = torch.randn(1, 1, 8, 8, 9)
    central = network(volume, with_halo=True)
    assert central.shape[-1] == 9 - (network.stack - 1)
    assert torch.equal(central, network.slab(volume))
    same(network(volume)[..., network.halo : -network.halo], central)


@torch.no_grad()
def test_a_slice_affects_only_the_outputs_within_the_context(network: ContextNet25D) -> None:
    torch.manual_seed(1)
    volume = torch.randn(1, 1, 8, 8, 11)
    changed = volume.clone()
    changed[..., 5] += 1
    moved = (network(changed) - network(volume)).abs().amax(dim=(0, 1, 2, 3))
    assert network.halo == 2
    assert (moved[3:8] > 1e-3).all()
    assert (moved[:3] <= 1e-6).all() and (moved[8:] <= 1e-6).all()


def test_feature_maps_and_their_gradients_are_channels_last(network: ContextNet25D) -> None:
    # Layouts get lost without a word, and with them half of the speed: here by the one channel of a CT, for which
    # both layouts look alike, and wherever a stack is cut.
    astray: list[str] = []

    def check(name: str, x: Tensor) -> None:
        if not x.is_contiguous(memory_format=torch.channels_last):
            astray.append(name)

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            check(f"into {name}", inputs[0])
            check(f"out of {name}", output)
            if output.requires_grad and name != "head":  # the logits' gradient lies as the loss made it
                output.register_hook(lambda gradient: check(f"gradient of {name}", gradient))

        return hook

    for name, module in network.train().named_modules():
        if isinstance(module, (nn.Conv2d, nn.BatchNorm2d)):
            module.register_forward_hook(watch(name))
    network(torch.randn(2, 1, 8, 16, 7)).sum().backward()
    assert astray == []


@torch.no_grad()
def test_depth_kernels_of_one_make_a_2d_network(randomised: Callable[[nn.Module], nn.Module]) -> None:
    torch.manual_seed(1)
    flat = ContextNet25D(channels=[4, 6], depth_kernels=[1, 1], aspp_channels=4, aspp_rates=[1], aspp_window=3)
    randomised(flat)
    assert (flat.stack, flat.halo, flat.stride) == (1, 0, 2)
    assert not any(name.endswith("depth.weight") for name, _ in flat.named_parameters())
    volume = torch.randn(1, 1, 8, 8, 3)
    slices = torch.cat([flat(volume[..., i : i + 1]) for i in range(3)], dim=-1)
    same(flat(volume), slices)
    changed = volume.clone()
    changed[..., 1] += 1
    moved = (flat(changed) - flat(volume)).abs().amax(dim=(0, 1, 2, 3))
    assert moved[1] > 1e-3 and moved[0] <= 1e-6 and moved[2] <= 1e-6


def test_every_parameter_has_a_finite_gradient_that_is_not_zero(network: ContextNet25D) -> None:
    torch.manual_seed(1)
    network.train()
    logits = network(torch.randn(2, 1, 16, 16, 7), with_halo=True)
    nn.functional.cross_entropy(logits, torch.randint(3, (2, 16, 16, 3))).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all() and parameter.grad.abs().max() > 0, name


@torch.no_grad()
def test_dropout_acts_only_in_training() -> None:
    torch.manual_seed(1)
    network = ContextNet25D(channels=[4, 6], depth_kernels=[1, 3], aspp_channels=8, aspp_window=3, dropout=0.5)
    x = torch.randn(1, 1, 16, 16, 2)
    network.eval()
    assert torch.equal(network(x), network(x))
    network.train()
    assert not torch.equal(network(x), network(x))


@pytest.mark.parametrize("height, width", [(6, 8), (8, 10), (7, 7), (2, 8)])
@torch.no_grad()
def test_sizes_that_are_not_multiples_of_the_stride_are_refused(
    network: ContextNet25D, height: int, width: int
) -> None:
    with pytest.raises(ValueError, match=f"multiples of 4, got {height} x {width}"):
        network(torch.zeros(1, 1, height, width, 5))


@torch.no_grad()
def test_a_slab_of_fewer_slices_than_the_stack_is_refused(network: ContextNet25D) -> None:
    with pytest.raises(ValueError, match="at least 5 slices, got 4"):
        network.slab(torch.zeros(1, 1, 8, 8, 4))


@torch.no_grad()
def test_input_without_a_slice_axis_is_refused(network: ContextNet25D) -> None:
    with pytest.raises(ValueError, match="slices"):
        network.slab(torch.zeros(1, 1, 8, 8))


@pytest.mark.parametrize("kernels", [[1], [1, 3, 3], [3, 2], [0, 3], [1, -1]])
def test_wrong_numbers_of_depth_kernels_and_even_ones_are_refused(kernels: list[int]) -> None:
    with pytest.raises(ValueError, match="got"):
        ContextNet25D(channels=[4, 6], depth_kernels=kernels)


def test_a_single_level_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two"):
        ContextNet25D(channels=[4], depth_kernels=[1])


@torch.no_grad()
def test_more_image_channels_and_classes_are_accepted() -> None:
    torch.manual_seed(1)
    network = ContextNet25D(2, 5, channels=[4, 6], depth_kernels=[3, 3], aspp_channels=4, aspp_window=3).eval()
    assert network(torch.randn(1, 2, 4, 4, 3)).shape == (1, 5, 4, 4, 3)


@torch.no_grad()
def test_scripted_network_gives_the_same_logits_and_refuses_the_same(
    network: ContextNet25D, scripted: torch.jit.ScriptModule
) -> None:
    torch.manual_seed(1)
    x = torch.randn(2, 1, 8, 12, 6)
    for _ in range(3):  # the later runs are the optimised ones
        same(scripted(x), network(x))
        same(scripted(x, with_halo=True), network(x, with_halo=True))
        same(scripted.slab(x), network.slab(x))
    with pytest.raises(torch.jit.Error, match="multiples of 4, got 6 x 8"):
        scripted(torch.zeros(1, 1, 6, 8, 5))


@torch.no_grad()
def test_scripted_network_keeps_slab_and_sizes_when_saved(
    network: ContextNet25D, scripted: torch.jit.ScriptModule
) -> None:
    file = io.BytesIO()
    torch.jit.save(scripted, file)
    file.seek(0)
    loaded = torch.jit.load(file)
    torch.manual_seed(1)
    x = torch.randn(1, 1, 8, 8, 7)
    assert (loaded.stride, loaded.stack, loaded.halo) == (4, 5, 2)
    same(loaded.slab(x), network.slab(x))


@torch.no_grad()
def test_stock_sliding_window_inferer_with_one_window_returns_the_networks_logits(network: ContextNet25D) -> None:
    torch.manual_seed(1)
    x = torch.randn(2, 1, 16, 12, 7)
    same(SlidingWindowInferer(roi_size=[16, 12, -1])(x, network), network(x))


@torch.no_grad()
def test_stock_sliding_window_inferer_tiles_the_slices(network: ContextNet25D) -> None:
    torch.manual_seed(1)
    x = torch.randn(1, 1, 16, 20, 3)
    tiled = SlidingWindowInferer(roi_size=[8, 8, -1], overlap=0)(x, network)
    # without overlap the corner tile alone answers its pixels; the width's last tile is moved inside
    same(tiled[:, :, :8, :8], network(x[:, :, :8, :8]))
    same(tiled[:, :, 8:, 16:], network(x[:, :, 8:, 12:])[:, :, :, 4:])
    blended = SlidingWindowInferer(roi_size=[8, 8, -1], overlap=0.5, mode="gaussian")(x, network)
    assert blended.shape == (1, 3, 16, 20, 3) and blended.isfinite().all()


@torch.no_grad()
def test_the_default_network_has_the_documented_stack_stride_and_size() -> None:
    torch.manual_seed(1)
    network = ContextNet25D().eval()
    assert (network.stack, network.halo, network.stride) == (9, 4, 16)
    assert 0.4e6 <= sum(parameter.numel() for parameter in network.parameters()) <= 3e6
    assert network(torch.randn(1, 1, 32, 16, 1)).shape == (1, 3, 32, 16, 1)


@torch.no_grad()
def test_a_crop_agrees_with_the_whole_slice_inside_the_receptive_field(network: ContextNet25D) -> None:
    torch.manual_seed(1)
    volume = torch.randn(1, 1, 128, 8, 2)
    cut = network(volume[:, :, 16:])
    # no layer pools the whole slice: 64 rows from the cut nothing of it is left
    same(cut[:, :, 64:], network(volume)[:, :, 80:])
    assert (cut[:, :, :4] - network(volume)[:, :, 16:20]).abs().max() > 1e-3
