"""One command trains on small copies of downloads of MSD Task03_Liver and LiTS, and resumes when repeated."""

import json
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
Run = subprocess.CompletedProcess[str]
TINY = {"epoch_length": 2, "patch_size": [32, 32], "patch_slices": 2, "val_interval": 1, "folds": 2}
TINY["lr_scheduler#t_total"] = 4  # two epochs, also where the run stops after one
# Two scans of one patient, one of another, and one whose geometry LiTS lost: fold 0 trains on 5, validates on 0 and 1.
NUMBERS = {0: "phantom_1", 1: "phantom_2", 5: "phantom_3", 28: "phantom_4"}


@pytest.fixture(scope="module")
def lits_folder(msd_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LiTS as downloaded: no data list, two folders, one segmentation and one volume without affine."""
    folder = tmp_path_factory.mktemp("LiTS")
    for number, name in NUMBERS.items():
        batch = folder / f"Training Batch {1 if number < 28 else 2}"
        batch.mkdir(exist_ok=True)
        for kind, place in (("volume", "imagesTr"), ("segmentation", "labelsTr")):
            image = nib.load(msd_folder / place / f"{name}.nii.gz")
            affine = np.eye(4) if number == 28 or (number, kind) == (5, "segmentation") else image.affine
            nib.save(nib.Nifti1Image(np.asarray(image.dataobj), affine), batch / f"{kind}-{number}.nii")
    return folder


@pytest.fixture(scope="module")
def msd_download(msd_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MSD Task03_Liver as downloaded: ./ in its list, test images without labels, macOS's "._" files."""
    folder = tmp_path_factory.mktemp("data") / "Task03_Liver"
    for place in ("imagesTr", "labelsTr"):
        (folder / place).mkdir(parents=True)
        for number, name in NUMBERS.items():
            shutil.copy(msd_folder / place / f"{name}.nii.gz", folder / place / f"liver_{number}.nii.gz")
            (folder / place / f"._liver_{number}.nii.gz").write_bytes(b"\0\5\26\7Mac OS X")
    training = [{"image": f"./imagesTr/liver_{n}.nii.gz", "label": f"./labelsTr/liver_{n}.nii.gz"} for n in NUMBERS]
    listed = {"name": "Liver", "numTraining": 4, "training": training, "test": ["./imagesTs/liver_132.nii.gz"]}
    (folder / "dataset.json").write_text(json.dumps(listed))
    return folder


def make_train(data: Path, run: Path, gpus: int = 0, **overrides: Any) -> list[str]:
    """The arguments that `make train DATA=... RUN=...` passes to Python, a script here, with a number of GPUs."""
    python = run.parent / "venv" / "python"
    python.parent.mkdir(parents=True, exist_ok=True)
    python.write_text(f'#!/bin/sh\n[ "$1" = -c ] && echo {gpus} || printf "%s\\0" "$@"\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    (python.parent / ".installed").touch()
    flags = " ".join(f"--{name} {str(value).replace(' ', '')}" for name, value in overrides.items())
    variables = {"VENV": python.parent, "BIN": python.parent, "DATA": data, "RUN": run, "ARGS": flags}
    command = ["make", "--no-print-directory", "train", *(f"{name}={value}" for name, value in variables.items())]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.split("\0")[:-1]


def test_lits_as_downloaded_is_trained_on_and_repairs_are_logged(
    bundle_run: Callable[..., Run], lits_folder: Path, tmp_path: Path
) -> None:
    run = bundle_run("train", dataset_dir=lits_folder, ckpt_dir=tmp_path, output_dir=tmp_path, epochs=1, **TINY)
    log = run.stdout + run.stderr
    assert run.returncode == 0, log[-3000:]
    assert torch.load(tmp_path / "last.pt", weights_only=True)["progress"] == {"epoch": 1, "iteration": 2}
    assert log.count("4 cases were found by LiTS's file names") == 1
    assert re.search("Left out of .*LiTS.*volume-28.nii", log) and "volume-5.nii," not in log
    assert "segmentation-5.nii has a placeholder instead of an affine" in log
    assert "Data cache: 1 of 1 cases" in log


def test_all_of_msd_as_downloaded_is_trained_on_without_validation(
    bundle_run: Callable[..., Run], msd_download: Path, tmp_path: Path
) -> None:
    folders = {"dataset_dir": msd_download, "ckpt_dir": tmp_path, "output_dir": tmp_path}
    run = bundle_run("train", fold="all", epochs=1, **folders, **TINY)
    log = run.stdout + run.stderr
    assert run.returncode == 0, log[-3000:]
    assert "Data cache: 4 of 4 cases" in log and log.count("so nothing is validated") == 1
    assert "val_mean_dice" not in log and "skip the `run`" not in log
    best, final = (torch.load(tmp_path / name, weights_only=True) for name in ("model.pt", "model_final.pt"))
    assert best.keys() == final.keys() and all(torch.equal(value, final[name]) for name, value in best.items())


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RUN of `make train`."""
    return tmp_path_factory.mktemp("make") / "run"


@pytest.fixture(scope="module")
def made(python: Callable[..., Run], msd_download: Path, small_network: dict[str, Any], run_folder: Path) -> list[Run]:
    """Run the command of `make train` for one epoch, and again for a second one."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    given = [make_train(msd_download, run_folder, epochs=n, **{**TINY, **small_network}) for n in (1, 2)]
    return [python(*arguments, cwd=ROOT, env=environment) for arguments in given]


def test_make_train_accepts_msd_as_downloaded(made: list[Run]) -> None:
    log = made[0].stdout + made[0].stderr
    assert made[0].returncode == 0, log[-3000:]
    assert "Data cache: 2 of 2 cases" in log and "2 cases of" in log and "lits-0-1, which are never split" in log
    assert re.search(r"Epoch 1: .* waiting for data; .* left at this pace", log)
    assert [word for word in ("placeholder", "mirrored", "Left out", "torch.distributed") if word in log] == []


def test_repeating_make_train_resumes_and_writes_weights_and_tensorboard_logs(
    made: list[Run], run_folder: Path
) -> None:
    log = made[1].stdout + made[1].stderr
    assert made[1].returncode == 0, log[-3000:]
    assert "after epoch 1" in log and "Epoch: 2/2" in log and "Epoch: 1/2" not in log
    log_folder = run_folder / "log"
    assert torch.load(log_folder / "last.pt", weights_only=True)["progress"] == {"epoch": 2, "iteration": 4}
    assert (run_folder / "models" / "model.pt").is_file() and list(log_folder.glob("events.out.tfevents*"))


@pytest.mark.parametrize(("gpus", "several"), [(0, False), (1, False), (4, True)])
def test_make_train_starts_one_process_per_gpu(tmp_path: Path, gpus: int, several: bool) -> None:
    given = make_train(Path("/data/Task 03"), tmp_path / "run", gpus=gpus, fold=1)
    assert ("torch.distributed.run" in given) == several == (f"--nproc_per_node={gpus}" in given)
    files = (
        "['bundle/configs/train.json','bundle/configs/multi_gpu_train.json']"
        if several
        else "bundle/configs/train.json"
    )
    assert given[given.index("--config_file") + 1] == files
    assert given[given.index("--dataset_dir") + 1] == "/data/Task 03"
    assert given[given.index("--resume") + 1] == "True" and given[given.index("--fold") + 1] == "1"


def test_make_train_without_data_asks_for_data(tmp_path: Path) -> None:
    (tmp_path / ".installed").touch()
    run = subprocess.run(["make", "train", f"VENV={tmp_path}", "DATA="], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode != 0 and "make train DATA=/path/Task03_Liver" in run.stderr
