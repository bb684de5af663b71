"""Export the bundle's network to formats that run without this package: TorchScript and ONNX."""

import hashlib
import logging
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from custom_networks.bundle_files import bundle_network, bundle_root
from custom_networks.errors import BundleError, UsageError, one_line
from custom_networks.files import atomic_write

LARGEST_DIFFERENCE = 1e-4  # of logits; rounding alone causes less than 1e-5
_DESCRIBED_BY = ("metadata.json", "inference.json")

Answer = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Exported:
    """A file that `export_network` has written.

    Attributes:
        path: path of the file.
        size: size of the file, bytes.
        sha256: digest of the file.
        difference: largest absolute difference between its logits and the network's.
    """

    path: Path
    size: int
    sha256: str
    difference: float


@dataclass(frozen=True)
class _Format:
    suffix: str
    needs: tuple[str, ...]
    write: Callable[[nn.Module, Mapping[str, str], Path], None]
    open: Callable[[Path], Answer]


def export_network(
    format: str, output: str | Path, bundle: str | None = None, checkpoint: str | None = None
) -> Exported:
    """Write the network of a bundle, with its weights or those in `checkpoint`, as `torchscript` or `onnx`.

    The exported model maps images `(B, 1, H, W, D)` (float32, [0, 1], slices last, any size, H and W multiples of the
    network's stride) to logits `(B, K, H, W, D)`, like `forward`. TorchScript also has `slab`. The file includes the
    bundle's metadata.json and inference.json. Before it gets its final name, which ends in .ts or .onnx, its outputs
    are compared with the network's on random stacks.

    Raises:
        UsageError: the format is unknown, the file name has another ending, the file cannot be written, or a required
            package is missing.
        BundleError: the bundle has no network or weights, the network cannot be exported in this format, or the file's
            outputs differ from the network's.
    """
    path = Path(output).expanduser()
    chosen = _chosen(format, path)
    root = bundle_root(bundle)
    network = bundle_network(root, checkpoint)
    configs = [root / "configs" / name for name in _DESCRIBED_BY]
    described = {config.name: config.read_text(encoding="utf-8") for config in configs if config.is_file()}
    try:
        with atomic_write(path) as partial:
            try:
                chosen.write(network, described, partial)
            except OSError:
                raise
            except Exception as error:  # such as an operator that the format lacks, or a full disk in TorchScript
                raise BundleError(f"The network cannot be exported as {format}: {one_line(error, 200)}.") from error
            difference = _difference(network, chosen.open(partial))
            content = partial.read_bytes()
            if not difference <= LARGEST_DIFFERENCE:  # also true for NaN
                raise BundleError(
                    f"The {format} file's logits differ from the network's by {difference:.1e}: it was not written."
                )
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written ({error.strerror or error}): check permissions and free space, or choose "
            "another folder."
        ) from error
    return Exported(path, len(content), hashlib.sha256(content).hexdigest(), difference)


def _chosen(format: str, path: Path) -> _Format:
    """The format; UsageError if it is unknown, the file name has another ending, or a package is missing."""
    if format not in _FORMATS:
        raise UsageError(f"The network can be exported as {' or '.join(_FORMATS)}, got {format!r}.")
    chosen = _FORMATS[format]
    if path.suffix.lower() != chosen.suffix or path.is_dir():
        raise UsageError(f"The name of a {format} file must end in {chosen.suffix}, got {path}: rename it.")
    missing = [name for name in chosen.needs if find_spec(name) is None]
    if missing:
        raise UsageError(f'Exporting {format} needs {", ".join(missing)}: pip install {" ".join(missing)}.')
    return chosen


def _difference(network: nn.Module, answer: Answer) -> float:
    """The largest absolute difference between `answer` and the network's logits, on stacks and on a single slice."""
    generator = torch.Generator().manual_seed(0)
    differences = []
    with torch.no_grad():
        for shape in ((2, 1, 96, 64, 11), (1, 1, 48, 128, 1)):
            image = torch.rand(shape, generator=generator)
            differences.append((answer(image) - network(image)).abs().max())
    return float(torch.stack(differences).max())


def _write_torchscript(network: nn.Module, described: Mapping[str, str], path: Path) -> None:
    """Script the network like MONAI's `ckpt_export`, because a trace would be limited to the example's shape."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch 2.13 prefers torch.export; MONAI reads TorchScript
        extra = {name: text.encode() for name, text in described.items()}
        with path.open("wb") as stream:  # with a path, torch would store the temporary name in the archive
            torch.jit.save(torch.jit.script(network), stream, _extra_files=extra)


def _open_torchscript(path: Path) -> Answer:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        answer: Answer = torch.jit.load(path)
    return answer


def _write_onnx(network: nn.Module, described: Mapping[str, str], path: Path) -> None:
    """Export with `torch.export`, because the older exporter traces one example and fixes its depth."""
    stride, size = int(getattr(network, "stride", 1)), torch.export.Dim
    axes = {0: size("batch"), 2: stride * size("rows"), 3: stride * size("columns"), 4: size("slices")}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns if torchvision is missing
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations within PyTorch
        program = torch.onnx.export(
            network,
            (torch.rand(2, 1, 4 * stride, 5 * stride, 7),),
            input_names=["image"],
            output_names=["logits"],
            dynamic_shapes=(axes,),
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise BundleError("PyTorch returned no ONNX program.")
    program.model.metadata_props.update(described)
    program.save(path, external_data=False)


def _open_onnx(path: Path) -> Answer:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda image: torch.from_numpy(session.run(None, {"image": image.numpy()})[0])


_FORMATS = {
    "torchscript": _Format(".ts", (), _write_torchscript, _open_torchscript),
    "onnx": _Format(".onnx", ("onnx", "onnxscript", "onnxruntime"), _write_onnx, _open_onnx),
}
