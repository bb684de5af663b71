"""Loads weights that a config names, and tells whether weights are those that were released with this version."""

import hashlib
import json
import logging
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import nn

from custom_networks.errors import BundleError, one_line
from custom_networks.files import refuse_damaged_weights, refuse_weights_not_finite

logger = logging.getLogger(__name__)


def announce_weights(checkpoint: str, bundle_root: str, sha256: str | None = None) -> bool:
    """Log a warning where `checkpoint` is not the file whose sha256 stands in the bundle's metadata.json.

    Fine-tuned weights are welcome; but nobody should take their results for those of the model card. Gives whether the
    weights are the released ones. Without a file, which the loader reports, or where metadata.json names no weights,
    nothing is logged and the answer is no. `sha256` is the digest of the file where it is known already.

    Raises:
        BundleError: the file is damaged.
    """
    metadata = json.loads((Path(bundle_root) / "configs" / "metadata.json").read_text(encoding="utf-8"))
    if sha256 is None:
        refuse_damaged_weights(checkpoint)
    released = (metadata.get("weights") or {}).get("sha256")
    path = Path(checkpoint)
    if released is None or not path.is_file():
        return False
    if (sha256 or hashlib.sha256(path.read_bytes()).hexdigest()) == released:
        return True
    logger.warning(
        "%s holds other weights than those released with version %s: the model card's scores do not apply to them.",
        checkpoint,
        metadata.get("version"),
    )
    return False


def loaded_network(network: nn.Module, checkpoint: str) -> nn.Module:
    """The network with the state dict in the file `checkpoint`, on the CPU and ready to infer.

    For a network that the config itself loads, beside the one of `load_dict`. Files are read once a process, as long as
    they stay the same: MONAI Label builds the config anew at each request.

    Raises:
        BundleError: the file is missing or damaged, or holds no weights of this network or some that are not finite.
    """
    state, _ = weights_in(checkpoint)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise BundleError(f"{checkpoint} holds no weights of this network ({one_line(error, 200)}).") from error
    refuse_weights_not_finite(checkpoint, state)
    return network.eval()


def weights_in(checkpoint: str) -> tuple[dict[str, Any], str]:
    """The state dict in a file, not to be changed, and the SHA-256 of the very bytes that it was read from.

    Raises:
        BundleError: the file is missing, or damaged: PyTorch alone would take an archive with changed bytes.
    """
    path = Path(checkpoint).expanduser()
    if not path.is_file():
        raise BundleError(
            f"No weights at {path}: fetch or train them, or set scout (or segments) to false where they are its own."
        )
    state = path.stat()
    return _read(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4)
def _read(path: Path, modified: int, size: int) -> tuple[dict[str, Any], str]:
    """What `weights_in` gives of a file in the state that its time of change and its size stand for."""
    content = path.read_bytes()
    refuse_damaged_weights(path, BytesIO(content))
    try:
        state = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # PyTorch, pickle and zip each have their own
        raise BundleError(f"{path} holds no weights ({one_line(error, 200)}): fetch it again.") from error
    return dict(state), hashlib.sha256(content).hexdigest()
