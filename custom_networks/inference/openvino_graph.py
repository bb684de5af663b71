"""Convert a network's architecture to an OpenVINO graph, and insert the network's weights into the graph.

A graph has the image and all weights as inputs. An architecture is converted once (many seconds), for any weights; the
weights of a network are then inserted as constants (milliseconds), so that fine-tuned weights need no new conversion.
The graph of the released architecture ships with the package (`graphs/`, made by `make ir`); others are kept in the
user's cache folder.
"""

import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from custom_networks.errors import BundleError, one_line
from custom_networks.inference.graph_files import cache_folder, read_graph, write_graph
from custom_networks.inference.state import architecture_digest, state_digest, tensors_of

logger = logging.getLogger(__name__)

SHIPPED = Path(__file__).with_name("graphs")
IMAGE = "image"  # the only input of the graph that is not a weight
TOLERANCE = 1e-4  # relative to the largest logit; rounding causes a tenth of that
_ONE_AT_A_TIME = threading.Lock()


class CannotRun(Exception):
    """OpenVINO is missing or cannot run a network; the message says why."""


def openvino_core() -> Any:
    """OpenVINO's core, which all networks of this process share.

    Raises:
        CannotRun: OpenVINO is not installed or does not load.
    """
    with _ONE_AT_A_TIME:
        return _loaded_core()


@cache
def _loaded_core() -> Any:
    """OpenVINO's core, loaded without telemetry.

    `import openvino` sends a report over the network and writes a client ID to the home folder unless the package
    `openvino_telemetry` is missing, so that package is hidden during the import.
    """
    named = [name for name in sys.modules if name.partition(".")[0] == "openvino_telemetry"]
    hidden = {name: sys.modules.pop(name) for name in named}
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        import openvino

        return openvino.Core()
    except (ImportError, OSError, RuntimeError) as error:
        raise CannotRun(f"OpenVINO cannot be loaded, {one_line(error)}") from error
    finally:
        del sys.modules["openvino_telemetry"]
        sys.modules.update(hidden)


def bound_graph(network: nn.Module, digest: str) -> Any:
    """OpenVINO's model of `network.slab` with the network's current weights, after comparing the outputs of both.

    The graph is read from the package or the user's cache, or else converted and saved in the cache. `digest` is the
    network's `state_digest`; if a graph on disk was already compared for that digest and this version of OpenVINO,
    the comparison is skipped.

    Raises:
        CannotRun: the network cannot be converted.
        BundleError: its outputs are not finite.
    """
    core = openvino_core()
    key = architecture_digest(network)
    for folder in (SHIPPED, cache_folder(_version())):
        if graph := read_graph(folder, key):
            try:
                model = _with_weights(core.read_model(graph.xml, graph.weights), network)
                if (digest, _version()) not in graph.checked:
                    _compare(model, network)
                return model
            except (RuntimeError, KeyError, CannotRun) as error:  # made by another version, or damaged
                logger.info(
                    "The graph in %s cannot be used; the network is converted again: %s", folder, one_line(error)
                )
    return new_graph(network, cache_folder(_version()), key)


def new_graph(network: nn.Module, folder: Path | None, key: str, *checked: tuple[str, str]) -> Any:
    """Convert a network, compare the model with it, save the graph in a folder, and return the model with weights.

    Args:
        network: the network to convert.
        folder: where to save the graph; None does not save it.
        key: the network's `architecture_digest`.
        checked: pairs (state digest, version of OpenVINO) to record as compared.

    Raises:
        CannotRun: the network cannot be converted.
        BundleError: its outputs are not finite.
    """
    model = converted(network)
    bound = _with_weights(model.clone(), network)
    _compare(bound, network)
    write_graph(folder, key, model, checked)
    return bound


def ship_graph(network: nn.Module, folder: Path) -> None:
    """Write the graph of a network to a folder, and record that its current weights need no further comparison.

    Raises:
        CannotRun: OpenVINO is missing or cannot convert the network.
        BundleError: the network's weights or outputs are not finite.
    """
    openvino_core()
    check_fitness(network)
    new_graph(network, folder, architecture_digest(network), (state_digest(network), _version()))


def converted(network: nn.Module) -> Any:
    """OpenVINO's model of `network.slab`; its inputs are the image and the weights, named after the tensors.

    Raises:
        CannotRun: the network cannot be converted.
    """
    try:
        return _traced(network)
    except Exception as error:  # tracing runs arbitrary code, and OpenVINO has its own errors
        raise CannotRun(f"it cannot be converted, {one_line(error)}") from error


def _traced(network: nn.Module) -> Any:
    """Convert the network by tracing it on a small stack, with its weights as further inputs."""
    from openvino import PartialShape
    from openvino._offline_transformations import apply_moc_transformations
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    copied = deepcopy(network).requires_grad_(False)
    weights = {name: tensor for name, tensor in tensors_of(copied).items() if tensor.is_floating_point()}

    def slab(image: Tensor, *values: Tensor) -> Tensor:
        """The network's output for an image with these weights in place of its own."""
        for name, value in zip(weights, values):
            path, _, leaf = name.rpartition(".")
            module = copied.get_submodule(path)
            own = module._parameters if leaf in module._parameters else module._buffers
            own[leaf] = value  # type: ignore[assignment]
        answer: Tensor = copied.slab(image)  # type: ignore[operator]
        return answer

    image = _example(network, 1)
    with torch.no_grad(), _quiet():
        graph = torch.jit.trace(slab, (image, *weights.values()), check_trace=False)
    frontend = FrontEndManager().load_by_framework("pytorch")
    decoder = TorchScriptPythonDecoder(graph)  # must stay alive during the conversion
    model = frontend.convert(frontend.load(decoder))
    shapes = {IMAGE: [-1, image.shape[1], -1, -1, -1], **{name: list(w.shape) for name, w in weights.items()}}
    parameters = model.get_parameters()
    for parameter, name in zip(parameters, shapes):
        parameter.set_friendly_name(name)
        parameter.output(0).set_names({name})
    model.reshape({p.output(0): PartialShape(shape) for p, shape in zip(parameters, shapes.values())})
    apply_moc_transformations(model, cf=True)  # folds constants, which shrinks the graph to a third
    return model


def _with_weights(model: Any, network: nn.Module) -> Any:
    """Replace the model's weight inputs with the network's tensors of the same names, and return the model."""
    from openvino import opset13

    tensors = tensors_of(network)
    for parameter in list(model.get_parameters()):
        name = parameter.get_friendly_name()
        if name == IMAGE:
            continue
        constant = opset13.constant(tensors[name].detach().numpy())
        for target in list(parameter.output(0).get_target_inputs()):
            target.replace_source_output(constant.output(0))
        model.remove_parameter(parameter)
    return model


def _compare(model: Any, network: nn.Module) -> None:
    """Compare the model with the network on a small stack whose shape differs from the one used for tracing.

    Raises:
        CannotRun: their outputs differ by more than rounding, or OpenVINO cannot run the model.
        BundleError: the network's own output is not finite.
    """
    stack = _example(network, 2)
    with torch.no_grad():
        expected: Tensor = network.slab(stack)  # type: ignore[operator]
    if not bool(expected.isfinite().all()):
        raise BundleError("The network's outputs are not finite: its weights are damaged; use other weights.")
    try:
        model = model.clone()
        model.reshape(list(stack.shape))
        compiled = openvino_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        answer = torch.from_numpy(compiled([stack.numpy()])[0])
    except RuntimeError as error:
        raise CannotRun(f"OpenVINO fails to run it, {one_line(error)}") from error
    allowed = TOLERANCE * max(1.0, float(expected.abs().max()))
    if answer.shape != expected.shape or not float((answer - expected).abs().max()) <= allowed:
        raise CannotRun("OpenVINO's outputs differ from the network's")


def _example(network: nn.Module, size: int) -> Tensor:
    """A small stack of noise: `size` strides high, `2 * size - 1` strides wide, for an output of `size` slices."""
    stride, halo = int(network.stride), int(network.halo)  # type: ignore[arg-type]
    shape = (1, int(getattr(network, "in_channels", 1)), size * stride, (2 * size - 1) * stride, size + 2 * halo)
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def check_fitness(network: nn.Module) -> None:
    """Check that OpenVINO can run a network in its current state.

    Raises:
        CannotRun: the network has no `slab`, `halo` or `stride`, is scripted or in training mode, has hooks (which a
            graph cannot have), or is not in float32 on the CPU.
        BundleError: its weights are not finite.
    """
    lacking = [name for name in ("slab", "halo", "stride") if not hasattr(network, name)]
    if lacking or isinstance(network, torch.jit.ScriptModule):
        raise CannotRun(f"the network has no {lacking[0]}" if lacking else "it is scripted")
    if any(module.training or module._forward_hooks or module._forward_pre_hooks for module in network.modules()):
        raise CannotRun("it is in training mode, or has hooks")
    for name, tensor in tensors_of(network).items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise BundleError(
                f"The weights must be finite, but {name} has NaN or infinity: they are damaged; use other weights."
            )
        if tensor.device.type != "cpu" or (tensor.is_floating_point() and tensor.dtype != torch.float32):
            raise CannotRun(f"{name} is {tensor.dtype} on {tensor.device}")


def _version() -> str:
    import openvino

    return str(openvino.__version__)


@contextmanager
def _quiet() -> Iterator[None]:
    """A context without warnings; the tracer's warnings about comparisons of sizes are harmless."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
