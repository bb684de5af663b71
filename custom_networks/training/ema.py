"""Exponential moving average of the weights, with its own batch statistics."""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import ignite.distributed as idist
import torch
import torch.distributed as dist
from ignite.engine import Engine, Events
from ignite.handlers import EMAHandler
from monai.engines.utils import IterationEvents
from torch import nn

BatchNorm = nn.modules.batchnorm._BatchNorm


def _copied_counter(norm: BatchNorm) -> torch.Tensor | None:
    """A copy of the batch counter; ignite, which cannot average integers, makes both networks share one tensor."""
    return None if norm.num_batches_tracked is None else norm.num_batches_tracked.clone()


def _batch_norms(network: nn.Module) -> list[BatchNorm]:
    """All BatchNorm layers of a network."""
    return [module for module in network.modules() if isinstance(module, BatchNorm)]


def estimate_batch_statistics(
    network: nn.Module, inputs: Iterable[torch.Tensor], inferer: Callable[[torch.Tensor, nn.Module], object]
) -> None:
    """Estimate mean and variance of every BatchNorm of `network` anew; each batch in `inputs` has the same weight.

    Unlike `torch.optim.swa_utils.update_bn`, it runs the network through an inferer, which casts as in training, and
    without dropout. The network is left in evaluation mode.
    """
    norms = _batch_norms(network)
    momenta = [norm.momentum for norm in norms]
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative: the plain mean over the batches
        norm.train()
    with torch.no_grad():
        for batch in inputs:
            inferer(batch, network)
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
        norm.eval()


class AveragedWeights(EMAHandler):
    """Handler that keeps the moving average of a network's weights in a second network (Polyak averaging).

    Averaged weights do not match averaged batch statistics. Therefore, before validation and at the end of training,
    the statistics of every BatchNorm are estimated again from the latest training inputs.

    Args:
        model: the network in training.
        averaged: a copy of it that receives the average, for validation and the final model.
        momentum: weight of the newest value in the average.
        batches: number of training inputs kept for the statistics.
        interval: epochs between two estimates, the same as between validations and between checkpoints. Another
            estimate follows the last epoch.
    """

    def __init__(
        self, model: nn.Module, averaged: nn.Module, momentum: float = 0.005, batches: int = 16, interval: int = 1
    ) -> None:
        super().__init__(model, momentum=momentum, handle_buffers="update")
        self.ema_model = averaged.requires_grad_(False).eval()
        self.interval = interval
        self._inputs: deque[torch.Tensor] = deque(maxlen=batches)

    def attach(self, engine: Engine, *args: object, **kwargs: object) -> None:
        """Follow `engine`, a MONAI trainer; the average starts from the weights that earlier handlers have loaded."""
        engine.add_event_handler(Events.STARTED, self._copy_weights)
        super().attach(engine, name="ema_momentum")
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._keep_inputs)  # before the batch is decollated
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._estimate_statistics)

    def _copy_weights(self) -> None:
        self.ema_model.load_state_dict(self.model.state_dict())

    def _keep_inputs(self, engine: Engine) -> None:
        output: Any = engine.state.output
        self._inputs.append(output["image"].detach())

    def _estimate_statistics(self, engine: Engine) -> None:
        if engine.state.epoch % self.interval and engine.state.epoch != engine.state.max_epochs:
            return
        for norm in _batch_norms(self.ema_model):
            norm.num_batches_tracked = _copied_counter(norm)
        estimate_batch_statistics(self.ema_model, self._inputs, engine.inferer)  # type: ignore[attr-defined]
        if idist.get_world_size() > 1:  # processes saw different inputs, so all use the statistics of the first one
            for buffer in self.ema_model.buffers():
                dist.broadcast(buffer, 0)
