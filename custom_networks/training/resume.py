"""Resume a training run that was interrupted."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.transforms.transform import Randomizable
from monai.utils.misc import get_seed

from custom_networks.errors import InputError
from custom_networks.files import refuse_damaged_weights
from custom_networks.training.checkpoints import save_whole

logger = logging.getLogger(__name__)


class ResumableState:
    """Keeps the state of a training run in one file, and restores it on request.

    MONAI's CheckpointSaver cannot save a bundle's trainer if it is one of the trainer's handlers, because each of the
    two would refer to the other.

    Args:
        path: file of the state, which is replaced atomically.
        objects: everything with a `state_dict`, by name: network, averaged network, optimizer, schedule, best score.
        facts: settings that identify this run, by name (lists of names, numbers). A state with other values is refused,
            because its network might be validated on cases it was trained on, or its optimizer and schedule would
            override the requested ones.
        interval: epochs between two states.
        resume: whether to start from the file if it exists.
        map_location: device to load to.
        randomized: random transforms. On resuming, they and PyTorch's generator (which shuffles and seeds worker
            processes) get a new seed that depends on the epoch; otherwise all parts of an interrupted run would draw
            the same samples.
    """

    def __init__(
        self,
        path: str,
        objects: Mapping[str, Any],
        facts: Mapping[str, Any] | None = None,
        interval: int = 1,
        resume: bool = False,
        map_location: torch.device | str | None = None,
        randomized: Randomizable | None = None,
    ) -> None:
        self.path = Path(path)
        self.objects = dict(objects)
        self.facts = dict(facts or {})
        self.interval = interval
        self.resume = resume
        self.map_location = map_location
        self.randomized = randomized

    def attach(self, engine: Engine) -> None:
        """Load when `engine` starts, and save after every `interval`-th epoch.

        Attach it after other handlers that load at the start, and after the handler that validates, so that the state
        contains the score of the same epoch. A run killed between saving the best weights and saving the state resumes
        with an older best score, so that slightly worse weights can replace the best ones; in the opposite order, the
        best weights would be lost.
        """
        engine.add_event_handler(Events.STARTED, self.load)
        engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.interval), self.save)

    def save(self, engine: Engine) -> None:
        """Write the state of all objects and the progress of `engine`; only the first of several processes writes."""
        state: dict[str, Any] = {name: item.state_dict() for name, item in self.objects.items()}
        state["progress"] = {"epoch": engine.state.epoch, "iteration": engine.state.iteration}
        save_whole({**state, "facts": self.facts}, self.path)

    def load(self, engine: Engine) -> None:
        """Restore the saved state, if there is one and resuming was requested.

        Raises:
            BundleError: the file is damaged.
            InputError: the state lacks an object or fact, or belongs to another run.
        """
        if not (self.resume and self.path.is_file()):
            return
        refuse_damaged_weights(self.path)
        state = torch.load(self.path, map_location=self.map_location, weights_only=True)
        self._check(state)
        for name, item in self.objects.items():
            item.load_state_dict(state[name])
        engine.state.epoch = state["progress"]["epoch"]
        engine.state.iteration = state["progress"]["iteration"]
        if self.randomized is not None:
            seed = (get_seed() or 0) + engine.state.epoch
            torch.manual_seed(seed)
            self.randomized.set_random_state(seed=seed)
        logger.info("Resumed %s after epoch %d", self.path, engine.state.epoch)

    def _check(self, state: Mapping[str, Any]) -> None:
        """Raise InputError if a saved state is incomplete or belongs to another run."""
        facts = state.get("facts", {})
        if missing := (self.objects.keys() - state.keys()) | (self.facts.keys() - facts.keys()):
            raise InputError(
                f"{self.path} was written by another version, without {', '.join(sorted(missing))}: "
                "delete it to start again, or continue with the version that wrote it."
            )
        if other := [name for name, value in self.facts.items() if facts[name] != value]:
            differences = "; ".join(_difference(name, facts[name], self.facts[name]) for name in other)
            raise InputError(
                f"{self.path} is the state of another run ({differences}): repeat that run's arguments to continue "
                "it, or give this run its own folders (RUN of make train; --output_dir and --ckpt_dir), or delete "
                f"{self.path.name} to start again."
            )


def _difference(name: str, before: Any, now: Any) -> str:
    """A phrase with the saved and the present value of a fact; for lists, with the items that only one of them has."""
    if isinstance(before, list) and isinstance(now, list):
        name += " that differ"
        before, now = (_few(sorted(set(one) - set(other))) for one, other in ((before, now), (now, before)))
    return f"{name}: {before} then, {now} now"


def _few(names: Sequence[str]) -> str:
    """A phrase with the first name and the number of others; "none" for no names."""
    if len(names) < 2:
        return names[0] if names else "none"
    return f"{names[0]} and {len(names) - 1} more"
