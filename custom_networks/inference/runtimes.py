"""What runs the network: PyTorch, or OpenVINO on a CPU. Both answer the same stack with the same logits.

"auto" is OpenVINO on a CPU where it is installed and can run the network, else PyTorch. The choice follows from device,
network and installation, never from a timing.
"""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.util import find_spec
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from custom_networks.errors import UsageError
from custom_networks.inference.memory import reuse_freed_memory
from custom_networks.inference.openvino_runtime import CannotRun, OpenVINORuntime
from custom_networks.inference.precision import autocast, chosen_precision

logger = logging.getLogger(__name__)

RUNTIMES = ("auto", "torch", "openvino")


class Runtime(Protocol):
    """Runs one network in one precision; made for one volume and used by one thread."""

    @property
    def name(self) -> str:
        """ "torch" or "openvino"."""

    @property
    def precision(self) -> str:
        """ "float32" or "bfloat16", what the layers compute in."""

    def __call__(self, stack: Tensor, slices: int) -> Tensor:
        """Float32 logits `(B, K, H, W, N)` of a stack `(B, C, H, W, N + 2 * halo)`; `N` is at most `slices`.

        `slices` is the same for all slabs of a volume. The answer may be overwritten by the next call.
        """

    def running(self) -> AbstractContextManager[None]:
        """The context in which a volume is run; at its end the layers' memory is given back."""


class TorchRuntime:
    """Eager PyTorch, on any device; also for networks that are called as a whole, having no `slab`."""

    name = "torch"

    def __init__(self, network: Callable[..., Any], precision: str, device: torch.device) -> None:
        self._network, self.precision = getattr(network, "slab", network), chosen_precision(device, precision)

    def __call__(self, stack: Tensor, slices: int) -> Tensor:
        """See `Runtime`; a slab of any size is run as it is."""
        with torch.inference_mode(), autocast(stack.device, self.precision):
            logits: Tensor = self._network(stack)
            return logits.float()

    def running(self) -> AbstractContextManager[None]:
        """See `Runtime`."""
        return reuse_freed_memory()


def open_runtime(network: Callable[..., Any], runtime: str, precision: str, device: torch.device) -> Runtime:
    """The runtime that `runtime` and `precision` mean for this network, with the weights that it has now.

    Raises:
        ValueError: `runtime` or `precision` is no such name.
        UsageError: OpenVINO is asked for by name and is not installed, or cannot run the network.
        BundleError: the weights are not finite, or give answers that are not.
    """
    if runtime not in RUNTIMES:
        raise ValueError(f"runtime must be one of {RUNTIMES}, got {runtime!r}")
    if runtime == "torch" or (runtime == "auto" and device.type != "cpu"):
        return TorchRuntime(network, precision, device)
    try:
        if device.type != "cpu":
            raise CannotRun(f"it runs on the CPU, not on {device}")
        if not isinstance(network, nn.Module):
            raise CannotRun("the network is no torch.nn.Module")
        return OpenVINORuntime(network, precision)
    except CannotRun as reason:
        if runtime == "openvino":
            raise UsageError(f"OpenVINO cannot run this network ({reason}): give --runtime torch.") from None
        logger.debug("PyTorch runs the network, for OpenVINO cannot: %s", reason)
    return TorchRuntime(network, precision, device)


def checked_runtime(name: str) -> str:
    """The name of a runtime, one of `RUNTIMES`, that is installed; else a UsageError."""
    if name not in RUNTIMES:
        raise UsageError(f"The runtime is {', '.join(RUNTIMES[:-1])} or {RUNTIMES[-1]}, got {name!r}.")
    if name == "openvino" and find_spec("openvino") is None:
        raise UsageError("OpenVINO is not installed: pip install openvino, or leave --runtime openvino out.")
    return name
