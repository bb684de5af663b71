"""The averaged network: weights worked by hand, and batch statistics of the kept inputs."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedTrainer
from monai.inferers import SimpleInferer
from torch import Tensor, nn

from custom_networks.training import AveragedWeights


class Scale(nn.Module):
    """Multiplies by one weight, then normalises; the statistics of BatchNorm are those of `weight * input`."""

    def __init__(self, momentum: float | None = 0.1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.norm = nn.BatchNorm1d(1, momentum=momentum)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(self.weight * x)
        return out


class CountingInferer(SimpleInferer):
    """Records the networks that it ran, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.ran: list[nn.Module] = []

    def __call__(self, inputs: Tensor, network: Any, *args: Any, **kwargs: Any) -> Any:
        self.ran.append(network)
        return super().__call__(inputs, network)


BATCHES = [[0.0, 2.0], [4.0, 6.0], [8.0, 12.0]]  # means 1, 5, 10; unbiased variances 2, 2, 8


def trainer(
    network: Scale, handlers: Sequence[Any], epochs: int = 1, batches: Sequence[list[float]] = tuple(BATCHES)
) -> SupervisedTrainer:
    """A trainer in which each step decreases the weight by 0.5 for any input."""
    images = [torch.tensor(batch).reshape(2, 1) for batch in batches]
    return SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=epochs,
        train_data_loader=[{"image": image, "label": image} for image in images],
        network=network,
        optimizer=torch.optim.SGD([network.weight], lr=0.5),
        loss_function=lambda prediction, label: network.weight.sum() + 0 * prediction.sum(),
        inferer=CountingInferer(),
        train_handlers=list(handlers),
    )


def test_average_after_two_steps_is_the_moving_average_by_hand() -> None:
    network = Scale()
    ema = AveragedWeights(network, deepcopy(network), momentum=0.25)
    trainer(network, [ema], batches=BATCHES[:2]).run()
    # the weight goes 1, 0.5, 0; the average 1, 0.75 * 1 + 0.25 * 0.5 = 0.875, 0.75 * 0.875 + 0 = 0.65625
    assert float(network.weight) == 0.0
    assert float(ema.ema_model.weight) == 0.65625


def test_batch_statistics_are_those_of_the_kept_inputs_in_the_averaged_network() -> None:
    network = Scale()
    ema = AveragedWeights(network, deepcopy(network), momentum=0.25, batches=2)
    trainer(network, [ema]).run()
    average = ema.ema_model
    weight = 0.75 * 0.65625 + 0.25 * -0.5
    assert float(average.weight) == pytest.approx(weight)
    # of the last two inputs: mean (5 + 10) / 2, variance (2 + 8) / 2, scaled
    assert float(average.norm.running_mean[0]) == pytest.approx(7.5 * weight)
    assert float(average.norm.running_var[0]) == pytest.approx(5.0 * weight**2)


def test_statistics_are_estimated_anew_each_epoch_and_do_not_accumulate() -> None:
    network = Scale()
    ema = AveragedWeights(network, deepcopy(network), momentum=0.25, batches=3)
    trainer(network, [ema], epochs=3).run()
    weight = float(ema.ema_model.weight)
    mean = ema.ema_model.norm.running_mean
    assert mean is not None and float(mean) == pytest.approx((1 + 5 + 10) / 3 * weight)


def test_averaged_network_stays_in_evaluation_with_its_own_momentum() -> None:
    network = Scale(momentum=0.3)
    ema = AveragedWeights(network, deepcopy(network))
    trainer(network, [ema], epochs=2).run()
    assert not any(module.training for module in ema.ema_model.modules())
    assert ema.ema_model.norm.momentum == 0.3
    assert network.training


@pytest.mark.parametrize("momentum", [0.1, None])
def test_network_in_training_is_the_same_with_and_without_its_average(momentum: float | None) -> None:
    followed, alone = Scale(momentum), Scale(momentum)
    trainer(followed, [AveragedWeights(followed, deepcopy(followed), batches=2)], epochs=2).run()
    trainer(alone, [], epochs=2).run()
    for name, value in alone.state_dict().items():
        assert torch.equal(followed.state_dict()[name], value), name


class LoadAtStart:
    """Replaces a CheckpointLoader: sets the weights when the run starts."""

    def __init__(self, network: Scale) -> None:
        self.network = network

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, lambda: self.network.weight.data.fill_(5.0))


def test_the_average_is_written_to_the_given_network() -> None:
    network = Scale()
    averaged = deepcopy(network)
    trainer(network, [AveragedWeights(network, averaged, momentum=0.25)], batches=BATCHES[:1]).run()
    assert float(averaged.weight) == 0.75 * 1 + 0.25 * 0.5 and not averaged.weight.requires_grad


def test_weights_loaded_at_the_start_by_an_earlier_handler_are_used() -> None:
    network = Scale()
    ema = AveragedWeights(network, deepcopy(network), momentum=0.25)
    trainer(network, [LoadAtStart(network), ema], batches=BATCHES[:1]).run()
    assert float(ema.ema_model.weight) == 0.75 * 5.0 + 0.25 * 4.5


def epochs_with_estimate(interval: int, epochs: int) -> list[int]:
    network = Scale()
    ema = AveragedWeights(network, deepcopy(network), batches=1, interval=interval)
    engine = trainer(network, [ema], epochs=epochs)
    found: list[int] = []

    @engine.on(Events.EPOCH_COMPLETED)  # a later handler, as validation is
    def note() -> None:
        ran = engine.inferer.ran
        if ran[-1] is ema.ema_model:
            found.append(engine.state.epoch)

    engine.run()
    return found


@pytest.mark.parametrize(
    ("interval", "epochs", "expected"), [(1, 3, [1, 2, 3]), (2, 5, [2, 4, 5]), (2, 4, [2, 4]), (9, 3, [3])]
)
def test_statistics_are_estimated_before_validation_every_interval_and_at_the_last_epoch(
    interval: int, epochs: int, expected: list[int]
) -> None:
    assert epochs_with_estimate(interval, epochs) == expected
