"""A training run that was cut off goes on where it stood."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.transforms.transform import Randomizable
from monai.utils.misc import get_seed

from custom_networks.errors import InputError
from custom_networks.training.checkpoints import save_whole

logger = logging.getLogger(__name__)


class ResumableState:
    """Keeps the state of a training run in one file, and takes it up again when asked to.

    (MONAI's CheckpointSaver cannot hold the trainer among a bundle's trainer's own handlers: a circular reference.)

    Args:
        path: file that holds the state; replaced as a whole.
        objects: what has a `state_dict`, by name: network, averaged network, optimizer, schedule, best score.
        interval: epochs between two states.
        resume: start from the file if it is there.
        map_location: device to load to.
        randomized: random transforms that are seeded anew by the epoch on resuming, with PyTorch's own generator, which
            shuffles and seeds worker processes; otherwise each part of a run that is cut off often would draw the
            same samples.
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
        """Load at the start of `engine`, after what other handlers loaded there, and save at the end of epochs.

        Put it after the handler that validates: the state then holds the score of the same epoch. A run killed between
        the two writes has better weights in the best's file than the score that it resumes with says, and repeats the
        epoch: weights between the two scores would replace them. The other way round, the best ones would be missing.
        """
        engine.add_event_handler(Events.STARTED, self.load)
        engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.interval), self.save)

    def save(self, engine: Engine) -> None:
        """Write the state of all objects and how far `engine` is; of several processes, the first one does."""
        state: dict[str, Any] = {name: item.state_dict() for name, item in self.objects.items()}
        state["progress"] = {"epoch": engine.state.epoch, "iteration": engine.state.iteration}
        save_whole(state, self.path)

    def load(self, engine: Engine) -> None:
        """Take up the saved state, if resuming was asked for and there is one.

        Raises:
            InputError: the state is not that of these objects.
        """
        if not (self.resume and self.path.is_file()):
            return
        state = torch.load(self.path, map_location=self.map_location, weights_only=True)
        if missing := self.objects.keys() - state.keys():
            raise InputError(
                f"{self.path} was written by another version, without {', '.join(sorted(missing))}: "
                "delete it to start anew, or go on with the version that wrote it."
            )
        for name, item in self.objects.items():
            item.load_state_dict(state[name])
        engine.state.epoch = state["progress"]["epoch"]
        engine.state.iteration = state["progress"]["iteration"]
        if self.randomized is not None:
            seed = (get_seed() or 0) + engine.state.epoch
            torch.manual_seed(seed)
            self.randomized.set_random_state(seed=seed)
        logger.info("Resumed %s after epoch %d", self.path, engine.state.epoch)
