"""ContextNet25D: a 2.5D context-aware network for liver and liver tumors, after patent application CN114723669A."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from custom_networks.networks.blocks import ASPP, ConvNorm, DecoderLevel, EncoderLevel, folded, keep_central


class ContextNet25D(nn.Module):
    """Segments each slice of a CT volume from the stack of consecutive slices around it.

    It has the six elements of CN114723669A: consecutive slices as input, 3D convolutions in the encoder, depthwise
    separable convolutions throughout, ASPP at the top of the encoder, a 2D decoder with skip connections, and (in
    `train.json`) a loss of weighted cross-entropy and Dice. The numbers (channels, kernels, rates) are this project's
    own; docs/decisions/0001 has the measurements behind them.

    The *stack* of an output slice is the `S` slices around it, where `S = 1 + sum(k - 1)` over the depth kernels `k`.
    Depth convolutions are valid, and no layer looks further along depth or depends on how the volume was cut. So a
    whole volume, slabs of it and single stacks give the same logits.

    Args:
        in_channels: image channels.
        out_channels: classes, background included.
        channels: channels of each level, full resolution first; each further level halves the image.
        depth_kernels: odd kernel size along the slices at each level; 1 makes the level 2D, and all 1 the network.
        aspp_channels: channels of the ASPP and its branches.
        aspp_rates: dilations of the ASPP's `3 x 3` branches, in pixels of the deepest level.
        aspp_window: odd window of the ASPP's image branch, in pixels of the deepest level.
        dropout: channel dropout after the ASPP.

    Attributes:
        stride: height and width of the input must be multiples of it.
        stack: `S`, the number of slices that an output slice depends on; odd.
        halo: `S // 2`, the slices needed on each side of a slab.

    Raises:
        ValueError: the arguments do not fit each other, or a kernel or window is even.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 3,
        channels: Sequence[int] = (24, 48, 96, 160, 256),
        depth_kernels: Sequence[int] = (1, 3, 3, 3, 3),
        aspp_channels: int = 160,
        aspp_rates: Sequence[int] = (1, 2, 4, 6),
        aspp_window: int = 9,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if len(channels) != len(depth_kernels) or len(channels) < 2:
            raise ValueError(
                f"channels and depth_kernels need one entry per level, at least two; got {channels}, {depth_kernels}"
            )
        self.stride = 2 ** (len(channels) - 1)
        self.stack = 1 + sum(kernel - 1 for kernel in depth_kernels)
        self.halo = self.stack // 2
        self.stem = ConvNorm(in_channels, channels[0], kernel=3)
        inputs = [channels[0], *channels[:-1]]
        self.encoder = nn.ModuleList(
            EncoderLevel(inputs[i], channels[i], depth_kernels[i], stride=1 if i == 0 else 2)
            for i in range(len(channels))
        )
        self.aspp = ASPP(channels[-1], aspp_channels, list(aspp_rates), aspp_window, dropout)
        coarse = [*channels[1:-1], aspp_channels]
        self.decoder = nn.ModuleList(
            DecoderLevel(coarse[i], channels[i], channels[i]) for i in reversed(range(len(channels) - 1))
        )
        self.head = nn.Conv2d(channels[0], out_channels, 1)

    def forward(self, x: Tensor, with_halo: bool = False) -> Tensor:
        """Logits `(B, K, H, W, D)` of `(B, C, H, W, D)`, slices last; H and W are multiples of the stride, D >= 1.

        The end slices are repeated `S // 2` times to complete the outermost stacks. With `with_halo`, the input already
        holds real neighbours there, and the output has `S - 1` slices fewer: the same as `slab`, for callers that must
        go through `forward`, such as DistributedDataParallel.

        Raises:
            ValueError: the input has another shape.
        """
        if not with_halo and self.halo > 0:
            x = F.pad(x, [self.halo, self.halo, 0, 0, 0, 0], mode="replicate")
        return self.slab(x)

    @torch.jit.export
    def slab(self, x: Tensor) -> Tensor:
        """Logits `(B, K, H, W, N)` of `(B, C, H, W, N + S - 1)`: the network itself, without any padding.

        Raises:
            ValueError: H or W is not a multiple of the stride, or there are fewer than `S` slices.
        """
        self._check(x)
        stacks, slices = x.shape[0], x.shape[4] - self.stack + 1
        x = folded(x.permute(0, 4, 2, 3, 1))
        return self._folded(x, stacks, slices).unflatten(0, (stacks, slices)).permute(0, 2, 3, 4, 1)

    def _check(self, x: Tensor) -> None:
        if x.dim() != 5:
            raise ValueError("input must be (batch, channels, height, width, slices), got shape {}".format(x.shape))
        if x.shape[2] % self.stride != 0 or x.shape[3] % self.stride != 0:
            raise ValueError(
                "height and width must be multiples of {}, got {} x {}: pad the slices".format(
                    self.stride, x.shape[2], x.shape[3]
                )
            )
        if x.shape[4] < self.stack:
            raise ValueError("a slab needs at least {} slices, got {}".format(self.stack, x.shape[4]))

    def _folded(self, x: Tensor, stacks: int, slices: int) -> Tensor:
        """Logits `(stacks * slices, K, H, W)` of the folded stacks `(stacks * (slices + S - 1), C, H, W)`."""
        x = self.stem(x)
        skips: list[Tensor] = []
        for level in self.encoder:
            x = level(x, stacks)
            skips.append(keep_central(x, stacks, slices))
        skips.pop()
        x = self.aspp(x, stacks)
        for level in self.decoder:
            x = level(x, skips.pop(), stacks)
        return self.head(x)
