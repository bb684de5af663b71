"""An exported file computes the network's logits for any batch, size and depth, or is not written."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from monai.data import load_net_with_metadata
from torch import Tensor, nn

from custom_networks.bundle_files import bundle_network, bundle_root
from custom_networks.errors import BundleError, UsageError
from custom_networks.packing import export
from custom_networks.packing.export import export_network

SHAPES = [(1, 1, 16, 16, 1), (1, 1, 48, 80, 3), (3, 1, 96, 32, 12)]


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return bundle_network(bundle_root())


@pytest.fixture(scope="module")
def torchscript(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_network("torchscript", tmp_path_factory.mktemp("export") / "model.ts").path


@pytest.mark.parametrize("shape", SHAPES)
def test_torchscript_returns_the_networks_logits_for_any_batch_size_and_depth(
    torchscript: Path, network: nn.Module, shape: tuple[int, ...]
) -> None:
    image = torch.rand(shape)
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.load(torchscript)(image), network(image), atol=1e-5, rtol=0)


def test_torchscript_uses_real_neighbours_like_the_network(torchscript: Path, network: nn.Module) -> None:
    loaded, image = torch.jit.load(torchscript), torch.rand(1, 1, 32, 32, 12)
    assert (loaded.stride, loaded.stack, loaded.halo) == (16, 9, 4)
    with torch.no_grad():
        inner = network(image)[..., 4:-4]
        torch.testing.assert_close(loaded.slab(image), inner, atol=1e-5, rtol=0)
        torch.testing.assert_close(loaded(image, with_halo=True), inner, atol=1e-5, rtol=0)


def test_monai_reads_the_bundles_metadata_and_configuration_from_torchscript(torchscript: Path) -> None:
    _, metadata, files = load_net_with_metadata(str(torchscript), more_extra_files=["inference.json"])
    configs = bundle_root() / "configs"
    assert metadata == json.loads((configs / "metadata.json").read_text())
    assert json.loads(files["inference.json"]) == json.loads((configs / "inference.json").read_text())


@pytest.mark.slow
def test_onnx_returns_the_networks_logits_for_any_batch_size_and_depth(network: nn.Module, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    exported = export_network("onnx", tmp_path / "model.onnx")
    session = runtime.InferenceSession(exported.path)
    described = session.get_modelmeta().custom_metadata_map
    assert json.loads(described["metadata.json"])["name"] == "Liver and tumor CT segmentation in 2.5D"
    assert [axis.shape for axis in session.get_inputs()] == [["batch", 1, "16*rows", "16*columns", "slices"]]
    for shape in SHAPES:
        image = torch.rand(shape)
        (logits,) = session.run(None, {"image": image.numpy()})
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(logits), network(image), atol=1e-4, rtol=0)


def test_size_and_hash_of_the_written_file_are_returned(tmp_path: Path) -> None:
    exported = export_network("torchscript", str(tmp_path / "new" / "model.ts"))
    content = (tmp_path / "new" / "model.ts").read_bytes()
    assert (exported.size, exported.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert 0 <= exported.difference < 1e-5
    assert [path.name for path in exported.path.parent.iterdir()] == ["model.ts"]


def answers(change: Callable[[Tensor], Tensor]) -> Callable[[Path], export.Answer]:
    """Replaces a format with one whose files return something else."""
    return lambda path: lambda image: change(torch.jit.load(path)(image))


@pytest.mark.parametrize("change", [lambda logits: logits + 0.001, lambda logits: logits * float("nan")])
def test_a_file_with_other_outputs_is_not_written_and_the_old_one_is_kept(
    change: Callable[[Tensor], Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "model.ts"
    old.write_bytes(b"old")
    other = export._Format(".ts", (), export._write_torchscript, answers(change))
    monkeypatch.setitem(export._FORMATS, "torchscript", other)
    with pytest.raises(BundleError, match="The torchscript file's logits differ from the network's by"):
        export_network("torchscript", old)
    assert old.read_bytes() == b"old" and list(tmp_path.iterdir()) == [old]


def test_a_package_that_is_missing_is_named_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(UsageError, match=r"^Exporting onnx needs onnxscript: pip install onnxscript\.$"):
        export_network("onnx", tmp_path / "model.onnx")


def test_a_file_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"model\.ts cannot be written .*, or choose another folder\.$"):
        export_network("torchscript", tmp_path / "file" / "model.ts")
