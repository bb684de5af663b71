"""Run networks with OpenVINO on a CPU, compiled for static shapes and cached by the state of their weights."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from custom_networks.errors import BundleError, one_line
from custom_networks.inference.openvino_graph import CannotRun, bound_graph, check_fitness, openvino_core
from custom_networks.inference.precision import openvino_precision
from custom_networks.inference.state import state_digest
from custom_networks.inference.threads import usable_cores

logger = logging.getLogger(__name__)
__all__ = ["CannotRun", "OpenVINORuntime"]

T = TypeVar("T")
# OpenVINO's names; always passed explicitly, because the defaults differ between processors.
HINTS = {"float32": "f32", "bfloat16": "bf16"}


class Kept(OrderedDict[Hashable, Any]):
    """A thread-safe cache of the `maxsize` most recently used values; no value is made again while it is cached."""

    def __init__(self, maxsize: int) -> None:
        super().__init__()
        self._maxsize, self._lock = maxsize, threading.RLock()

    def get_or_make(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value for `key`; if it is not in the cache, it is made by `make` and added."""
        with self._lock:
            if key not in self:
                self[key] = make()
            self.move_to_end(key)
            while len(self) > self._maxsize:
                self.popitem(last=False)
            value: T = self[key]
            return value


# MONAI Label parses the config again for each request, so compiled networks are cached for the whole process.
_GRAPHS, _COMPILED = Kept(4), Kept(4)


class OpenVINORuntime:
    """A `runtimes.Runtime` that uses the weights that the network has at construction.

    All stacks of a volume are padded to the same number of slices, so that a volume needs only one compiled shape. A
    static shape runs about twice as fast as a dynamic one and takes half a second to compile.

    Raises:
        CannotRun: OpenVINO is missing or cannot run the network in this precision.
        BundleError: weights or outputs are not finite.
    """

    name = "openvino"

    def __init__(self, network: nn.Module, precision: str) -> None:
        core = openvino_core()
        supported = openvino_precision(precision, core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
        if supported is None:
            raise CannotRun("this processor has no instructions for bfloat16")
        self.precision = supported
        # Checked for each volume, because hooks, devices and training mode are not part of the digest.
        check_fitness(network)
        self._halo = int(network.halo)  # type: ignore[arg-type]
        self._digest = state_digest(network)
        self._graph = _GRAPHS.get_or_make(self._digest, lambda: _graph_or_reason(network, self._digest))
        if isinstance(self._graph, CannotRun):
            raise CannotRun(str(self._graph))
        self._running: dict[tuple[int, ...], tuple[Any, Any]] = {}  # compiled model and request by shape

    def __call__(self, stack: Tensor, slices: int) -> Tensor:
        """See `Runtime`."""
        wanted = stack.shape[-1] - 2 * self._halo
        if missing := slices - wanted:
            stack = F.pad(stack, [0, missing, 0, 0, 0, 0], mode="replicate")
        shape = tuple(stack.shape)
        if shape not in self._running:
            model = self._compiled(shape)
            self._running[shape] = model, model.create_infer_request()
        image = stack.float().contiguous().numpy()
        answer = self._running[shape][1].infer([image], share_inputs=True, share_outputs=True)
        return torch.from_numpy(answer[0])[..., :wanted]

    @contextmanager
    def running(self) -> Iterator[None]:
        """See `Runtime`; memory that another thread is using is not released."""
        try:
            yield
        finally:
            for model, _ in self._running.values():
                try:
                    model.release_memory()
                except RuntimeError as error:
                    logger.debug("memory could not be released: %s", one_line(error))
            self._running.clear()

    def _compiled(self, shape: tuple[int, ...]) -> Any:
        """The network compiled for an input shape, from the cache if possible."""
        settings = {
            "INFERENCE_PRECISION_HINT": HINTS[self.precision],
            "INFERENCE_NUM_THREADS": usable_cores(),
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            # Pinned threads of two processes would share some cores and leave others idle.
            "ENABLE_CPU_PINNING": False,
        }
        key = (self._digest, shape, *settings.values())
        return _COMPILED.get_or_make(key, lambda: compiled(self._graph, shape, settings))


def compiled(graph: Any, shape: tuple[int, ...], settings: dict[str, Any]) -> Any:
    """Compile a graph for one input shape.

    Raises:
        BundleError: OpenVINO cannot compile it.
    """
    try:
        static = graph.clone()
        static.reshape(list(shape))
        return openvino_core().compile_model(static, "CPU", settings)
    except RuntimeError as error:
        raise BundleError(
            f"OpenVINO cannot compile the network for {shape} ({one_line(error)}): use the runtime torch."
        ) from None


def _graph_or_reason(network: nn.Module, digest: str) -> Any:
    """The network as an OpenVINO graph, or the `CannotRun` error, so that failed conversions are also cached."""
    try:
        return bound_graph(network, digest)
    except CannotRun as reason:
        return reason
