"""Diverging training stops with an error that says how to continue, and keeps the last good state."""

import json
from math import inf, isfinite, nan
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedTrainer
from monai.handlers import CheckpointLoader
from torch import Tensor, nn

from custom_networks.errors import InputError
from custom_networks.training import FinalModelSaver, FiniteLossGuard, ResumableState

TRAIN = Path(__file__).resolve().parents[2] / "bundle" / "configs" / "train.json"


def training(folder: Path, losses: list[float], spoilt_at: int | None = None) -> SupervisedTrainer:
    """Run three epochs of two steps with the given losses; a weight is set to infinity after step `spoilt_at`."""
    network = nn.Linear(1, 1)
    left = iter(losses)

    def loss(pred: Tensor, label: Tensor) -> Tensor:
        return pred.sum() * 0 + next(left)

    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=3,
        train_data_loader=[{"image": torch.ones(2, 1), "label": torch.ones(2, 1)}] * 2,
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.1),
        loss_function=loss,
        train_handlers=[
            FiniteLossGuard(network, str(folder / "last.pt")),
            ResumableState(str(folder / "last.pt"), {"network": network, "ema": network}),
            FinalModelSaver(str(folder), network),
        ],
    )

    @trainer.on(Events.ITERATION_COMPLETED)
    def spoil(engine: Engine) -> None:
        if engine.state.iteration == spoilt_at:
            nn.init.constant_(network.weight, inf)

    return trainer


def assert_stopped_with_the_state_of_epoch_1(folder: Path, trainer: SupervisedTrainer, said: str) -> None:
    with pytest.raises(InputError) as error:
        trainer.run()
    assert said in str(error.value)
    assert f"{folder / 'last.pt'} still contains the state of epoch 1." in str(error.value)
    assert f"run with --start_from {folder / 'last.pt'}" in str(error.value)
    assert [path.name for path in folder.iterdir()] == ["last.pt"]
    state = torch.load(folder / "last.pt", weights_only=True)
    assert state["progress"]["epoch"] == 1 and all(isfinite(float(value)) for value in state["network"].values())


@pytest.mark.parametrize("bad", [nan, inf, -inf])
def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_previous_epochs_state(
    tmp_path: Path, bad: float
) -> None:
    said = f"Training stopped at step 4 (epoch 2), because the loss is {bad};"
    assert_stopped_with_the_state_of_epoch_1(tmp_path, training(tmp_path, [1, 1, 1, bad]), said)


def test_infinite_weights_after_the_last_step_of_an_epoch_are_not_saved(tmp_path: Path) -> None:
    said = "Training stopped at step 4 (epoch 2), because weights are not finite;"
    assert_stopped_with_the_state_of_epoch_1(tmp_path, training(tmp_path, [1] * 6, spoilt_at=4), said)


def test_in_the_first_epoch_the_message_names_no_state_to_start_from(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="no state has been saved yet. Start again with a lower --learning_rate, or look"
    ):
        training(tmp_path, [1, nan]).run()
    assert list(tmp_path.iterdir()) == []


def test_training_with_finite_losses_ends_normally(tmp_path: Path) -> None:
    training(tmp_path, [1, 2, 3, 4, 5, 6]).run()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.pt", "model_final.pt"]


@pytest.mark.parametrize("name", ["last.pt", "model_final.pt"])
def test_a_new_run_starts_from_the_averaged_weights_of_a_state_or_from_weights_alone(tmp_path: Path, name: str) -> None:
    training(tmp_path, [1] * 6).run()
    average = nn.Linear(1, 1)
    if name == "last.pt":
        state = torch.load(tmp_path / name, weights_only=True)
        torch.save({**state, "ema": average.state_dict()}, tmp_path / name)
    else:
        torch.save(average.state_dict(), tmp_path / name)
    network = nn.Linear(1, 1)
    (key,) = json.loads(TRAIN.read_text(encoding="utf-8"))["train"]["handlers"][0]["load_dict"]
    CheckpointLoader(str(tmp_path / name), {key: network})(Engine(lambda engine, batch: None))
    assert torch.equal(network.weight, average.weight)
