"""Run the network in PyTorch or, on a CPU, in OpenVINO; up to rounding, both compute the same logits for a stack.

"auto" means OpenVINO on a CPU if it is installed and can run the network, else PyTorch. The choice depends on device,
network and installation, never on timing.
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
    """Runs one network in one precision. Each volume needs its own runtime, which only one thread may use."""

    @property
    def name(self) -> str:
        """ "torch" or "openvino"."""

    @property
    def precision(self) -> str:
        """ "float32" or "bfloat16": the format in which layers compute."""

    def __call__(self, stack: Tensor, slices: int) -> Tensor:
        """Float32 logits `(B, K, H, W, N)` of a stack `(B, C, H, W, N + 2 * halo)`.

        `slices` is the largest `N` of the volume, the same in all calls. The next call may overwrite the result.
        """

    def running(self) -> AbstractContextManager[None]:
        """A context in which a volume is run; when it ends, the layers' memory is released."""


class TorchRuntime:
    """A `Runtime` in eager PyTorch, on any device; networks without a `slab` method are called directly."""

    name = "torch"

    def __init__(self, network: Callable[..., Any], precision: str, device: torch.device) -> None:
        self._network, self.precision = getattr(network, "slab", network), chosen_precision(device, precision)

    def __call__(self, stack: Tensor, slices: int) -> Tensor:
        """See `Runtime`; slabs are not padded."""
        with torch.inference_mode(), autocast(stack.device, self.precision):
            logits: Tensor = self._network(stack)
            return logits.float()

    def running(self) -> AbstractContextManager[None]:
        """See `Runtime`."""
        return reuse_freed_memory()


def open_runtime(network: Callable[..., Any], runtime: str, precision: str, device: torch.device) -> Runtime:
    """Open the requested runtime for a network with its current weights; "auto" falls back to PyTorch.

    Raises:
        ValueError: `runtime` or `precision` is unknown.
        UsageError: OpenVINO is requested by name but is not installed or cannot run the network.
        BundleError: the weights or the outputs are not finite.
    """
    if runtime not in RUNTIMES:
        raise ValueError(f"runtime must be one of {RUNTIMES}, got {runtime!r}")
    if runtime == "torch" or (runtime == "auto" and device.type != "cpu"):
        return TorchRuntime(network, precision, device)
    try:
        if device.type != "cpu":
            raise CannotRun(f"OpenVINO is used only on the CPU here, not on {device}")
        if not isinstance(network, nn.Module):
            raise CannotRun("the network is not a torch.nn.Module")
        return OpenVINORuntime(network, precision)
    except CannotRun as reason:
        if runtime == "openvino":
            raise UsageError(f"OpenVINO cannot run this network ({reason}): use the runtime torch or auto.") from None
        logger.debug("The network is run by PyTorch, because OpenVINO cannot run it: %s", reason)
    return TorchRuntime(network, precision, device)


def checked_runtime(name: str) -> str:
    """Return `name` if it is one of `RUNTIMES` and is installed, else raise UsageError."""
    if name not in RUNTIMES:
        raise UsageError(f"The runtime must be {', '.join(RUNTIMES[:-1])} or {RUNTIMES[-1]}, got {name!r}.")
    if name == "openvino" and find_spec("openvino") is None:
        raise UsageError("OpenVINO is not installed: pip install openvino, or leave out --runtime openvino.")
    return name
