"""multi_gpu_train.json and multi_gpu_evaluate.json in two CPU processes (gloo), compared with one process."""

import csv
import json
import statistics
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.slow

BundleRun = Callable[..., "subprocess.CompletedProcess[str]"]
EPOCHS, STEPS = 6, 10
BATCH_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")  # each process has those of its own stacks
# A folder for each process, in which it leaves what it has at the end.
OWN_FOLDERS = {name: f"${{folder!r}} + '/{name}' + os.environ.get('RANK', '0')" for name in ("ckpt_dir", "output_dir")}
AFTERWARDS = {
    "own": {
        "network": "$@bare_network.state_dict()",
        "ema": "$@averaged_network.state_dict()",
        "metrics": "$dict(@validate#evaluator.state.metrics)",
    },
    "run": [
        "$@train#trainer.run()",
        {"_target_": "torch.save", "obj": "@own", "f": "${folder!r} + '/' + os.environ.get('RANK', '0') + '.pt'"},
    ],
}


@pytest.fixture(scope="module")
def three_to_validate(msd_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data list with four training cases and three validation cases, which two processes cannot share evenly."""
    cases = json.loads((msd_folder / "dataset.json").read_text())["training"]
    path = tmp_path_factory.mktemp("list") / "dataset.json"
    again = [{**case, "group": f"again {n}"} for n, case in enumerate(cases[:3])]  # of patients not trained on
    path.write_text(json.dumps({"training": cases, "dev": again}))
    return path


class Training:
    """Results of a run: its output, and the last state and the folders of each process."""

    def __init__(self, run: "subprocess.CompletedProcess[str]", folder: Path, processes: int) -> None:
        assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
        self.output, self.folder = run.stdout, folder
        self.states = [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(processes)]

    def losses(self) -> list[float]:
        """The first process's mean training loss of each epoch."""
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(self.folder / "output_dir0")).Reload()
        tag = next(tag for tag in events.Tags()["scalars"] if tag.startswith("train_loss"))
        steps = {event.step: event.value for event in events.Scalars(tag)}
        return [statistics.mean(steps[e * STEPS + i + 1] for i in range(STEPS)) for e in range(EPOCHS)]


@pytest.fixture(scope="module")
def train(
    bundle_run: BundleRun, three_to_validate: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Training]:
    """Train with a batch of four stacks, shared by the processes."""

    def trained(processes: int, **overrides: Any) -> Training:
        folder = tmp_path_factory.mktemp(f"by{processes}")
        extra = folder / "afterwards.json"
        text = json.dumps({**OWN_FOLDERS, **AFTERWARDS}).replace("{folder!r}", repr(str(folder)))
        extra.write_text(text)
        names = ["train", *["multi_gpu_train"] * (processes > 1), extra.with_suffix("")]
        given = {
            "datalist": three_to_validate,
            "fold": "all",
            "epochs": EPOCHS,
            "epoch_length": STEPS,
            "val_interval": EPOCHS,
            "batch_size": 4 // processes,
            "patch_size": [32, 32],
            "patch_slices": 2,
            "lr_scheduler#warmup_steps": 5,
            "learning_rate": 0.01,
        }
        return Training(bundle_run(*names, processes=processes, **{**given, **overrides}), folder, processes)

    return trained


@pytest.fixture(scope="module")
def two(train: Callable[..., Training]) -> Training:
    return train(2)


@pytest.fixture(scope="module")
def one(train: Callable[..., Training]) -> Training:
    return train(1)


def test_both_processes_end_with_the_same_weights_bit_for_bit(two: Training) -> None:
    first, second = two.states
    parameters = [name for name in first["network"] if not name.endswith(BATCH_STATISTICS)]
    assert len(parameters) > 100
    assert [name for name in parameters if not torch.equal(first["network"][name], second["network"][name])] == []
    assert [name for name in first["ema"] if not torch.equal(first["ema"][name], second["ema"][name])] == []


def test_the_loss_decreases_as_in_one_process_with_the_same_batch_size(one: Training, two: Training) -> None:
    alone, together = one.losses(), two.losses()
    print("mean loss of each epoch:", *(f"{a:.3f}/{b:.3f}" for a, b in zip(alone, together)))
    assert statistics.mean(together[-3:]) < 0.85 * together[0]  # single epochs of ten steps scatter by a tenth
    # The stacks drawn are not the same ones: an epoch's mean over a few of them says less than that of all epochs.
    assert together == pytest.approx(alone, rel=0.3)
    assert sum(together) == pytest.approx(sum(alone), rel=0.1)


def test_only_the_first_process_writes_and_both_have_its_weights(two: Training) -> None:
    # MONAI's TensorBoard handler opens its file when it is made; the second process's stays without an entry.
    others = [path.name for folder in two.folder.glob("*_dir1") for path in folder.iterdir()]
    assert [name for name in others if not name.startswith("events.out.tfevents")] == []
    assert sorted(path.name for path in (two.folder / "ckpt_dir0").iterdir()) == ["model.pt", "model_final.pt"]
    final = torch.load(two.folder / "ckpt_dir0" / "model_final.pt", weights_only=True)
    assert all(torch.equal(value, two.states[1]["ema"][name]) for name, value in final.items())


def test_processes_with_fewer_cases_than_the_batch_size_can_train(train: Callable[..., Training]) -> None:
    one_case_each = train(2, fold=0, folds=2, epochs=1, epoch_length=2, val_interval=2)
    state = torch.load(one_case_each.folder / "output_dir0" / "last.pt", weights_only=True)
    assert state["progress"] == {"epoch": 1, "iteration": 2}
    assert {int(kept["step"]) for kept in state["optimizer"]["state"].values()} == {2}


def test_processes_without_a_case_to_validate_on_train_on_all(train: Callable[..., Training], msd_folder: Path) -> None:
    whole = train(2, datalist=msd_folder / "dataset.json", epochs=1, epoch_length=2, val_interval=1)
    assert "so nothing is validated" in whole.output
    assert sorted(path.name for path in (whole.folder / "ckpt_dir0").iterdir()) == ["model.pt", "model_final.pt"]


def test_validation_metrics_equal_those_of_one_process_with_all_cases(
    two: Training, bundle_run: BundleRun, three_to_validate: Path, tmp_path: Path
) -> None:
    metrics = [state["metrics"] for state in two.states]
    assert metrics[0] == metrics[1]
    alone = {
        "start_from": str(two.folder / "ckpt_dir0" / "model_final.pt"),
        "loaded": {"_target_": "torch.load", "f": "@start_from", "weights_only": True},
        "metrics": "$dict(@validate#evaluator.state.metrics)",
        "validate#handlers": [],
        "run": [
            "$@network.load_state_dict(@loaded)",
            "$@validate#evaluator.run()",
            {"_target_": "torch.save", "obj": "@metrics", "f": str(tmp_path / "metrics.pt")},
        ],
        "validate#evaluator#network": "@network",
    }
    (tmp_path / "alone.json").write_text(json.dumps(alone))
    run = bundle_run("train", tmp_path / "alone", datalist=three_to_validate, fold="all", output_dir=tmp_path)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert torch.load(tmp_path / "metrics.pt", weights_only=True) == pytest.approx(metrics[0], abs=1e-6)


def test_two_processes_score_each_case_once_and_as_one_process_does(
    two: Training, bundle_run: BundleRun, three_to_validate: Path, tmp_path: Path
) -> None:
    def cases(processes: int) -> list[dict[str, str]]:
        folder = tmp_path / str(processes)
        names = ["train", "evaluate", *["multi_gpu_evaluate"] * (processes > 1)]
        weights = two.folder / "ckpt_dir0" / "model_final.pt"
        data = {"datalist": three_to_validate, "fold": "all", "checkpoint": weights, "output_dir": folder}
        # What so short a training calls liver hangs by threads.
        run = bundle_run(*names, processes=processes, **data, **{"anatomy#1#neck_mm": 0.0})
        assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
        with (folder / "cases.csv").open(newline="") as stream:
            return sorted(csv.DictReader(stream), key=lambda row: row["case"])

    rows = cases(2)
    assert [row["case"] for row in rows] == ["phantom_1", "phantom_2", "phantom_3"]
    assert any(float(row["liver_dice"]) > 0 for row in rows)
    assert rows == cases(1)
