"""Load the weights that a config names, and check whether they are those released with this version."""

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
    """Whether `checkpoint` is the file whose sha256 is in the bundle's metadata.json; if not, log a warning.

    Fine-tuned weights are allowed, but the model card's scores do not apply to them. If the file does not exist (which
    the loader reports) or metadata.json names no weights, the result is False without a warning.

    Args:
        checkpoint: file of weights.
        bundle_root: the bundle's folder.
        sha256: digest of the file, if it is already known.

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
        "%s contains other weights than those released with version %s: the model card's scores do not apply to them.",
        checkpoint,
        metadata.get("version"),
    )
    return False


def loaded_network(network: nn.Module, checkpoint: str) -> nn.Module:
    """The network with the state dict in the file `checkpoint`, on the CPU, in evaluation mode.

    The config uses it for networks besides the main one. A process reads each file once unless it changes, because
    MONAI Label builds the config again for each request.

    Raises:
        BundleError: the file is missing or damaged, does not hold weights of this network, or holds values that are
            not finite.
    """
    state, _ = weights_in(checkpoint)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise BundleError(
            f"{checkpoint} does not hold weights of this network ({one_line(error, 200)}): give a file trained with it."
        ) from error
    refuse_weights_not_finite(checkpoint, state)
    return network.eval()


def weights_in(checkpoint: str) -> tuple[dict[str, Any], str]:
    """The state dict in a file, which must not be modified, and the SHA-256 of the bytes that were read.

    Raises:
        BundleError: the file is missing or damaged (PyTorch alone would accept an archive with wrong checksums).
    """
    path = Path(checkpoint).expanduser()
    if not path.is_file():
        raise BundleError(
            f"No weights at {path}: fetch or train them, or set scout or segments, whichever needs them, to false."
        )
    state = path.stat()
    return _read(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4)
def _read(path: Path, modified: int, size: int) -> tuple[dict[str, Any], str]:
    """The result of `weights_in`, cached for a file of this modification time and size."""
    content = path.read_bytes()
    refuse_damaged_weights(path, BytesIO(content))
    try:
        state = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # PyTorch, pickle and zip have no common error
        raise BundleError(f"{path} holds no weights ({one_line(error, 200)}): fetch it again.") from error
    return dict(state), hashlib.sha256(content).hexdigest()
