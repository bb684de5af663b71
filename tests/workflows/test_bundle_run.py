"""The bundle as MONAI users run it: train, resume, evaluate, infer and load, from another working directory."""

import csv
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from custom_networks.networks import ContextNet25D

ROOT = Path(__file__).resolve().parents[2]
Run = subprocess.CompletedProcess[str]
BundleRun = Callable[..., Run]


UNCUT = {"anatomy#1#neck_mm": 0.0}  # what a network of a few steps calls liver hangs by threads


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Overrides of train.json for epochs of two steps, a schedule of two epochs, and the output folder."""
    folder = tmp_path_factory.mktemp("training")
    return {
        "ckpt_dir": folder / "models",
        "output_dir": folder / "log",
        "epoch_length": 2,
        "lr_scheduler#t_total": 4,
        "patch_size": [32, 32],
        "patch_slices": 2,
        "val_interval": 1,
        "folds": 2,
        "num_workers": 0,
    }


@pytest.fixture(scope="module")
def first_epoch(bundle_run: BundleRun, training: dict[str, Any]) -> tuple[Run, dict[str, Any]]:
    """A run of one epoch, and the state that it saved."""
    run = bundle_run("train", epochs=1, **training)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return run, torch.load(training["output_dir"] / "last.pt", weights_only=True)


@pytest.fixture(scope="module")
def second_epoch(bundle_run: BundleRun, training: dict[str, Any], first_epoch: tuple[Run, dict[str, Any]]) -> Run:
    """The run that continues to a second epoch."""
    run = bundle_run("train", epochs=2, resume=True, **training)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return run


@pytest.fixture(scope="module")
def weights(training: dict[str, Any], second_epoch: Run) -> Path:
    """The best weights of both epochs."""
    return Path(training["ckpt_dir"]) / "model.pt"


@pytest.fixture(scope="module")
def masks(bundle_run: BundleRun, weights: Path, msd_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that inference wrote for the training images."""
    folder = tmp_path_factory.mktemp("masks")
    images = msd_folder / "imagesTr"
    run = bundle_run("inference", checkpoint=weights, dataset_dir=images, output_dir=folder, **UNCUT)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return folder


def test_training_writes_loadable_weights_and_a_state_to_resume(
    first_epoch: tuple[Run, dict[str, Any]], training: dict[str, Any], small_network: dict[str, Any]
) -> None:
    run, state = first_epoch
    assert state["progress"] == {"epoch": 1, "iteration": 2}
    assert "val_mean_dice" in run.stdout
    arguments = {name.partition("#")[2]: value for name, value in small_network.items()}
    for name in ("model.pt", "model_final.pt"):
        weights = torch.load(training["ckpt_dir"] / name, weights_only=True)
        ContextNet25D(**arguments).load_state_dict(weights)
        assert all(torch.isfinite(value).all() for value in weights.values())


def test_resuming_runs_only_the_second_epoch(second_epoch: Run, training: dict[str, Any]) -> None:
    assert "after epoch 1" in second_epoch.stdout
    assert "Epoch[2] Complete" in second_epoch.stdout
    assert "Epoch: 1/2" not in second_epoch.stdout and "Epoch: 2/2" in second_epoch.stdout
    state = torch.load(training["output_dir"] / "last.pt", weights_only=True)
    assert state["progress"] == {"epoch": 2, "iteration": 4}


def test_another_fold_is_refused_in_a_runs_folder_and_its_files_are_kept(
    bundle_run: BundleRun, second_epoch: Run, training: dict[str, Any]
) -> None:
    files = [training["output_dir"] / "last.pt", *sorted(training["ckpt_dir"].iterdir())]
    before = [path.read_bytes() for path in files]
    run = bundle_run("train", epochs=2, resume=True, fold=1, **training)
    assert run.returncode != 0
    differs = "(training images that differ: imagesTr/phantom_2.nii.gz and 1 more then, imagesTr/phantom_1.nii.gz and 1"
    assert f"last.pt is the state of another run {differs} more now): " in run.stderr
    assert [path.name for path in files] == ["last.pt", "model.pt", "model_final.pt"]
    assert [path.read_bytes() for path in files] == before


def test_resuming_continues_from_the_saved_weights(
    first_epoch: tuple[Run, dict[str, Any]], second_epoch: Run, training: dict[str, Any]
) -> None:
    before = first_epoch[1]["network"]["head.weight"]
    after = torch.load(training["output_dir"] / "last.pt", weights_only=True)["network"]["head.weight"]
    # Two steps of AdamW at a rate of at most 2e-3 move a weight by little more than 4e-3; a fresh start by far more.
    assert 0 < (after - before).abs().max() < 0.02


def test_evaluation_writes_the_scores_of_each_case(
    bundle_run: BundleRun, weights: Path, tmp_path: Path, training: dict[str, Any]
) -> None:
    run = bundle_run("train", "evaluate", checkpoint=weights, output_dir=tmp_path, folds=2)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    with (tmp_path / "cases.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["case"] for row in rows] == ["phantom_1", "phantom_3"]
    assert all(0 <= float(row["liver_dice"]) <= 1 for row in rows)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert "liver_dice" in json.dumps(summary)


def test_inference_writes_masks_on_the_grid_of_their_images(masks: Path, msd_folder: Path) -> None:
    assert sorted(path.name for path in masks.iterdir()) == [f"phantom_{seed}" for seed in (1, 2, 3, 4)]
    for name in ("phantom_1", "phantom_4"):
        image = nib.load(msd_folder / "imagesTr" / f"{name}.nii.gz")
        mask = nib.load(masks / name / f"{name}_seg.nii.gz")
        assert mask.shape == image.shape and mask.get_data_dtype() == np.uint8
        np.testing.assert_array_equal(mask.affine, image.affine)
        assert set(np.unique(mask.dataobj)) <= {0, 1, 2}


def test_an_empty_folder_is_refused_in_one_line(bundle_run: BundleRun, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    run = bundle_run("inference", dataset_dir=tmp_path / "empty", output_dir=tmp_path / "masks")
    assert run.returncode != 0
    assert f"no image found in {tmp_path / 'empty'} (0 files checked): give a folder" in run.stderr
    assert not (tmp_path / "masks").exists()


def loaded(bundle: Path) -> torch.nn.Module:
    """The network with the bundle's weights, as returned by `monai.bundle.load`."""
    import monai.bundle

    network = monai.bundle.load(bundle.name, bundle_dir=str(bundle.parent), device="cpu")
    assert isinstance(network, ContextNet25D)
    return network


def test_monai_bundle_load_returns_the_network_with_the_bundles_weights(tmp_path: Path) -> None:
    bundle = tmp_path / "liver_tumor_ct_25d"
    shutil.copytree(ROOT / "bundle" / "configs", bundle / "configs")
    (bundle / "models").mkdir()
    torch.manual_seed(3)
    original = ContextNet25D()
    torch.save(original.state_dict(), bundle / "models" / "model.pt")
    for name, value in loaded(bundle).state_dict().items():
        assert torch.equal(value, original.state_dict()[name]), name


def test_the_packaged_weights_are_loaded_by_monai_bundle_load() -> None:
    path = ROOT / "bundle" / "models" / "model.pt"
    if not path.is_file():
        pytest.skip("WEIGHTS ABSENT: no bundle/models/model.pt yet")
    weights = torch.load(path, weights_only=True, map_location="cpu")
    assert all(torch.equal(value, weights[name]) for name, value in loaded(ROOT / "bundle").state_dict().items())
