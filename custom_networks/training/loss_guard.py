"""Stop a diverging training run with an error, and keep its last good state on disk."""

from math import isfinite
from pathlib import Path

import torch
from ignite.engine import Engine, Events
from monai.handlers.utils import from_engine
from torch import nn

from custom_networks.errors import InputError


class FiniteLossGuard:
    """Stops training with an InputError if the loss (or, at the end of an epoch, a weight) is not finite.

    ignite's TerminateOnNan ends training as if it were complete, so that the final weights would be saved.

    Attach it before handlers that validate or save.

    Args:
        network: the network in training.
        state_file: file of `ResumableState`, which saves after each epoch.
    """

    def __init__(self, network: nn.Module, state_file: str) -> None:
        self.network = network
        self.state_file = Path(state_file)

    def attach(self, engine: Engine) -> None:
        """Check the loss after each step of `engine`, a MONAI trainer, and the weights after each epoch."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.check_loss)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.check_weights)

    def check_loss(self, engine: Engine) -> None:
        """Raise InputError if the loss of this step is not finite."""
        loss = float(from_engine(["loss"], first=True)(engine.state.output))
        if not isfinite(loss):
            raise InputError(self._stopped(engine, f"the loss is {loss}"))

    def check_weights(self, engine: Engine) -> None:
        """Raise InputError if a weight is not finite; the step that caused it may have had a finite loss."""
        if not all(bool(torch.isfinite(weight).all()) for weight in self.network.parameters()):
            raise InputError(self._stopped(engine, "weights are not finite"))

    def _stopped(self, engine: Engine, reason: str) -> str:
        """The message of the error: when and why training stopped, and how to continue."""
        epoch = engine.state.epoch
        go_on = "no state has been saved yet. Start again with a lower --learning_rate"
        if epoch > 1:
            go_on = (
                f"{self.state_file} still contains the state of epoch {epoch - 1}. Start a new run with "
                f"--start_from {self.state_file}, new folders and a lower --learning_rate"
            )
        return (
            f"Training stopped at step {engine.state.iteration} (epoch {epoch}), because {reason}; {go_on}, or look "
            "for damaged images among the training cases."
        )
