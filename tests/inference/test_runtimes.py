"""OpenVINO computes the same as PyTorch with the network's current weights, or is not used."""

import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from custom_networks.bundle_files import bundle_network, bundle_root
from custom_networks.errors import BundleError, InputError, UsageError
from custom_networks.inference import SliceStackInferer, graph_files, openvino_graph, openvino_runtime
from custom_networks.inference.openvino_graph import SHIPPED, CannotRun
from custom_networks.inference.precision import openvino_precision
from custom_networks.inference.runtimes import checked_runtime, open_runtime
from custom_networks.inference.state import architecture_digest, state_digest
from custom_networks.networks import ContextNet25D

CPU = torch.device("cpu")
RUNTIMES = ("torch", "openvino")


@pytest.fixture
def own(network: ContextNet25D) -> ContextNet25D:
    """A copy of the small network that a test can change."""
    return deepcopy(network)


@pytest.fixture
def nothing_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Empty caches in memory and on disk; the folder of the latter."""
    monkeypatch.setattr(openvino_runtime, "_GRAPHS", openvino_runtime.Kept(4))
    monkeypatch.setattr(openvino_runtime, "_COMPILED", openvino_runtime.Kept(4))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def model(network: ContextNet25D) -> Any:
    """OpenVINO's model of the small network's architecture, converted only once because that takes seconds."""
    openvino_graph.openvino_core()
    return openvino_graph.converted(network)


@pytest.fixture
def conversions(model: Any, monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """A list of the networks that would be converted during a test; all have the small network's architecture."""
    seen: list[nn.Module] = []
    monkeypatch.setattr(openvino_graph, "converted", lambda network: seen.append(network) or model.clone())
    return seen


def logits(network: nn.Module, runtime: str, volume: Tensor, **options: Any) -> Tensor:
    inferer = SliceStackInferer(runtime=runtime, precision="float32", compact=False, slab=4, **options)
    return inferer(volume, network)


def volume(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("shape", [(1, 1, 8, 12, 7), (2, 1, 6, 9, 5), (1, 1, 4, 4, 1)], ids=str)
def test_openvino_agrees_with_pytorch(shape: tuple[int, ...], network: ContextNet25D) -> None:
    expected = logits(network, "torch", volume(*shape))
    torch.testing.assert_close(logits(network, "openvino", volume(*shape)), expected, atol=1e-4, rtol=1e-4)


def test_tiles_agree_between_runtimes(network: ContextNet25D) -> None:
    expected = logits(network, "torch", volume(1, 1, 20, 24, 3), roi_size=(12, 12))
    answer = logits(network, "openvino", volume(1, 1, 20, 24, 3), roi_size=(12, 12))
    torch.testing.assert_close(answer, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_cutting_differently_changes_only_rounding(runtime: str, network: ContextNet25D) -> None:
    image = volume(1, 1, 8, 8, 11)
    whole, cut = (
        SliceStackInferer(runtime=runtime, precision="float32", compact=False, slab=slab)(image, network)
        for slab in (16, 3)
    )
    torch.testing.assert_close(cut, whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("change", ["in place", "data", "another object"])
def test_changed_weights_change_the_next_output(change: str, own: ContextNet25D) -> None:
    image = volume(1, 1, 8, 8, 3)
    before = logits(own, "openvino", image)
    if change == "another object":
        own = deepcopy(own)
    bias = own.head.bias.data if change == "data" else own.head.bias
    assert isinstance(bias, Tensor)
    with torch.no_grad():
        bias += 1
    torch.testing.assert_close(logits(own, "openvino", image), before + 1, atol=1e-4, rtol=0)


def test_an_architecture_is_converted_once_for_all_its_weights(
    own: ContextNet25D, nothing_kept: Path, conversions: list[nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = volume(1, 1, 8, 8, 3)
    logits(own, "openvino", image)
    assert len(list(nothing_kept.rglob("*.zip"))) == len(conversions) == 1
    with torch.no_grad():
        own.head.bias += 1
    monkeypatch.setattr(openvino_runtime, "_GRAPHS", openvino_runtime.Kept(4))  # as in another process
    torch.testing.assert_close(logits(own, "openvino", image), logits(own, "torch", image), atol=1e-4, rtol=0)
    assert len(conversions) == 1


@pytest.mark.parametrize("damage", ["cut", "flipped", "foreign"])
def test_a_damaged_cache_is_replaced(
    damage: str, own: ContextNet25D, model: Any, nothing_kept: Path, conversions: list[nn.Module]
) -> None:
    folder, key = graph_files.cache_folder(openvino_graph._version()), architecture_digest(own)
    assert folder
    graph_files.write_graph(folder, key if damage != "foreign" else "0" * 64, model)
    (path,) = nothing_kept.rglob("*.zip")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= damage == "flipped"
    (folder / f"{key}.zip").write_bytes(content[: len(content) // (1 + (damage == "cut"))])
    answer = logits(own, "openvino", volume(1, 1, 8, 8, 3))
    torch.testing.assert_close(answer, logits(own, "torch", volume(1, 1, 8, 8, 3)), atol=1e-4, rtol=0)
    assert conversions == [own]
    assert graph_files.read_graph(folder, key)  # mended


def test_a_cache_that_cannot_be_written_does_not_stop_inference(
    own: ContextNet25D, nothing_kept: Path, conversions: list[nn.Module]
) -> None:
    nothing_kept.write_text("a file where the folder should be")
    assert logits(own, "openvino", volume(1, 1, 8, 8, 2)).shape == (1, 3, 8, 8, 2)
    assert nothing_kept.is_file()


def test_a_full_temporary_folder_does_not_stop_inference(
    own: ContextNet25D, nothing_kept: Path, conversions: list[nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(model: Any) -> None:
        raise RuntimeError("Check 'bin_file.is_open()' failed")

    monkeypatch.setattr(graph_files, "_serialised", refuse)
    assert logits(own, "openvino", volume(1, 1, 8, 8, 2)).shape == (1, 3, 8, 8, 2)
    assert len(conversions) == 1 and not list(nothing_kept.rglob("*.zip"))


def test_threads_load_openvino_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []

    def core() -> object:
        time.sleep(0.1)
        made.append(object())
        return made[-1]

    openvino_graph._loaded_core.cache_clear()
    monkeypatch.setitem(sys.modules, "openvino", SimpleNamespace(Core=core))
    try:
        with ThreadPoolExecutor(2) as threads:
            first, second = threads.map(lambda _: openvino_graph.openvino_core(), range(2))
    finally:
        openvino_graph._loaded_core.cache_clear()
    assert first is second and len(made) == 1


def test_without_openvino_pytorch_is_used(own: ContextNet25D, monkeypatch: pytest.MonkeyPatch) -> None:
    openvino_graph._loaded_core.cache_clear()
    monkeypatch.setitem(sys.modules, "openvino", None)
    try:
        runtime = open_runtime(own, "auto", "auto", CPU)
        assert (runtime.name, runtime.precision) == ("torch", "float32")
        with pytest.raises(UsageError, match="OpenVINO cannot run this network .*use the runtime torch"):
            open_runtime(own, "openvino", "auto", CPU)
    finally:
        openvino_graph._loaded_core.cache_clear()


def test_a_network_that_cannot_be_converted_is_run_by_pytorch(own: ContextNet25D) -> None:
    for network in (nn.Identity(), torch.jit.script(own), own.train()):
        assert open_runtime(network, "auto", "float32", CPU).name == "torch"
        with pytest.raises(UsageError, match="OpenVINO cannot run this network"):
            open_runtime(network, "openvino", "float32", CPU)


def test_changes_other_than_weights_are_noticed_for_each_volume(own: ContextNet25D) -> None:
    """An existing graph has no hooks."""
    assert open_runtime(own, "auto", "float32", CPU).name == "openvino"
    hook = own.head.register_forward_hook(lambda *_: None)  # type: ignore[operator, union-attr]
    assert open_runtime(own, "auto", "float32", CPU).name == "torch"
    hook.remove()
    assert open_runtime(own, "auto", "float32", CPU).name == "openvino"


def test_a_model_that_openvino_cannot_compile_is_run_by_pytorch(
    own: ContextNet25D, nothing_kept: Path, conversions: list[nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("not implemented")

    monkeypatch.setattr(openvino_graph, "openvino_core", lambda: SimpleNamespace(compile_model=refuse))
    assert open_runtime(own, "auto", "float32", CPU).name == "torch"
    with pytest.raises(UsageError, match="fails to run it, not implemented"):
        open_runtime(own, "openvino", "float32", CPU)


class Counting(ContextNet25D):
    """Multiplies its output by a number that tracing turns into a constant."""

    def slab(self, x: Tensor) -> Tensor:
        answer: Tensor = super().slab(x) * float(x.shape[-1])
        return answer


def test_a_graph_whose_outputs_differ_from_the_networks_is_not_used(own: ContextNet25D) -> None:
    own.__class__ = Counting
    with pytest.raises(CannotRun, match="outputs differ"):
        openvino_graph.new_graph(own, None, "any")


@pytest.mark.parametrize("runtime", ["torch", "openvino", "auto"])
@pytest.mark.parametrize(
    "where, number", [("head.bias", float("inf")), ("head.bias", float("nan")), ("stem.0.weight", float("nan"))]
)
def test_weights_that_are_not_finite_are_refused(runtime: str, where: str, number: float, own: ContextNet25D) -> None:
    """OpenVINO's ReLU turns NaN into 0, as does a cast to uint8."""
    with torch.no_grad():
        own.state_dict()[where].view(-1)[0] = number
    with pytest.raises(BundleError, match="finite.*damaged"):
        SliceStackInferer(runtime=runtime)(volume(1, 1, 8, 8, 3), own)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_weights_whose_outputs_are_not_finite_are_refused(runtime: str, own: ContextNet25D) -> None:
    with torch.no_grad():
        own.stem[1].running_var.fill_(-1.0)  # type: ignore[operator, union-attr]
    with pytest.raises(BundleError, match="not finite.*damaged"):
        SliceStackInferer(runtime=runtime)(volume(1, 1, 8, 8, 3), own)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_an_image_that_is_not_finite_is_refused(runtime: str, number: float, network: ContextNet25D) -> None:
    image = volume(1, 1, 8, 8, 3)
    image[0, 0, 2, 3, 1] = number
    with pytest.raises(InputError, match="The image contains values that are not finite"):
        SliceStackInferer(runtime=runtime)(image, network)


def test_threads_can_run_different_networks_at_once(own: ContextNet25D) -> None:
    others = [deepcopy(own) for _ in range(2)]
    with torch.no_grad():
        others[1].head.bias += 5
    images = [volume(1, 1, 8, 8, depth) for depth in (3, 6)]
    answers: dict[int, list[Tensor]] = {0: [], 1: []}

    def work(i: int) -> None:
        for _ in range(8):
            answers[i].append(logits(others[i], "openvino", images[i]))

    running = [threading.Thread(target=work, args=(i,)) for i in (0, 1)]
    [thread.start() for thread in running]
    [thread.join() for thread in running]
    for i in (0, 1):
        expected = logits(others[i], "torch", images[i])
        assert len(answers[i]) == 8
        for answer in answers[i]:
            torch.testing.assert_close(answer, expected, atol=1e-4, rtol=1e-4)


def test_the_same_input_has_bit_identical_outputs(network: ContextNet25D) -> None:
    for runtime in RUNTIMES:
        first, second = (logits(network, runtime, volume(1, 1, 8, 12, 9)) for _ in range(2))
        assert torch.equal(first, second)


@pytest.mark.parametrize(
    "precision, capabilities, expected",
    [
        ("auto", ["FP32", "INT8"], "float32"),
        ("auto", ["FP32", "BF16"], "bfloat16"),
        ("auto", ["FP32", "FP16"], "float32"),  # ARM
        ("float32", ["FP32", "BF16"], "float32"),
        ("bfloat16", ["FP32", "BF16"], "bfloat16"),
        ("bfloat16", ["FP32"], None),
    ],
)
def test_openvino_uses_bfloat16_if_it_lists_it(precision: str, capabilities: list[str], expected: str | None) -> None:
    assert openvino_precision(precision, capabilities) == expected


def test_unknown_names_are_refused(network: ContextNet25D) -> None:
    with pytest.raises(UsageError, match="The runtime must be auto, torch or openvino, got 'onnx'"):
        checked_runtime("onnx")
    with pytest.raises(ValueError, match="runtime must be one of"):
        open_runtime(network, "onnx", "auto", CPU)
    with pytest.raises(ValueError, match="precision must be one of"):
        open_runtime(network, "openvino", "half", CPU)


def test_the_shipped_graph_is_that_of_the_released_network_and_weights() -> None:
    """If it fails, run `make ir`."""
    network = bundle_network(bundle_root())
    graph = graph_files.read_graph(SHIPPED, architecture_digest(network))
    assert graph is not None
    assert state_digest(network) in {digest for digest, _ in graph.checked}


def test_importing_openvino_sends_no_telemetry(python: Callable[..., Any], tmp_path: Path) -> None:
    code = (
        "import socket, sys\n"
        "def refuse(*a): raise SystemExit('the network was asked for')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from custom_networks.inference.openvino_graph import openvino_core\n"
        "openvino_core()\n"
        "from openvino.tools.ovc import telemetry_utils\n"
        "print(telemetry_utils.tm.__name__, any(m.startswith('openvino_telemetry') for m in sys.modules))"
    )
    environment = {"HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    run = python("-c", code, env=environment)
    assert run.stdout.split() == ["openvino.tools.ovc.telemetry_stub", "False"], run.stderr
    assert not any(path.name in ("intel", "Intel") for path in tmp_path.iterdir())  # where a client's number goes
