"""MONAI's federated client trains the bundle at two sites whose scans differ in contrast, in one process."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.fl.client import MonaiAlgo
from monai.fl.utils.constants import ExtraItems
from monai.fl.utils.exchange_object import ExchangeObject
from monai.utils import set_determinism
from torch import Tensor

from custom_networks.phantom import make_phantom
from custom_networks.phantom.files import write_nifti

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
ROUNDS, STEPS = 4, 20
# Seeds of the phantoms that train and of those that validate. Median HU of the liver: 114 to 119, and 9 to 17.
SITES = {"bright": ((5, 30, 35, 39, 45, 50), (56, 23)), "dark": ((1, 6, 14, 54, 55, 20), (11, 19))}
DARKER_HU = {"bright": 0, "dark": 40}  # taken off every voxel
GRID = {"shape": (64, 56, 20), "spacing": (4.8, 4.8, 12.0)}  # a whole abdomen, coarse
# The bundle's network with few channels, on that grid; its training is the bundle's own, but for the augmentation of
# contrast: that alone bridges most of what these sites differ in.
SMALL: dict[str, Any] = {
    "network_def#channels": [8, 16, 16, 16, 16],
    "network_def#aspp_channels": 16,
    "spacing": 4.8,
    "context_spacing": 12.0,
    "device": "$torch.device('cpu')",
    "precision": "float32",
    "fold": "all",
}
AUGMENTATION = json.loads((ROOT / "bundle" / "configs" / "train.json").read_text())["train"]["augmentation"]
CONTRAST = [step["_target_"].split(".")[-1] for step in AUGMENTATION].index("RandTissueShiftd")
SHORT = {"epoch_length": STEPS, "patch_size": [48, 48], "patch_slices": 4, f"train#augmentation#{CONTRAST}#prob": 0.0}
# The client sets the trainer's epochs to those of one round; the schedule is that of all rounds.
SCHEDULE = {"learning_rate": 0.01, "lr_scheduler#warmup_steps": 10, "lr_scheduler#t_total": ROUNDS * STEPS}

Weights = dict[str, Tensor]


def write_site(folder: Path, training: tuple[int, ...], dev: tuple[int, ...], darker: int) -> None:
    """Write a site's phantoms and their data list."""
    cases = {}
    for seed in (*training, *dev):
        phantom = make_phantom(seed, lesions=2, **GRID)  # type: ignore[arg-type]
        cases[seed] = {"image": f"images/{seed}.nii.gz", "label": f"labels/{seed}.nii.gz"}
        write_nifti(folder / cases[seed]["image"], phantom.image - np.int16(darker), phantom.affine)
        write_nifti(folder / cases[seed]["label"], phantom.label, phantom.affine)
    listed = {"training": [cases[seed] for seed in training], "dev": [cases[seed] for seed in dev]}
    (folder / "dataset.json").write_text(json.dumps(listed))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders with the data of each site."""
    folder = tmp_path_factory.mktemp("sites")
    for name, (training, dev) in SITES.items():
        write_site(folder / name, training, dev, DARKER_HU[name])
    return folder


@pytest.fixture(autouse=True)
def one_thread_and_no_determinism_left_behind() -> Iterator[None]:
    """Small layers take longer on several threads; on one thread, sums have a fixed order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    set_determinism(None)


def client(site: str, data: Path, out: Path) -> MonaiAlgo:
    """MONAI's client of the bundle at a site; `ckpt_dir` and `output_dir` keep it from writing to the bundle."""
    bundle = str(ROOT / "bundle")
    common = {"bundle_root": bundle, "dataset_dir": str(data / site), **SMALL}
    folders = {"ckpt_dir": str(out / site / "models"), "output_dir": str(out / site / "log")}
    algorithm = MonaiAlgo(
        bundle_root=bundle,
        local_epochs=1,
        send_weight_diff=False,
        train_kwargs={**common, **SHORT, **SCHEDULE, **folders},
        eval_kwargs={**common, "output_dir": str(out / site / "scores")},
    )
    algorithm.initialize({ExtraItems.CLIENT_NAME: site})
    return algorithm


def copied(weights: Weights) -> Weights:
    return {name: value.clone() for name, value in weights.items()}


def trained(algorithm: MonaiAlgo, weights: Weights) -> Weights:
    """The weights after one round at a site."""
    algorithm.train(ExchangeObject(weights=copied(weights)))
    return copied(algorithm.get_weights().weights)


def mean(several: list[Weights]) -> Weights:
    """The average of the sites' weights, as on a server (McMahan et al., 2017), with equal weights for sites."""
    return {
        name: torch.stack([weights[name] for weights in several]).mean(0) if value.is_floating_point() else value
        for name, value in several[0].items()
    }


def liver_dice(algorithm: MonaiAlgo, weights: Weights) -> float:
    return float(algorithm.evaluate(ExchangeObject(weights=copied(weights))).metrics["liver_dice"])


def test_the_averaged_model_beats_each_sites_own_on_the_other_sites_data(data: Path, tmp_path: Path) -> None:
    sites = {name: client(name, data, tmp_path / "together") for name in SITES}
    start = averaged = copied(sites["bright"].get_weights().weights)
    for _ in range(ROUNDS):
        averaged = mean([trained(site, averaged) for site in sites.values()])
    own = {}
    for name in SITES:
        alone, own[name] = client(name, data, tmp_path / "alone"), start
        for _ in range(ROUNDS):
            own[name] = trained(alone, own[name])
    models = {"start": start, "bright alone": own["bright"], "dark alone": own["dark"], "averaged": averaged}
    dice = {model: {name: liver_dice(site, w) for name, site in sites.items()} for model, w in models.items()}
    for model, scores in dice.items():
        print(f"| {model} | {scores['bright']:.3f} | {scores['dark']:.3f} |")
    clearly = 0.1  # kernels, and so short trainings, differ a little between machines
    assert dice["averaged"]["dark"] > dice["bright alone"]["dark"] + clearly
    assert dice["averaged"]["bright"] > dice["dark alone"]["bright"] + clearly
    assert min(dice["averaged"].values()) > max(dice["start"].values()) + clearly
    written = {path.name for path in (tmp_path / "together").rglob("*.pt")}
    assert written == {"model.pt", "model_final.pt", "last.pt"}
