"""Tiny phantoms in the layout of the Medical Segmentation Decathlon, and `monai.bundle run` on them."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "bundle" / "configs"
# The bundle's network with so few channels that an epoch takes a second; the same in training and inference.
SMALL_NETWORK = {"network_def#channels": [4, 8, 8, 8, 8], "network_def#aspp_channels": 8}

BundleRun = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def small_network() -> dict[str, list[int] | int]:
    """Overrides that make the network small."""
    return dict(SMALL_NETWORK)


@pytest.fixture(scope="session")
def msd_folder(small_phantoms: Callable[[tuple[float, float, float]], Path]) -> Path:
    """Folder with four cases: dataset.json, imagesTr and labelsTr."""
    return small_phantoms((1.6, 1.6, 3.0))


@pytest.fixture(scope="session")
def bundle_run(python: BundleRun, tmp_path_factory: pytest.TempPathFactory, msd_folder: Path) -> BundleRun:
    """Run `python -m monai.bundle run` with some configs, from a folder unrelated to the bundle."""
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
        started = ["-m", "monai.bundle", "run", *flags]
        if processes == 1:
            return python(*started, cwd=elsewhere, env=environment)
        several = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
        return subprocess.run(
            [sys.executable, *several, *started],
            cwd=elsewhere,
            env=environment,
            capture_output=True,
            text=True,
        )

    return run
