"""MONAI Label's own server with the packed bundle and a folder of phantoms.

`make test-monailabel` makes the environment and runs the tests; LIVERSEG_MONAILABEL_PYTHON is its Python.
"""

import json
import math
import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from label_server import MODEL, LabelServer

from custom_networks.packing import pack_bundle
from custom_networks.phantom import make_phantom
from custom_networks.phantom.files import write_nifti

# What an administrator may write into the configs of a server: the same precision on every run, a short epoch.
SETTINGS = {
    "inference": {"precision": "float32"},
    "train": {"epoch_length": 2, "patch_size": [64, 64], "precision": "float32"},
}


@pytest.fixture(scope="session")
def python() -> Path:
    """The Python of MONAI Label's environment."""
    path = os.environ.get("LIVERSEG_MONAILABEL_PYTHON")
    if not path:
        pytest.skip("MONAI LABEL ABSENT: make test-monailabel makes its environment")
    return Path(path)


@pytest.fixture(scope="session")
def folder(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder for the server's inputs and outputs; its name has no spaces, which `monailabel` cannot handle."""
    return tmp_path_factory.mktemp("monailabel")


@pytest.fixture(scope="session")
def truth(folder: Path) -> Path:
    """Folder of the phantoms' label maps; their images are the server's studies. phantom_1 is oblique."""
    turn = np.eye(4)
    cos, sin = math.cos(0.2), math.sin(0.2)
    turn[:2, :2] = [[cos, -sin], [sin, cos]]
    for seed in (1, 2, 3, 4):
        phantom = make_phantom(seed, shape=(64, 56, 20), spacing=(4.8, 4.8, 9.0), lesions=3)
        affine = turn @ phantom.affine if seed == 1 else phantom.affine
        write_nifti(folder / "studies" / f"phantom_{seed}.nii.gz", phantom.image, affine)
        write_nifti(folder / "truth" / f"phantom_{seed}.nii.gz", phantom.label, affine)
    return folder / "truth"


@pytest.fixture(scope="session")
def bundle(python: Path, folder: Path) -> Path:
    """The packed bundle, unpacked where MONAI Label's app `monaibundle` looks for it."""
    app = folder / "app"
    shutil.copytree(python.parents[1] / "monailabel" / "sample-apps" / "monaibundle", app)
    with zipfile.ZipFile(pack_bundle(folder / f"{MODEL}.zip").path) as packed:
        packed.extractall(app / "model")
    for name, settings in SETTINGS.items():
        path = app / "model" / MODEL / "configs" / f"{name}.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        assert settings.keys() <= config.keys()
        path.write_text(json.dumps({**config, **settings}), encoding="utf-8")
    models = app / "model" / MODEL / "models"
    shutil.copyfile(models / "model.pt", models / "model_shipped.pt")  # training replaces model.pt
    return app / "model" / MODEL


@pytest.fixture(scope="session")
def server(python: Path, bundle: Path, truth: Path, folder: Path) -> Iterator[LabelServer]:
    """The server, which is stopped with all its children after the tests."""
    running = LabelServer(python, bundle.parents[1], folder / "studies", folder)
    try:
        running.wait_until_ready()
        yield running
    finally:
        running.stop()
        with pytest.raises(ProcessLookupError):  # nobody of its process group is left
            os.killpg(running.process.pid, 0)
