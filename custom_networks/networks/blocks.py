"""Building blocks of ContextNet25D in the folded layout, where slices are part of the batch.

A feature map of `B` stacks of `D` slices is one 4D tensor `(B * D, C, H, W)`. Every convolution is then a 2D one, for
which CPU and GPU libraries have fast kernels, whereas they have none for a depthwise `Conv3d`.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def by_stack(x: Tensor, stacks: int) -> Tensor:
    """View `(stacks * D, C, H, W)` as `(stacks, D, H, W, C)`, the order of channels-last maps in memory."""
    return x.permute(0, 2, 3, 1).unflatten(0, (stacks, -1))


def folded(x: Tensor) -> Tensor:
    """Undo `by_stack`; the map stays channels last, whereas a plain `flatten` would copy it into another layout."""
    return x.flatten(0, 1).permute(0, 3, 1, 2)


class ConvNorm(nn.Sequential):
    """Convolution (same padding, no bias), BatchNorm, and ReLU if `active`.

    In evaluation, BatchNorm is folded into the convolution: its scale goes into the kernel and its shift becomes the
    bias, which saves a pass over the feature map.
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
        else:  # mypy takes these attributes for tensors or modules, and TorchScript accepts no cast
            scale = self[1].weight * torch.rsqrt(self[1].running_var + self[1].eps)  # type: ignore[operator]
            kernel = self[0].weight * scale[:, None, None, None]  # type: ignore[operator]
            shift = self[1].bias - self[1].running_mean * scale  # type: ignore[operator]
            x = self[0]._conv_forward(x, kernel, shift)  # type: ignore[operator]
        return torch.relu_(x) if self.active else x


class DepthConv(nn.Module):
    """Depthwise convolution along the slices, `(k, 1, 1)` per channel, *valid*: `D` slices in, `D - k + 1` out.

    It is computed as a weighted sum of shifted views, without copying slices. Together with the in-plane depthwise
    convolution of `SeparableConv` it is a depthwise `k x 3 x 3` convolution of rank one.
    """

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"depth kernels must be odd and positive, got {kernel}")
        self.kernel = kernel
        # Most weight is on the centre slice at first: the network starts as a 2D one and learns to use the neighbours.
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
    """Depthwise separable 3D convolution: `3 x 3` in-plane and along the slices per channel, `1 x 1` over channels.

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
        # After the in-plane part, because its stride may leave fewer pixels to mix along depth.
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
    """One resolution of the encoder: a separable 3D convolution (stride 2 except in the first level), a 2D residual."""

    def __init__(self, channels: int, out_channels: int, depth: int, stride: int) -> None:
        super().__init__()
        self.context = SeparableConv(channels, out_channels, depth, stride)
        self.refine = SeparableConv(out_channels, out_channels)

    def forward(self, x: Tensor, stacks: int) -> Tensor:
        """Map `(stacks * D, C, H, W)` to `(stacks * (D - depth + 1), C', H / stride, W / stride)`."""
        x = self.context(x, stacks)
        return x + self.refine(x, stacks)


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling (Chen et al., 2017, arXiv 1706.05587), in-plane, with separable convolutions.

    The image branch averages over a fixed window around each pixel instead of the whole slice, so that a crop, a tile
    and a whole slice agree where they see the same anatomy.

    Args:
        channels, out_channels: channels in and out (each branch has `out_channels`).
        rates: dilations of the `3 x 3` branches.
        window: odd side length of the averaging window, in pixels of the deepest level.
        dropout: probability of dropping a channel of the output in training.

    Raises:
        ValueError: the window is even or not positive.
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
    """One resolution of the 2D decoder: coarse map and skip each pass a `1 x 1` convolution, are added and refined.

    Adding after two `1 x 1` convolutions equals one `1 x 1` convolution of the concatenation, but the coarse map's
    channels are mixed before it is enlarged, which is cheaper.
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
