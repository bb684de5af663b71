"""Blocks of the network against independent implementations of the same layers, in another layout or in NumPy."""

from collections.abc import Callable
from functools import partial
from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional as F

from custom_networks.networks.blocks import (
    ASPP,
    ConvNorm,
    DecoderLevel,
    DepthConv,
    EncoderLevel,
    SeparableConv,
    keep_central,
)

same = partial(torch.testing.assert_close, rtol=1e-5, atol=1e-5)
Randomised = Callable[[nn.Module], nn.Module]
Array = npt.NDArray[np.float64]


def fold(volume: Tensor) -> Tensor:
    """`(B, C, D, H, W)`, the layout of `Conv3d`, to `(B * D, C, H, W)`."""
    return volume.transpose(1, 2).flatten(0, 1)


def norm_3d(norm: nn.Module, x: Tensor) -> Tensor:
    """A `BatchNorm2d` in evaluation, written out for `(B, C, D, H, W)`."""
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return (x - norm.running_mean.view(-1, 1, 1, 1)) * scale.view(-1, 1, 1, 1) + norm.bias.view(-1, 1, 1, 1)


@torch.no_grad()
def test_depth_conv_weights_neighbouring_slices_as_worked_by_hand() -> None:
    depth = DepthConv(1, 3)
    depth.weight.copy_(torch.tensor([1.0, 10.0, 100.0]).view(3, 1, 1, 1))
    slices = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]).view(8, 1, 1, 1)  # two stacks of four
    # 1 * 1 + 10 * 2 + 100 * 3 = 321, ...; no window reaches from one stack into the other
    assert depth(slices, 2).flatten().tolist() == [321, 432, 765, 876]


@torch.no_grad()
def test_a_new_depth_conv_keeps_equal_slices_and_mostly_weights_the_centre() -> None:
    depth = DepthConv(2, 5)
    equal = torch.full((5, 2, 1, 1), 7.0)
    torch.testing.assert_close(depth(equal, 1), torch.full((1, 2, 1, 1), 7.0))
    torch.testing.assert_close(depth.weight[:, 0].flatten(), torch.tensor([0.1, 0.1, 0.6, 0.1, 0.1]))


@pytest.mark.parametrize("kernel", [-1, 0, 2, 4])
def test_even_depth_kernels_are_refused(kernel: int) -> None:
    with pytest.raises(ValueError, match=f"odd and positive, got {kernel}"):
        DepthConv(3, kernel)
    with pytest.raises(ValueError, match=f"odd and positive, got {kernel}"):
        SeparableConv(3, 4, depth=kernel)


@pytest.mark.parametrize("active", [True, False])
@torch.no_grad()
def test_conv_norm_in_evaluation_equals_its_layers_one_by_one(active: bool, randomised: Randomised) -> None:
    layer = ConvNorm(3, 5, kernel=3, stride=2, active=active)
    randomised(layer)
    x = torch.randn(2, 3, 8, 6)
    expected = layer[1](layer[0](x))
    same(layer(x), expected.relu() if active else expected)


def test_conv_norm_in_training_normalises_by_the_batch() -> None:
    layer = ConvNorm(3, 5, active=False).train()
    answer = layer(torch.randn(4, 3, 8, 6))
    same(answer.mean((0, 2, 3)), torch.zeros(5))
    same(answer.var((0, 2, 3), correction=0), torch.ones(5), rtol=1e-3, atol=1e-3)
    assert layer[1].num_batches_tracked == 1


@pytest.mark.parametrize("depth, stride, dilation", list(product([1, 3, 5], [1, 2], [1, 2])))
@torch.no_grad()
def test_separable_conv_is_a_grouped_conv3d_and_a_pointwise_one(
    depth: int, stride: int, dilation: int, randomised: Randomised
) -> None:
    torch.manual_seed(0)
    block = SeparableConv(3, 5, depth, stride, dilation)
    randomised(block)
    along = block.depth.weight if block.depth is not None else torch.ones(1, 3, 1, 1)
    kernel = torch.einsum("kc,cyx->ckyx", along[:, :, 0, 0], block.plane.weight[:, 0])[:, None]
    volume = torch.randn(2, 3, 7, 12, 8)
    x = F.conv3d(volume, kernel, None, (1, stride, stride), (0, dilation, dilation), (1, dilation, dilation), groups=3)
    x = F.relu(norm_3d(block.point[1], F.conv3d(x, block.point[0].weight[..., None])))
    assert x.shape == (2, 5, 7 - depth + 1, 12 // stride, 8 // stride)
    torch.testing.assert_close(block(fold(volume), 2), fold(x), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_encoder_level_adds_a_2d_residual_to_its_context_layer(randomised: Randomised) -> None:
    torch.manual_seed(0)
    level = EncoderLevel(3, 4, depth=3, stride=2)
    randomised(level)
    x = torch.randn(2 * 5, 3, 8, 8)
    context = level.context(x, 2)
    alone = torch.cat([one + level.refine(one, 1) for one in context.split(1)])
    assert alone.shape == (2 * 3, 4, 4, 4)
    torch.testing.assert_close(level(x, 2), alone, rtol=1e-5, atol=1e-5)


def test_keep_central_drops_as_many_slices_at_either_end_of_each_stack() -> None:
    slices = torch.arange(14).view(14, 1, 1, 1)  # two stacks of seven
    assert keep_central(slices, 2, 3).flatten().tolist() == [2, 3, 4, 9, 10, 11]


@torch.no_grad()
def test_decoder_level_equals_one_convolution_of_the_concatenation(randomised: Randomised) -> None:
    torch.manual_seed(0)
    level = DecoderLevel(6, 3, 4)
    randomised(level)
    coarse, skip = torch.randn(2, 6, 4, 4), torch.randn(2, 3, 8, 8)
    (conv_c, norm_c), (conv_s, norm_s) = level.coarse, level.skip
    scale_c, scale_s = (n.weight / (n.running_var + n.eps).sqrt() for n in (norm_c, norm_s))
    weight = torch.cat([conv_c.weight * scale_c.view(-1, 1, 1, 1), conv_s.weight * scale_s.view(-1, 1, 1, 1)], 1)
    bias = norm_c.bias - norm_c.running_mean * scale_c + norm_s.bias - norm_s.running_mean * scale_s
    both = torch.cat([F.interpolate(coarse, size=(8, 8), mode="bilinear"), skip], 1)
    x = F.relu(F.conv2d(both, weight, bias))
    torch.testing.assert_close(level(coarse, skip, 1), x + level.refine(x, 1), rtol=1e-5, atol=1e-5)


def norm_relu(norm: nn.Module, x: Array) -> Array:
    """BatchNorm in evaluation and ReLU on `(C, H, W)`."""
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None
    mean, var, weight, bias = (
        t.detach().double().numpy()[:, None, None]
        for t in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    return np.maximum((x - mean) / np.sqrt(var + norm.eps) * weight + bias, 0)


def pointwise(block: nn.Module, x: Array) -> Array:
    """A `ConvNorm` of kernel 1 on `(C, H, W)`."""
    conv, norm = block[0], block[1]  # type: ignore[index]
    return norm_relu(norm, np.einsum("oc,chw->ohw", conv.weight.detach().double().numpy()[:, :, 0, 0], x))


def atrous(block: nn.Module, x: Array, rate: int) -> Array:
    """A `SeparableConv` of depth 1: a dilated `3 x 3` kernel per channel, then a pointwise one."""
    kernels = block.plane.weight.detach().double().numpy()[:, 0]
    holes = np.zeros((len(x), 2 * rate + 1, 2 * rate + 1))
    holes[:, ::rate, ::rate] = kernels
    spread = [ndimage.correlate(image, kernel, mode="constant") for image, kernel in zip(x, holes)]
    return pointwise(block.point, np.stack(spread))


def mean_around(image: Array, window: int) -> Array:
    """Mean over the image's pixels in a window around each pixel."""
    half = window // 2
    result = np.empty_like(image)
    for row, column in np.ndindex(image.shape):
        result[row, column] = image[
            max(0, row - half) : row + half + 1, max(0, column - half) : column + half + 1
        ].mean()
    return result


@pytest.mark.parametrize("window", [1, 3, 9])
def test_aspp_equals_a_numpy_implementation(window: int, randomised: Randomised) -> None:
    torch.manual_seed(0)
    rates = [1, 2, 6]
    aspp = ASPP(4, 5, rates, window, dropout=0.5)  # dropout must not act in evaluation
    randomised(aspp)
    x = torch.randn(2, 4, 10, 13)
    expected = []
    for image in x.double().numpy():
        branches = [pointwise(aspp.centre, image)]
        branches.append(pointwise(aspp.image, np.stack([mean_around(channel, window) for channel in image])))
        branches += [atrous(branch, image, rate) for branch, rate in zip(aspp.atrous, rates)]
        expected.append(pointwise(aspp.merge, np.concatenate(branches)))
    with torch.no_grad():
        answer = aspp(x, 1)
    torch.testing.assert_close(answer, torch.from_numpy(np.stack(expected)).float(), rtol=1e-5, atol=1e-5)


def test_aspp_depends_only_on_the_window(randomised: Randomised) -> None:
    torch.manual_seed(0)
    aspp = ASPP(3, 4, [1], window=5, dropout=0.0)
    randomised(aspp)
    x = torch.randn(1, 3, 11, 11, requires_grad=True)
    aspp(x, 1)[0, :, 5, 5].sum().backward()
    assert x.grad is not None
    seen = x.grad[0].abs().sum(0) > 0
    assert not seen[:3].any() and not seen[8:].any() and not seen[:, :3].any() and not seen[:, 8:].any()
    assert seen[3:8, 3:8].any(dim=0).all()


@pytest.mark.parametrize("window", [-1, 0, 4])
def test_even_aspp_windows_are_refused(window: int) -> None:
    with pytest.raises(ValueError, match=f"aspp_window must be odd and positive, got {window}"):
        ASPP(3, 4, [1], window, 0.0)
