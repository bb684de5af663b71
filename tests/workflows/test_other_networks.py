"""Scout and network of segments: train.json with their own config trains weights that their users take."""

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
from monai.bundle import ConfigParser

from custom_networks.tuning.segments import main

pytestmark = pytest.mark.slow

BundleRun = Callable[..., subprocess.CompletedProcess[str]]
CONFIGS = Path(__file__).resolve().parents[2] / "bundle" / "configs"


def train(bundle_run: BundleRun, name: str, folder: Path, **overrides: Any) -> Any:
    """One step with the config `name` at the network's own size: the network that the weights in `folder` belong to."""
    own = json.loads((CONFIGS / f"{name}.json").read_text(encoding="utf-8"))
    size = {key: value for key, value in own.items() if key.startswith("network_def#")}
    folders = {"ckpt_dir": folder, "output_dir": folder}
    run = bundle_run("train", name, epochs=1, epoch_length=1, **folders, **size, **overrides)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / "train.json"), str(CONFIGS / f"{name}.json")])
    return parser.get_parsed_content("network_def")


def test_the_scouts_weights_fit_the_scout_of_inference(bundle_run: BundleRun, tmp_path: Path) -> None:
    trained = train(bundle_run, "train_scout", tmp_path, fold="all")
    inference = ConfigParser()
    inference.read_config(str(CONFIGS / "inference.json"))
    for network in (trained, inference.get_parsed_content("scout_def")):
        network.load_state_dict(torch.load(tmp_path / "model_final.pt", weights_only=True))


@pytest.fixture(scope="module")
def with_segments(msd_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a list of the phantoms and maps of eight segments: the octants around each liver's median."""
    folder = tmp_path_factory.mktemp("segments")
    cases = json.loads((msd_folder / "dataset.json").read_text(encoding="utf-8"))["training"]
    for case in cases:
        label = nib.load(msd_folder / case["label"])
        liver = np.asarray(label.dataobj) > 0
        places = np.argwhere(liver)
        octants = np.zeros(liver.shape, np.uint8)
        octants[liver] = 1 + (places > np.median(places, axis=0)) @ (1, 2, 4)
        path = folder / Path(case["label"]).name
        nib.save(nib.Nifti1Image(octants, label.affine), path)
        case.update(image=str(msd_folder / case["image"]), label=str(msd_folder / case["label"]), couinaud=str(path))
    (folder / "dataset.json").write_text(json.dumps({"training": cases}), encoding="utf-8")
    return folder


def test_the_segments_network_is_trained_and_each_case_scored_once_each_way(
    bundle_run: BundleRun, with_segments: Path, tmp_path: Path
) -> None:
    train(bundle_run, "train_segments", tmp_path / "fold_0", dataset_dir=with_segments, fold=0, folds=2)
    shutil.copytree(tmp_path / "fold_0", tmp_path / "fold_1")
    main([str(tmp_path), "--dataset_dir", str(with_segments), "--folds", "2"])
    with (tmp_path / "cases.csv").open(newline="") as stream:
        scored = sorted((row["case"], row["way"]) for row in csv.DictReader(stream))
    assert scored == [(f"phantom_{n}", way) for n in (1, 2, 3, 4) for way in ("network", "planes")]
