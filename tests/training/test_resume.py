"""A run that was interrupted and resumed ends with the same weights as an uninterrupted one."""

import re
from copy import deepcopy
from pathlib import Path
from typing import IO, Any

import pytest
import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedTrainer
from monai.handlers import LrScheduleHandler
from monai.optimizers import WarmupCosineSchedule
from monai.transforms.transform import Randomizable
from torch import nn

from custom_networks.errors import InputError
from custom_networks.training import AveragedWeights, BestModelSaver, ResumableState

STEPS = 3  # an epoch


class Run:
    """All parts of a training process, as in train.json, around a network with 33 weights."""

    def __init__(self, folder: Path, epochs: int, seed: int = 0, **state: Any) -> None:
        torch.manual_seed(seed)
        self.network = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 1))
        self.ema = AveragedWeights(self.network, deepcopy(self.network), momentum=0.25, batches=STEPS)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=0.02)
        self.schedule = WarmupCosineSchedule(self.optimizer, warmup_steps=2, t_total=4 * STEPS, warmup_multiplier=0.1)
        self.path = folder / "models" / "last.pt"
        self.objects: dict[str, Any] = {
            "network": self.network,
            "ema": self.ema.ema_model,
            "optimizer": self.optimizer,
            "lr_scheduler": self.schedule,
        }
        generator = torch.Generator().manual_seed(1)
        batches = [torch.randn(5, 2, generator=generator) for _ in range(STEPS)]
        self.trainer = SupervisedTrainer(
            device=torch.device("cpu"),
            max_epochs=epochs,
            train_data_loader=[{"image": x, "label": x.sum(1, keepdim=True)} for x in batches],
            network=self.network,
            optimizer=self.optimizer,
            loss_function=nn.MSELoss(),
            train_handlers=[
                self.ema,
                ResumableState(str(self.path), self.objects, map_location="cpu", **state),
                LrScheduleHandler(self.schedule, print_lr=False, epoch_level=False),
            ],
        )
        self.epochs_run: list[int] = []
        self.trainer.add_event_handler(Events.EPOCH_STARTED, lambda: self.epochs_run.append(self.trainer.state.epoch))

    def go(self) -> "Run":
        self.trainer.run()
        return self

    def weights(self) -> dict[str, torch.Tensor]:
        state = {f"network.{name}": value.clone() for name, value in self.network.state_dict().items()}
        return state | {f"ema.{name}": value.clone() for name, value in self.ema.ema_model.state_dict().items()}


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def test_one_epoch_and_a_resumed_second_equal_two_epochs_bit_for_bit(tmp_path: Path) -> None:
    straight = Run(tmp_path / "straight", epochs=2).go()
    Run(tmp_path / "cut", epochs=1).go()
    resumed = Run(tmp_path / "cut", epochs=2, seed=7, resume=True).go()  # seed 7: weights of its own, to be replaced
    assert resumed.epochs_run == [2]
    assert resumed.trainer.state.iteration == straight.trainer.state.iteration == 2 * STEPS
    assert resumed.schedule.get_last_lr() == straight.schedule.get_last_lr()
    assert_same(resumed.weights(), straight.weights())
    assert_same(torch.load(resumed.path)["network"], torch.load(straight.path)["network"])


def test_a_run_killed_during_an_epoch_repeats_the_epoch(tmp_path: Path) -> None:
    straight = Run(tmp_path / "straight", epochs=2).go()
    killed = Run(tmp_path / "cut", epochs=2)

    @killed.trainer.on(Events.ITERATION_COMPLETED(once=STEPS + 1))
    def kill() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed.go()
    assert_same(Run(tmp_path / "cut", epochs=2, seed=7, resume=True).go().weights(), straight.weights())


def test_resuming_a_finished_run_does_not_train_and_keeps_the_final_weights(tmp_path: Path) -> None:
    finished = Run(tmp_path, epochs=1).go()
    again = Run(tmp_path, epochs=1, seed=7, resume=True).go()
    assert again.epochs_run == []
    assert_same(again.weights(), finished.weights())


def test_resume_without_a_file_starts_from_the_beginning(tmp_path: Path) -> None:
    plain = Run(tmp_path / "plain", epochs=1).go()
    resuming = Run(tmp_path / "empty", epochs=1, resume=True).go()
    assert resuming.epochs_run == [1]
    assert_same(resuming.weights(), plain.weights())


def test_the_state_file_is_ignored_unless_resuming_is_requested(tmp_path: Path) -> None:
    Run(tmp_path, epochs=2, seed=7).go()
    fresh = Run(tmp_path, epochs=1).go()
    assert fresh.epochs_run == [1]
    assert_same(fresh.weights(), Run(tmp_path / "elsewhere", epochs=1).go().weights())


def test_only_the_state_file_is_written_and_it_loads_with_weights_only(tmp_path: Path) -> None:
    run = Run(tmp_path, epochs=2).go()
    assert [path.name for path in run.path.parent.iterdir()] == ["last.pt"]
    state = torch.load(run.path, weights_only=True)
    assert set(state) == {"network", "ema", "optimizer", "lr_scheduler", "progress", "facts"}
    assert state["progress"] == {"epoch": 2, "iteration": 2 * STEPS}


def test_an_interrupted_save_leaves_the_earlier_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path, epochs=1).go()

    def disk_full(state: Any, stream: IO[bytes]) -> None:
        stream.write(b"half a file")
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", disk_full)
    with pytest.raises(OSError, match="No space left"):
        Run(tmp_path, epochs=2, resume=True).go()
    assert torch.load(run.path, weights_only=True)["progress"]["epoch"] == 1


def test_state_is_saved_every_interval_epochs(tmp_path: Path) -> None:
    run = Run(tmp_path, epochs=3, interval=2)
    saved: list[int | None] = []

    @run.trainer.on(Events.EPOCH_COMPLETED)
    def look(engine: Engine) -> None:
        saved.append(torch.load(run.path)["progress"]["epoch"] if run.path.is_file() else None)

    run.go()
    assert saved == [None, 2, 2]


def validated(folder: Path, scores: list[float]) -> int:
    """Continue training for one epoch per validation score; return the epoch whose weights are in model.pt."""
    network = nn.Linear(1, 1, bias=False)
    trainer, validator = (Engine(lambda engine, batch: None) for _ in range(2))
    best = BestModelSaver(str(folder), {"model": network})
    validator.add_event_handler(Events.EPOCH_STARTED, lambda engine: score(engine))
    best.attach(validator)

    def score(engine: Engine) -> None:
        engine.state.key_metric_name, engine.state.metrics = "dice", {"dice": scores[trainer.state.epoch - 1]}

    @trainer.on(Events.EPOCH_COMPLETED)
    def validate(engine: Engine) -> None:
        nn.init.constant_(network.weight, engine.state.epoch)
        validator.run([0])

    ResumableState(str(folder / "last.pt"), {"best": best}, resume=True).attach(trainer)
    trainer.run([0], max_epochs=len(scores))
    return int(torch.load(folder / "model.pt", weights_only=True)["weight"])


def test_resumed_run_overwrites_the_best_weights_only_with_better_ones(tmp_path: Path) -> None:
    assert validated(tmp_path, [0.3, 0.6, 0.5]) == 2
    assert validated(tmp_path, [0.3, 0.6, 0.5, 0.4]) == 2
    assert validated(tmp_path, [0.3, 0.6, 0.5, 0.4, 0.7]) == 5


def test_resumed_run_whose_best_weights_are_gone_keeps_the_next_best(tmp_path: Path) -> None:
    validated(tmp_path, [0.3, 0.6])
    (tmp_path / "model.pt").unlink()
    assert validated(tmp_path, [0.3, 0.6, 0.4, 0.5]) == 4


def test_a_state_that_lacks_an_object_is_refused_with_its_name(tmp_path: Path) -> None:
    Run(tmp_path, epochs=1).go()
    older = Run(tmp_path, epochs=2, resume=True)
    older.objects["best"] = older.ema.ema_model
    with pytest.raises(InputError, match="last.pt was written by another version, without best"):
        ResumableState(str(older.path), older.objects, resume=True).load(older.trainer)


FACTS = {"training images": ["a.nii", "b.nii", "c.nii"], "seed": 0}


@pytest.mark.parametrize(
    "fact, difference",
    [
        ({"seed": 1}, "seed: 0 then, 1 now"),
        ({"training images": ["b.nii", "d.nii"]}, "that differ: a.nii and 1 more then, d.nii now"),
        ({"training images": ["a.nii", "b.nii"]}, "that differ: c.nii then, none now"),
        ({"training images": ["d.nii"], "seed": 2}, "a.nii and 2 more then, d.nii now; seed: 0 then, 2 now"),
    ],
)
def test_a_state_of_another_run_is_kept_and_refused_with_the_differences(
    tmp_path: Path, fact: dict[str, Any], difference: str
) -> None:
    before = Run(tmp_path, epochs=1, facts=FACTS).go().path.read_bytes()
    other = Run(tmp_path, epochs=2, resume=True, facts={**FACTS, **fact})
    with pytest.raises(InputError, match=re.escape(difference)) as refused:
        other.go()
    assert "last.pt is the state of another run (" in str(refused.value) and "--output_dir" in str(refused.value)
    assert other.epochs_run == [] and other.path.read_bytes() == before


def test_a_state_of_the_same_run_is_resumed_and_one_without_facts_is_refused(tmp_path: Path) -> None:
    Run(tmp_path, epochs=1).go()
    with pytest.raises(InputError, match="by another version, without seed, training images: delete it"):
        Run(tmp_path, epochs=2, resume=True, facts=FACTS).go()
    Run(tmp_path, epochs=1, facts=FACTS).go()
    assert Run(tmp_path, epochs=2, resume=True, facts=dict(FACTS)).go().epochs_run == [2]


def test_a_resumed_run_draws_other_samples_than_its_first_part(tmp_path: Path) -> None:
    Run(tmp_path, epochs=2).go()

    class Drawn(Randomizable):
        def randomize(self, data: Any = None) -> None:
            """Do nothing."""

    order = []
    for epochs in (0, 2):
        run = Run(tmp_path if epochs else tmp_path / "new", epochs=3, resume=True, randomized=Drawn())
        run.trainer.add_event_handler(Events.STARTED, lambda: order.append(torch.randperm(1000).tolist()))
        torch.manual_seed(0)  # as "initialize" does at every start
        run.go()
    assert order[0] != order[1]
