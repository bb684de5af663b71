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
        checkpoint: the weights file.
        bundle_root: the bundle's folder.
        sha256: digest of the file, if it is already known.

    Raises:
        BundleError: the file is damaged (checked only if `sha256` is not given).
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
    """Load the weights in the file `checkpoint` into `network`, and return it in evaluation mode.

    The config calls this for networks other than the main one.

    Raises:
        BundleError: see `load_weights`.
    """
    load_weights(network, checkpoint)
    return network.eval()


def load_weights(network: nn.Module, checkpoint: str | Path) -> str:
    """Load the state dict in a file into `network`, and return the SHA-256 of the file.

    Raises:
        BundleError: the file is missing or damaged, does not contain weights of this network, or contains values that
            are not finite.
    """
    state, sha256 = weights_in(checkpoint)
    try:
        network.load_state_dict(state)
    except Exception as error:  # RuntimeError for other shapes, others for a dictionary that is no state dict
        raise _not_weights(checkpoint, error) from error
    refuse_weights_not_finite(checkpoint, state)
    return sha256


def weights_in(checkpoint: str | Path) -> tuple[dict[str, Any], str]:
    """Read a weights file and return its state dict, which must not be modified, and its SHA-256.

    The result is cached until the file changes, because MONAI Label builds the config anew for each request.

    Raises:
        BundleError: the file is missing, is damaged (PyTorch alone would accept an archive with wrong checksums), or
            does not contain a dictionary.
    """
    path = Path(checkpoint).expanduser()
    if not path.is_file():
        raise BundleError(
            f"No weights at {path}: fetch or train them, or, if the scout or the segments need them, turn these off."
        )
    state = path.stat()
    return _read(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4)
def _read(path: Path, modified: int, size: int) -> tuple[dict[str, Any], str]:
    """Return the result of `weights_in` for a file with this modification time and size."""
    content = path.read_bytes()
    refuse_damaged_weights(path, BytesIO(content))
    try:
        state = dict(torch.load(BytesIO(content), map_location="cpu", weights_only=True))
    except Exception as error:  # PyTorch, pickle and zip have no common error
        raise _not_weights(path, error) from error
    return state, hashlib.sha256(content).hexdigest()


def _not_weights(path: str | Path, error: Exception) -> BundleError:
    """Return the error for a file that does not contain weights of the network."""
    return BundleError(
        f"{path} does not contain weights of this network ({one_line(error, 200)}): choose a file trained with it."
    )
