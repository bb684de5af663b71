"""Weights on disk: each file is replaced as a whole, so that a run that is killed leaves the last complete one."""

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
    """Save `state` by `torch.save`, whole or not at all. Of several processes, the first one does."""
    if idist.get_rank() > 0:
        return
    # torch.save would put the temporary name into the file: equal weights would be different bytes.
    with atomic_write(path) as temporary, temporary.open("wb") as stream:
        torch.save(state, stream)


class BestModelSaver(Checkpoint):
    """Keeps the best weights by MONAI's key metric in one file, and tells the best score so far.

    (MONAI's CheckpointSaver, and ignite's DiskSaver with it, delete the old file before they write the new one.)

    Kept among the objects of `ResumableState`, it goes on comparing with what the run before the cut had reached.

    Args:
        save_dir: folder of the weights.
        save_dict: what to save, by name; of one network, its weights alone.
        filename: name of the file.
    """

    def __init__(self, save_dir: str, save_dict: Mapping[str, Any], filename: str = "model.pt") -> None:
        self._file = Path(save_dir) / filename
        super().__init__(save_dict, self._write, score_function=_key_metric, filename_pattern=filename)

    def attach(self, engine: Engine) -> None:
        """Compare and save after each epoch of `engine`, a MONAI evaluator."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take up the best score, if the weights that reached it are still there."""
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
        network: whose weights.
        filenames: names of the files, all alike.
    """

    def __init__(self, save_dir: str, network: nn.Module, filenames: Sequence[str] = ("model_final.pt",)) -> None:
        self.paths = [Path(save_dir) / name for name in filenames]
        self.network = network

    def attach(self, engine: Engine) -> None:
        """Save when `engine` completes; a run that fails leaves the file of before."""
        engine.add_event_handler(Events.COMPLETED, self.save)

    def save(self) -> None:
        """Write the weights as they are now."""
        for path in self.paths:
            save_whole(self.network.state_dict(), path)
            logger.info("Saved the final weights: %s", path)
