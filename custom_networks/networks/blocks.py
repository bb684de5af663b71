"""Building blocks of ContextNet25D in the folded layout: slices ride in the batch.

A feature map of `B` stacks of `D` slices is one 4D tensor `(B * D, C, H, W)`, so that every convolution is a 2D one,
for which CPU and GPU libraries have fast kernels; a depthwise `Conv3d` has none.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def by_stack(x: Tensor, stacks: int) -> Tensor:
    """View `(stacks * D, C, H, W)` as `(stacks, D, H, W, C)`: the order in which channels-last maps lie in memory."""
    return x.permute(0, 2, 3, 1).unflatten(0, (stacks, -1))


def folded(x: Tensor) -> Tensor:
    """Undo `by_stack`; the map stays channels last, where a plain `flatten` that copies would lay it out anew."""
    return x.flatten(0, 1).permute(0, 3, 1, 2)


class ConvNorm(nn.Sequential):
    """Convolution (same padding, no bias) + BatchNorm; ReLU unless switched off.

    In evaluation BatchNorm is part of the convolution: its scale goes into the kernel, its shift is the bias, so that
    no map is read and written once more.
    """

    def __init__(
        self, channels: int, out_channels: int, kernel: int = 1, stride: int = 1, groups: int = 1, active: bool = True
    ) -> None:
        super().__init__(
            nn.Conv2d(channels, out_channels, kernel, stride, padding=kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.active = active

    def forward(self, x: Tensor) -> Tensor:
        """Map `(N, C, H, W)` to `(N, C', H / stride, W / stride)`."""
        if self[1].training:
            x = self[1](self[0](x))
        else:  # TorchScript knows what the layers are and takes no cast; mypy takes any module's attributes for tensors
            scale = self[1].weight * torch.rsqrt(self[1].running_var + self[1].eps)  # type: ignore[operator]
            kernel = self[0].weight * scale[:, None, None, None]  # type: ignore[operator]
            shift = self[1].bias - self[1].running_mean * scale  # type: ignore[operator]
            x = self[0]._conv_forward(x, kernel, shift)  # type: ignore[operator]
        return torch.relu_(x) if self.active else x


class DepthConv(nn.Module):
    """Depthwise convolution along the slices, `(k, 1, 1)` per channel, *valid*: `D` slices in, `D - k + 1` out.

    Computed as a weighted sum of shifted views, in which every slice is read where it lies. Together with the in-plane
    depthwise convolution of `SeparableConv` it is a depthwise `k x 3 x 3` convolution of rank one.
    """

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"depth kernels must be odd and positive, got {kernel}")
        self.kernel = kernel
        # Starts near the centre slice: a new network is a 2D network that learns to look at its neighbours.
        weight = torch.full((kernel, channels, 1, 1), 0.5 / kernel)
        weight[kernel // 2] += 0.5
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor, stacks: int) -> Tensor:
        """Map `(stacks * D, C, H, W)` to `(stacks * (D - k + 1), C, H, W)`."""
        slices = by_stack(x, stacks)
        kept = slices.shape[1] - self.kernel + 1
        weight = self.weight.to(x.dtype).permute(0, 2, 3, 1)
        mixed = weight[0] * slices[:, :kept]
        for shift in range(1, self.kernel):
            mixed = torch.addcmul(mixed, weight[shift], slices[:, shift : shift + kept])
        return folded(mixed)


class SeparableConv(nn.Module):
    """Depthwise separable 3D convolution: in-plane `3 x 3` and along the slices per channel, `1 x 1` over channels.

    Args:
        channels, out_channels: channels in and out.
        depth: kernel along the slices; 1 makes it a 2D layer.
        stride: in-plane stride of the depthwise part.
        dilation: in-plane dilation (ASPP).
    """

    def __init__(self, channels: int, out_channels: int, depth: int = 1, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.plane = nn.Conv2d(
            channels, channels, 3, stride, padding=dilation, dilation=dilation, groups=channels, bias=False
        )
        # After the in-plane part, because that one may shrink the image: fewer pixels to mix along depth.
        self.depth = DepthConv(channels, depth) if depth != 1 else None
        self.point = ConvNorm(channels, out_channels)

    def forward(self, x: Tensor, stacks: int) -> Tensor:
        """Map `(stacks * D, C, H, W)` to `(stacks * (D - depth + 1), C', H / stride, W / stride)`."""
        x = self.plane(x)
        if self.depth is not None:
            x = self.depth(x, stacks)
        return self.point(x)


def keep_central(x: Tensor, stacks: int, slices: int) -> Tensor:
    """Crop `(stacks * D, C, H, W)` to the central `slices` of each stack."""
    unfolded = by_stack(x, stacks)
    start = (unfolded.shape[1] - slices) // 2
    return folded(unfolded[:, start : start + slices])


class EncoderLevel(nn.Module):
    """One resolution of the encoder: a separable 3D convolution (stride 2 but in the first), then a 2D residual."""

    def __init__(self, channels: int, out_channels: int, depth: int, stride: int) -> None:
        super().__init__()
        self.context = SeparableConv(channels, out_channels, depth, stride)
        self.refine = SeparableConv(out_channels, out_channels)

    def forward(self, x: Tensor, stacks: int) -> Tensor:
        """Map `(stacks * D, C, H, W)` to `(stacks * (D - depth + 1), C', H / stride, W / stride)`."""
        x = self.context(x, stacks)
        return x + self.refine(x, stacks)


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling (Chen et al., 2017) with separable convolutions, in-plane.

    The image branch averages over a fixed `window` of pixels around each pixel, not over all of the slice, so that a
    crop, a tile and a whole slice agree where they see the same anatomy.

    Args:
        channels, out_channels: channels in and out (each branch gives `out_channels`).
        rates: dilations of the `3 x 3` branches.
        window: odd side of the averaging window, in pixels of the deepest level.
    """

    def __init__(self, channels: int, out_channels: int, rates: list[int], window: int, dropout: float) -> None:
        super().__init__()
        if window < 1 or window % 2 == 0:
            raise ValueError(f"aspp_window must be odd and positive, got {window}")
        self.window = window
        self.centre = ConvNorm(channels, out_channels)
        self.atrous = nn.ModuleList(SeparableConv(channels, out_channels, dilation=rate) for rate in rates)
        self.image = ConvNorm(channels, out_channels)
        self.merge = ConvNorm(out_channels * (len(rates) + 2), out_channels)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Tensor, stacks: int) -> Tensor:
        """Map `(N, C, H, W)` to `(N, C', H, W)`."""
        around = F.avg_pool2d(x, self.window, 1, self.window // 2, count_include_pad=False)
        branches = [self.centre(x), self.image(around)]
        for branch in self.atrous:
            branches.append(branch(x, stacks))
        return self.dropout(self.merge(torch.cat(branches, 1)))


class DecoderLevel(nn.Module):
    """One resolution of the 2D decoder: the coarse map and the skip, each through `1 x 1`, added and refined.

    Adding after the two `1 x 1` convolutions equals a `1 x 1` convolution of the concatenation, but mixes the coarse
    map's channels before it is enlarged.
    """

    def __init__(self, coarse: int, skip: int, out_channels: int) -> None:
        super().__init__()
        self.coarse = ConvNorm(coarse, out_channels, active=False)
        self.skip = ConvNorm(skip, out_channels, active=False)
        self.refine = SeparableConv(out_channels, out_channels)

    def forward(self, x: Tensor, skip: Tensor, stacks: int) -> Tensor:
        """Map `(N, C, H, W)` and its skip `(N, S, 2H, 2W)` to `(N, C', 2H, 2W)`."""
        enlarged = F.interpolate(self.coarse(x), scale_factor=2.0, mode="bilinear", align_corners=False)
        x = F.relu(enlarged + self.skip(skip))
        return x + self.refine(x, stacks)
