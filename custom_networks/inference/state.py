"""Digests of a network: of its architecture, and of architecture and weights."""

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

_PLAIN = (bool, int, float, str, type(None))


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers by name, including those that a state dict leaves out."""
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def state_digest(network: nn.Module) -> str:
    """SHA-256 of architecture and weights; it takes a few milliseconds for 3 MB.

    Version counters of tensors would be cheaper, but they miss changes made through `.data`.
    """
    digest = hashlib.sha256(architecture_digest(network).encode())
    for tensor in tensors_of(network).values():
        plain = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(plain.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def architecture_digest(network: nn.Module) -> str:
    """SHA-256 of a network without the values of its weights.

    It covers the modules except dropout, their settings and source, and the name, type and shape of each tensor.
    """
    digest = hashlib.sha256()
    for line in (*_modules(network), *_tensors(network), *_sources(network)):
        digest.update(line.encode())
        digest.update(b"\n")
    return digest.hexdigest()


def _modules(network: nn.Module) -> Iterator[str]:
    for name, module in network.named_modules():
        if isinstance(module, _DropoutNd):  # has no effect in evaluation mode, and MONAI Label changes its rate
            continue
        settings = {key: value for key, value in vars(module).items() if key[:1] != "_" and _is_plain(value)}
        yield f"{name} {type(module).__module__}.{type(module).__qualname__} {sorted(settings.items())}"


def _tensors(network: nn.Module) -> Iterator[str]:
    for name, tensor in tensors_of(network).items():
        yield f"{name} {tensor.dtype} {tuple(tensor.shape)}"


def _sources(network: nn.Module) -> Iterator[str]:
    """Yield the source files that define the modules' classes, except PyTorch's.

    The settings alone do not show what `forward` does. Comments and docstrings count, too: after editing them in
    `networks`, run `make ir`. For a class without a source file, the name of its Python module is yielded.
    """
    names = {type(module).__module__ for module in network.modules()}
    for name in sorted(name for name in names if name.partition(".")[0] != "torch"):
        path = getattr(sys.modules.get(name), "__file__", None)
        yield Path(path).read_text(encoding="utf-8") if path else name


def _is_plain(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN)
