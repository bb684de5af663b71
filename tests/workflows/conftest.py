"""Tiny phantoms in the layout of the Medical Segmentation Decathlon, and `monai.bundle run` on them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from custom_networks.phantom import make_phantom

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "bundle" / "configs"
SHAPE, SPACING = (64, 56, 20), (1.3, 1.3, 3.0)  # voxels, mm
# The bundle's network with so few channels that an epoch takes a second; the same in training and inference.
SMALL_NETWORK = {"network_def#channels": [4, 8, 8, 8, 8], "network_def#aspp_channels": 8}

BundleRun = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def small_network() -> dict[str, list[int] | int]:
    """Overrides that make the network small."""
    return dict(SMALL_NETWORK)


@pytest.fixture(scope="session")
def msd_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with four cases: dataset.json, imagesTr and labelsTr."""
    folder = tmp_path_factory.mktemp("Task03 Phantom")
    cases = []
    for seed in (1, 2, 3, 4):
        phantom = make_phantom(seed, shape=SHAPE, spacing=SPACING, lesions=2)
        case = {"image": f"imagesTr/phantom_{seed}.nii.gz", "label": f"labelsTr/phantom_{seed}.nii.gz"}
        for key, array in (("image", phantom.image), ("label", phantom.label)):
            (folder / case[key]).parent.mkdir(exist_ok=True)
            nib.save(nib.Nifti1Image(np.asarray(array), phantom.affine), folder / case[key])
        cases.append(case)
    (folder / "dataset.json").write_text(json.dumps({"training": cases}))
    return folder


@pytest.fixture(scope="session")
def bundle_run(tmp_path_factory: pytest.TempPathFactory, msd_folder: Path) -> BundleRun:
    """Run `python -m monai.bundle run` on the named configs from a folder that has nothing to do with the bundle."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")

    def run(*names: str, processes: int = 1, **overrides: object) -> "subprocess.CompletedProcess[str]":
        files = [str(CONFIGS / f"{name}.json") for name in names]
        given = {
            "config_file": files if len(files) > 1 else files[0],
            "bundle_root": ROOT / "bundle",
            "dataset_dir": msd_folder,
            "device": "$torch.device('cpu')",
            "precision": "float32",
            **SMALL_NETWORK,
            **overrides,
        }
        flags = [text for name, value in given.items() for text in (f"--{name}", str(value))]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
        several = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
        return subprocess.run(
            [sys.executable, *several * (processes > 1), "-m", "monai.bundle", "run", *flags],
            cwd=elsewhere,
            env=environment,
            capture_output=True,
            text=True,
        )

    return run
