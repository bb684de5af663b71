"""A training run that was cut off goes on where it stood."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.transforms.transform import Randomizable
from monai.utils.misc import get_seed

logger = logging.getLogger(__name__)


class ResumableState:
    """Keeps the state of a training run in one file, and takes it up again when asked to.

    (MONAI's CheckpointSaver cannot hold the trainer among a bundle's trainer's own handlers: a circular reference.)

    Args:
        path: file that holds the state; written to a temporary name and renamed.
        objects: what has a `state_dict`, by name: network, averaged network, optimizer, schedule.
        interval: epochs between two states.
        resume: start from the file if it is there.
        map_location: device to load to.
        randomized: random transforms that are seeded anew by the epoch on resuming; otherwise each part of a run that
            is cut off often would draw the same samples.
    """

    def __init__(
        self,
        path: str,
        objects: Mapping[str, Any],
        interval: int = 1,
        resume: bool = False,
        map_location: torch.device | str | None = None,
        randomized: Randomizable | None = None,
    ) -> None:
        self.path = Path(path)
        self.objects = dict(objects)
        self.interval = interval
        self.resume = resume
        self.map_location = map_location
        self.randomized = randomized

    def attach(self, engine: Engine) -> None:
        """Load at the start of `engine`, after what other handlers loaded there, and save at the end of epochs."""
        engine.add_event_handler(Events.STARTED, self.load)
        engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.interval), self.save)

    def save(self, engine: Engine) -> None:
        """Write the state of all objects and how far `engine` is; of several processes, the first one does."""
        if idist.get_rank() > 0:
            return
        state: dict[str, Any] = {name: item.state_dict() for name, item in self.objects.items()}
        state["progress"] = {"epoch": engine.state.epoch, "iteration": engine.state.iteration}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".tmp")
        torch.save(state, temporary)
        os.replace(temporary, self.path)

    def load(self, engine: Engine) -> None:
        """Take up the saved state, if resuming was asked for and there is one."""
        if not (self.resume and self.path.is_file()):
            return
        state = torch.load(self.path, map_location=self.map_location, weights_only=True)
        for name, item in self.objects.items():
            item.load_state_dict(state[name])
        engine.state.epoch = state["progress"]["epoch"]
        engine.state.iteration = state["progress"]["iteration"]
        if self.randomized is not None:
            self.randomized.set_random_state(seed=(get_seed() or 0) + engine.state.epoch)
        logger.info("Resumed %s after epoch %d", self.path, engine.state.epoch)
