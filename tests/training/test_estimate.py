"""A run's estimates of memory (from headers), time (from its first steps) and waiting for data."""

import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser
from monai.data import CacheDataset
from monai.transforms import Compose

from custom_networks.phantom import make_phantom
from custom_networks.training import TrainingPace, announce_cache
from custom_networks.training import estimate as module
from custom_networks.training.data import training_cases

ROOT = Path(__file__).resolve().parents[2]
Log = pytest.LogCaptureFixture


@pytest.fixture
def log(caplog: Log) -> Iterator[Log]:
    with caplog.at_level(logging.INFO, logger=module.__name__):
        yield caplog


def header(folder: Path, name: str, shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> dict[str, str]:
    nib.save(nib.Nifti1Image(np.zeros(shape, np.uint8), np.diag([*spacing, 1.0])), folder / name)
    return {"image": str(folder / name), "label": "unused"}


def test_the_cache_takes_three_bytes_per_resampled_voxel(
    tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 100 x 100 pixels of 0.625 mm become 50 x 50 of 1.25 mm: 50 * 50 * 10 * 3 bytes each, shown as GiB
    monkeypatch.setattr(module, "GIB", 1000)
    cases = [header(tmp_path, f"{i}.nii.gz", (100, 100, 10), (0.625, 0.625, 3.0)) for i in range(4)]
    cases.append({"image": "somewhere.nrrd", "label": "unused"})
    announce_cache(cases, spacing=1.25, cache_rate=0.6)
    assert "3 of 5 cases, 1 process, about 225.0 GiB" in log.text


def test_a_cache_that_does_not_fit_causes_a_warning_with_a_rate_that_does(
    tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [header(tmp_path, f"{i}.nii.gz", (50, 50, 10), (1.25, 1.25, 3.0)) for i in range(4)]
    monkeypatch.setattr(module, "_machine_memory", lambda: 300_000.0)  # just what the cache takes: 70 % of it is free
    announce_cache(cases, spacing=1.25)
    assert "use --cache_rate 0.70" in log.text
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    announce_cache(cases, spacing=1.25)
    assert "2 processes" in log.text and "use --cache_rate 0.35" in log.text


def test_a_containers_limit_below_the_machines_memory_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = (tmp_path / "memory.max", tmp_path / "not there")
    monkeypatch.setattr(module, "CONTAINER_LIMITS", limits)
    machine = module._machine_memory()
    for text, expected in (("max\n", machine), ("1000\n", 1000.0), (f"{2**63}\n", machine)):
        limits[0].write_text(text)
        assert module._machine_memory() == expected


def test_cases_without_readable_headers_are_left_to_the_readers(log: Log) -> None:
    announce_cache([{"image": "/nowhere/a.nii.gz"}], 1.25)
    assert log.text == ""


def test_the_cache_of_train_json_has_the_announced_size_and_is_not_changed_by_drawing(tmp_path: Path) -> None:
    phantom = make_phantom(3, shape=(96, 80, 16), spacing=(0.9, 0.9, 5.0), lesions=1)
    image = tmp_path / "ct.nii.gz"
    nib.save(nib.Nifti1Image(np.asarray(phantom.image), phantom.affine), image)
    nib.save(nib.Nifti1Image(np.asarray(phantom.label), phantom.affine), tmp_path / "label.nii.gz")
    (tmp_path / "dataset.json").write_text('{"training": [{"image": "ct.nii.gz", "label": "label.nii.gz"}]}')
    config = ConfigParser()
    config.read_config(ROOT / "bundle" / "configs" / "train.json")
    config["train"]["augmentation"] = []
    config["dataset_dir"], config["fold"], config["patch_size"] = str(tmp_path), "all", [16, 16]
    dataset = config.get_parsed_content("train#dataset")
    assert isinstance(dataset, CacheDataset) and isinstance(dataset.transform, Compose)
    (cached,) = dataset._cache
    before = {key: cached[key].clone() for key in ("image", "label")}
    assert {key: str(cached[key].dtype) for key in before} == {"image": "torch.float16", "label": "torch.uint8"}
    stored = sum(cached[key].nbytes for key in before)
    assert stored == pytest.approx(module._cached_bytes(str(image), 1.25), rel=0.02)
    (stack,) = dataset[0]
    assert str(stack["image"].dtype) == "torch.float32"
    stack["image"].fill_(7)
    stack["label"].fill_(7)
    assert all(np.array_equal(cached[key], before[key]) for key in before)
    # float16 keeps a windowed value to within a quarter of a thousandth: 0.1 HU of 400
    exact = dataset.transform(training_cases(str(tmp_path / "dataset.json"), str(tmp_path), "all")[0], end=5)["image"]
    assert float((exact - cached["image"].float()).abs().max()) <= 2**-12


def run(pace: TrainingPace, epochs: int, steps: int, seconds: float, waiting: float, start_epoch: int = 0) -> None:
    """Run a trainer whose steps take `seconds`, after `waiting` seconds for each batch."""

    class Slow:
        def __iter__(self) -> Iterator[int]:
            for batch in range(steps):
                time.sleep(waiting)
                yield batch

    trainer = Engine(lambda engine, batch: time.sleep(seconds))
    trainer.add_event_handler(Events.STARTED, lambda: setattr(trainer.state, "epoch", start_epoch))
    pace.attach(trainer)
    trainer.run(Slow(), max_epochs=epochs, epoch_length=steps)


def test_the_estimate_after_the_first_steps_includes_all_steps_of_the_run(log: Log) -> None:
    run(TrainingPace(steps=4), epochs=100, steps=5, seconds=0.0, waiting=0.0)
    (line,) = [r.getMessage() for r in log.records if "steps of about" in r.getMessage()]
    assert (
        line.startswith("500 steps of about 0.0") and "and validation; peak memory so far" in line and "(cpu)" in line
    )


def test_the_estimate_of_a_resumed_run_includes_only_the_remaining_steps(log: Log) -> None:
    pace = TrainingPace(steps=2)
    trainer = Engine(lambda engine, batch: None)
    pace.attach(trainer)
    trainer.load_state_dict({"iteration": 90, "max_epochs": 10, "epoch_length": 10})
    trainer.run(range(10), max_epochs=10, epoch_length=10)
    assert "10 steps of about" in log.text and "Epoch 10: " in log.text and "Epoch 9: " not in log.text


def test_the_first_quarter_of_the_measured_steps_is_ignored(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    pace = TrainingPace(steps=4)
    clock = iter([0.0, 100.0, 102.0, 104.0, 106.0])  # STARTED, then four steps, the first of which takes 100 s
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(clock))
    engine = Engine(lambda engine, batch: None)
    engine.state.max_epochs, engine.state.epoch_length, engine.state.epoch = 10, 60, 0
    pace._start(engine)
    for step in range(1, 5):
        engine.state.iteration = step
        pace._step_completed(engine)
    assert "600 steps of about 2.00 s: 20 min, and validation" in log.text


def test_peak_memory_is_left_out_without_the_module_resource(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows: importing it is an ImportError
    run(TrainingPace(steps=2), epochs=1, steps=2, seconds=0.0, waiting=0.0)
    (line,) = [r.getMessage() for r in log.records if "steps of about" in r.getMessage()]
    assert line.startswith("2 steps of about 0.0") and line.endswith("and validation")


def test_each_epoch_logs_its_share_of_waiting_and_the_time_left(log: Log) -> None:
    run(TrainingPace(), epochs=2, steps=3, seconds=0.02, waiting=0.06)
    lines = [r.getMessage() for r in log.records if r.getMessage().startswith("Epoch")]
    shares = [int(line.split(" % ")[0].rsplit(" ", 1)[1]) for line in lines]
    assert len(lines) == 2 and all(50 <= share <= 90 for share in shares)  # 0.06 of 0.08 s
    assert lines[1].endswith("0 s left at this pace")


def test_only_the_first_process_logs(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.idist, "get_rank", lambda: 1)
    run(TrainingPace(steps=2), epochs=1, steps=3, seconds=0.0, waiting=0.0)
    assert log.text == ""
