"""Save weights atomically, so that a killed run leaves the last complete version."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint
from torch import nn

from custom_networks.files import atomic_write

logger = logging.getLogger(__name__)


def save_whole(state: object, path: Path) -> None:
    """Save `state` with `torch.save`, atomically; only the first of several processes saves."""
    if idist.get_rank() > 0:
        return
    # torch.save would write the temporary file's name into the file, so that equal weights would differ in bytes.
    with atomic_write(path) as temporary, temporary.open("wb") as stream:
        torch.save(state, stream)


class BestModelSaver(Checkpoint):
    """Keeps the best weights by MONAI's key metric in one file, and remembers the best score.

    MONAI's CheckpointSaver, which uses ignite's DiskSaver, deletes the old file before it writes the new one; this
    handler replaces it atomically. If it is among the objects of `ResumableState`, a resumed run continues from the
    best score so far.

    Args:
        save_dir: folder of the weights.
        save_dict: what to save, by name; a single entry is saved without its name.
        filename: name of the file.
    """

    def __init__(self, save_dir: str, save_dict: Mapping[str, Any], filename: str = "model.pt") -> None:
        self._file = Path(save_dir) / filename
        super().__init__(save_dict, self._write, score_function=_key_metric, filename_pattern=filename)

    def attach(self, engine: Engine) -> None:
        """After each epoch of `engine`, a MONAI evaluator, save the weights if their score is the best so far."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore the best score so far if the file of the best weights still exists."""
        if self._file.is_file():
            super().load_state_dict(state_dict)

    def _write(self, checkpoint: Mapping[str, Any], filename: str, metadata: Mapping[str, Any] | None = None) -> None:
        save_whole(checkpoint, self._file)


def _key_metric(engine: Engine) -> float:
    return float(engine.state.metrics[engine.state.key_metric_name])  # type: ignore[attr-defined]


class FinalModelSaver:
    """Saves a network's weights when the engine has completed its epochs.

    Args:
        save_dir: folder of the weights.
        network: network to save.
        filenames: names of the files, which all have the same content.
    """

    def __init__(self, save_dir: str, network: nn.Module, filenames: Sequence[str] = ("model_final.pt",)) -> None:
        self.paths = [Path(save_dir) / name for name in filenames]
        self.network = network

    def attach(self, engine: Engine) -> None:
        """Save when `engine` completes; a failed run does not change earlier files."""
        engine.add_event_handler(Events.COMPLETED, self.save)

    def save(self) -> None:
        """Write the current weights."""
        for path in self.paths:
            save_whole(self.network.state_dict(), path)
            if idist.get_rank() == 0:  # the only process that wrote it
                logger.info("Saved the final weights: %s", path)
