"""The compared networks, their FLOP, and the runtimes that run them."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from custom_networks.networks import ContextNet25D
from custom_networks.networks.blocks import SeparableConv

Shape = tuple[int, ...]
Forward = Callable[[Tensor], Tensor]
LARGE = 500_000  # parameters; the scout's network has fewer
BACKGROUND = 20.0  # logit
TRACED = 64  # voxels; DynUNet takes no less


class OrdinaryConv(nn.Module):
    """Replaces a `SeparableConv` with an ordinary `Conv3d` of the same kernel size and the same interface."""

    def __init__(self, separable: SeparableConv) -> None:
        super().__init__()
        plane, out_channels = separable.plane, separable.point[0].out_channels
        depth = 1 if separable.depth is None else separable.depth.kernel
        stride, rate = plane.stride[0], plane.dilation[0]
        self.conv = nn.Conv3d(
            plane.in_channels,
            out_channels,
            (depth, 3, 3),
            (1, stride, stride),
            padding=(0, rate, rate),
            dilation=(1, rate, rate),
            bias=False,
        )
        self.norm = nn.BatchNorm3d(out_channels)

    def forward(self, x: Tensor, stacks: int) -> Tensor:
        """Map `(stacks * D, C, H, W)` to `(stacks * (D - depth + 1), C', H / stride, W / stride)`."""
        volume = x.unflatten(0, (stacks, -1)).transpose(1, 2)
        answer: Tensor = torch.relu(self.norm(self.conv(volume))).transpose(1, 2).flatten(0, 1)
        return answer


def with_ordinary_convolutions(network: nn.Module) -> nn.Module:
    """Replace each depthwise separable convolution of `network` with an ordinary one, in place."""
    for name, child in network.named_children():
        if isinstance(child, SeparableConv):
            setattr(network, name, OrdinaryConv(child))
        else:
            with_ordinary_convolutions(child)
    return network


class Slab(nn.Module):
    """A ContextNet25D whose forward is `slab`, the graph without padding that runtimes use."""

    def __init__(self, network: ContextNet25D) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(B, K, H, W, N)` of `(B, 1, H, W, N + S - 1)`."""
        answer: Tensor = self.network.slab(x)
        return answer


def nnunet_3d() -> nn.Module:
    """The 3D network that nnU-Net plans for liver CT, as MONAI's DynUNet: 6 stages, 32 to 320 channels."""
    from monai.networks.nets import DynUNet

    strides = [1, 2, 2, 2, 2, 2]
    filters = [32, 64, 128, 256, 320, 320]
    return DynUNet(3, 1, 3, [3] * 6, strides, strides[1:], filters=filters, norm_name="instance")


def spleen_unet() -> nn.Module:
    """The network of the zoo's spleen_ct_segmentation."""
    from monai.networks.nets import UNet

    channels, strides = (16, 32, 64, 128, 256), (2, 2, 2, 2)
    return UNet(3, 1, 2, channels=channels, strides=strides, num_res_units=2, norm="batch")


def whole_body_segresnet() -> nn.Module:
    """The network of the zoo's wholeBody_ct_segmentation, high and low resolution alike."""
    from monai.networks.nets import SegResNet

    blocks = {"blocks_down": [1, 2, 2, 4], "blocks_up": [1, 1, 1]}
    return SegResNet(spatial_dims=3, in_channels=1, out_channels=105, init_filters=32, dropout_prob=0.2, **blocks)


def parameters(network: nn.Module) -> int:
    """The number of trainable parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def _multiply_add_flop(*args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """FLOP of one step of a depth kernel, a multiply-add for each element, which PyTorch's counter ignores."""
    return 2 * prod(out_shape)


def counted(forward: Forward, x: Tensor) -> int:
    """FLOP of one call: 2 x multiply-add of convolutions and depth kernels."""
    steps = {torch.ops.aten.mul: _multiply_add_flop, torch.ops.aten.addcmul: _multiply_add_flop}
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=steps) as counter:
        forward(x)
    return int(counter.get_total_flops())


def flop(network: nn.Module, shape: Shape) -> int:
    """FLOP of a network on an input of `shape`, counted on the meta device from shapes only."""
    network = copy.deepcopy(network).to("meta").eval()
    return counted(network, torch.empty(shape, device="meta"))


def runnable(network: nn.Module, runtime: str, precision: str, shape: Shape) -> Forward:
    """The network as `runtime` ("torch", "openvino") computes it in `precision` on inputs of exactly `shape`."""
    network = network.eval()
    if runtime == "openvino":
        return _compiled(network, precision, shape)
    for module in network.modules():  # no alternative runs in a slower memory format
        if isinstance(module, nn.Conv3d):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last_3d)
    dtype = torch.bfloat16 if precision == "bfloat16" else None

    def forward(x: Tensor) -> Tensor:
        with torch.inference_mode(), torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
            answer: Tensor = network(x)
            return answer

    return forward


def _compiled(network: nn.Module, precision: str, shape: Shape) -> Forward:
    import openvino as ov

    example = torch.zeros([min(n, TRACED) for n in shape])  # tracing runs the network: on something small
    with torch.no_grad():
        model = ov.convert_model(network, example_input=example, input=[list(shape)])
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32"}
    request = ov.Core().compile_model(model, "CPU", hints).create_infer_request()

    def forward(x: Tensor) -> Tensor:
        return torch.from_numpy(request.infer([x.numpy()], share_outputs=True)[0])

    return forward


@contextmanager
def recorded_slabs() -> Iterator[list[tuple[ContextNet25D, Shape]]]:
    """Record every slab that a ContextNet25D runs; large networks return "background" without computing."""
    calls: list[tuple[ContextNet25D, Shape]] = []
    compute = ContextNet25D.slab

    def slab(self: ContextNet25D, x: Tensor) -> Tensor:
        calls.append((self, tuple(x.shape)))
        if parameters(self) < LARGE:
            return compute(self, x)
        answer = x.new_zeros((x.shape[0], self.head.out_channels, *x.shape[2:4], x.shape[4] - self.stack + 1))
        answer[:, 0] = BACKGROUND
        return answer

    setattr(ContextNet25D, "slab", slab)
    try:
        yield calls
    finally:
        setattr(ContextNet25D, "slab", compute)
