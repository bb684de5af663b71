"""Use of the archive in an environment with MONAI and few libraries, without this repository and package.

`make test-bundle` makes the environment and runs the tests; LIVERSEG_BUNDLE_PYTHON is its Python.
"""

import csv
import http.server
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from custom_networks.networks import ContextNet25D
from custom_networks.packing import PackedBundle, pack_bundle

pytestmark = pytest.mark.slow
Foreign = Callable[..., "subprocess.CompletedProcess[str]"]
Unpack = Callable[[Path], Path]
META = ("--meta_file", "configs/metadata.json")
NETWORK = ("--net_id", "network_def", "--config_file", "configs/inference.json", *META)
SMALL_NETWORK = {"network_def#channels": [4, 8, 8, 8, 8], "network_def#aspp_channels": 8}
SMALL_TRAINING = {
    **SMALL_NETWORK,
    "epochs": 1,
    "epoch_length": 2,
    "val_interval": 1,
    "folds": 2,
    "patch_size": [32, 32],
    "patch_slices": 2,
}


@pytest.fixture(scope="module")
def python() -> Path:
    """The Python of the environment without this project."""
    path = os.environ.get("LIVERSEG_BUNDLE_PYTHON")
    if not path:
        pytest.skip("FOREIGN ENVIRONMENT ABSENT: make test-bundle makes it")
    return Path(path)


@pytest.fixture(scope="module")
def home(packed: PackedBundle, unpack: Unpack) -> Path:
    """The unpacked bundle's folder."""
    return unpack(packed.path)


@pytest.fixture(scope="module")
def foreign(python: Path, home: Path, clean_environment: dict[str, str]) -> Foreign:
    """Run that Python in the unpacked bundle's folder or another one, with or without the packages in `more`."""

    def run(*arguments: object, cwd: Path = home, more: bool = False) -> "subprocess.CompletedProcess[str]":
        extra = {"PYTHONPATH": str(python.parents[1] / "more")} if more else {}
        command = [str(python), *map(str, arguments)]
        run = subprocess.run(command, cwd=cwd, env={**clean_environment, **extra}, capture_output=True, text=True)
        assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
        return run

    return run


@pytest.fixture(scope="module")
def masks(foreign: Foreign, msd_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the masks that inference in the bundle's folder wrote."""
    folder = tmp_path_factory.mktemp("masks")
    given = {"dataset_dir": msd_folder / "imagesTr", "output_dir": folder, "precision": "float32"}
    foreign("-m", "monai.bundle", "run", "--config_file", "configs/inference.json", *flags(given))
    return folder


@pytest.fixture(scope="module")
def trained(foreign: Foreign, home: Path, msd_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the weights after one epoch of two steps, run outside the bundle's folder."""
    folder = tmp_path_factory.mktemp("training")
    folders = {"bundle_root": home, "dataset_dir": msd_folder, "ckpt_dir": folder, "output_dir": folder / "log"}
    command = ("-m", "monai.bundle", "run", "--config_file", home / "configs" / "train.json")
    foreign(*command, *flags({**folders, **SMALL_TRAINING}), cwd=folder)
    return folder


def flags(overrides: dict[str, Any]) -> list[str]:
    return [text for name, value in overrides.items() for text in (f"--{name}", str(value))]


def mask_of(folder: Path, seed: int) -> nib.Nifti1Image:
    image = nib.load(folder / f"phantom_{seed}" / f"phantom_{seed}_seg.nii.gz")
    assert isinstance(image, nib.Nifti1Image)
    return image


def network_with(weights: Path) -> ContextNet25D:
    network = ContextNet25D().eval()
    network.load_state_dict(torch.load(weights, weights_only=True, map_location="cpu"))
    return network


def test_the_environment_has_neither_this_package_nor_its_extras(foreign: Foreign, tmp_path: Path) -> None:
    absent = ("custom_networks", "matplotlib", "highdicom", "openvino", "onnx", "yaml", "pytest")
    code = f"from importlib.util import find_spec; print([name for name in {absent} if find_spec(name)])"
    assert foreign("-c", code, cwd=tmp_path).stdout == "[]\n"
    found = foreign("-c", "import custom_networks as c; print(c.__file__, c.__version__)").stdout
    assert "site-packages" not in found and f"liver_tumor_ct_25d{os.sep}custom_networks" in found


def test_without_openvino_pytorch_runs_the_network(foreign: Foreign) -> None:
    code = (
        "import torch; from custom_networks.inference.runtimes import open_runtime\n"
        "from custom_networks.networks import ContextNet25D\n"
        "runtime = open_runtime(ContextNet25D().eval(), 'auto', 'auto', torch.device('cpu'))\n"
        "print(runtime.name, runtime.precision)"
    )
    assert foreign("-c", code).stdout == "torch float32\n"


def test_inference_writes_masks_on_the_grid_of_their_images(masks: Path, msd_folder: Path) -> None:
    for seed in (1, 2, 3, 4):
        image, mask = nib.load(msd_folder / "imagesTr" / f"phantom_{seed}.nii.gz"), mask_of(masks, seed)
        assert mask.shape == image.shape and mask.get_data_dtype() == np.uint8  # type: ignore[attr-defined]
        np.testing.assert_array_equal(mask.affine, image.affine)  # type: ignore[attr-defined]
    assert any(np.any(np.asarray(mask_of(masks, seed).dataobj)) for seed in (1, 2, 3, 4))


def test_inference_from_another_folder_writes_the_same_masks(
    foreign: Foreign, home: Path, masks: Path, msd_folder: Path, tmp_path: Path
) -> None:
    given = {"bundle_root": home, "dataset_dir": msd_folder / "imagesTr", "output_dir": tmp_path / "masks"}
    config = home / "configs" / "inference.json"
    command = ("-m", "monai.bundle", "run", "--config_file", config, "--precision", "float32")
    foreign(*command, *flags(given), cwd=tmp_path)
    for seed in (1, 2, 3, 4):
        here, there = mask_of(masks, seed), mask_of(tmp_path / "masks", seed)
        np.testing.assert_array_equal(np.asarray(here.dataobj), np.asarray(there.dataobj))


def test_one_epoch_of_training_writes_weights(trained: Path) -> None:
    small = {name.partition("#")[2]: value for name, value in SMALL_NETWORK.items()}
    weights = torch.load(trained / "model.pt", weights_only=True)
    ContextNet25D(**small).load_state_dict(weights)
    assert all(torch.isfinite(value).all() for value in weights.values())


def test_evaluation_writes_the_scores_of_each_case(
    foreign: Foreign, trained: Path, msd_folder: Path, tmp_path: Path
) -> None:
    configs = "['configs/train.json','configs/evaluate.json']"
    given = {"dataset_dir": msd_folder, "checkpoint": trained / "model.pt", "output_dir": tmp_path, "folds": 2}
    foreign("-m", "monai.bundle", "run", "--config_file", configs, *flags({**given, **SMALL_NETWORK}))
    with (tmp_path / "cases.csv").open(newline="") as stream:
        assert [row["case"] for row in csv.DictReader(stream)] == ["phantom_1", "phantom_3"]


def test_the_metadata_are_verified(foreign: Foreign, home: Path, schema: Path) -> None:
    (home / "eval").mkdir(exist_ok=True)
    (home / "eval" / "schema.json").write_bytes(schema.read_bytes())  # a file that is there is not downloaded
    run = foreign("-m", "monai.bundle", "verify_metadata", *META, "--filepath", "eval/schema.json")
    assert "metadata is verified with no error" in run.stdout + run.stderr


def test_input_and_output_of_the_network_are_verified(foreign: Foreign) -> None:
    run = foreign("-m", "monai.bundle", "verify_net_in_out", *NETWORK)
    assert "data shape of network is verified with no error" in run.stdout + run.stderr


def test_the_network_is_exported_to_torchscript(foreign: Foreign, home: Path, tmp_path: Path) -> None:
    files = ("--filepath", tmp_path / "model.ts", "--ckpt_file", "models/model.pt")
    foreign("-m", "monai.bundle", "ckpt_export", *NETWORK, *files)
    image = torch.rand(1, 1, 48, 64, 7)
    with torch.no_grad():
        exported = torch.jit.load(tmp_path / "model.ts")(image)
        torch.testing.assert_close(exported, network_with(home / "models" / "model.pt")(image), atol=1e-4, rtol=1e-4)


def test_the_network_is_exported_to_onnx(foreign: Foreign, tmp_path: Path) -> None:
    files = ("--filepath", tmp_path / "model.onnx", "--ckpt_file", "models/model.pt")
    foreign("-m", "monai.bundle", "onnx_export", *NETWORK, *files, "--input_shape", "[1,1,64,64,9]", more=True)
    assert (tmp_path / "model.onnx").stat().st_size > 1_000_000


def test_monai_bundle_load_returns_the_network_with_its_weights(foreign: Foreign, home: Path, tmp_path: Path) -> None:
    code = (
        f"import sys, torch; sys.path.insert(0, {str(home)!r}); import monai.bundle; "
        f"network = monai.bundle.load({home.name!r}, bundle_dir={str(home.parent)!r}); "
        "torch.save(network.state_dict(), 'loaded.pt')"
    )
    foreign("-c", code, cwd=tmp_path)
    loaded = torch.load(tmp_path / "loaded.pt", weights_only=True)
    packed = torch.load(home / "models" / "model.pt", weights_only=True, map_location="cpu")
    assert loaded.keys() == packed.keys() and all(torch.equal(loaded[name], packed[name]) for name in packed)


@pytest.fixture
def served(home: Path) -> Iterator[str]:
    """Local HTTP address of the unpacked bundle's folder."""
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(home))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()
    thread.join()


def test_weights_that_were_left_out_are_downloaded_by_monai_and_checked(
    foreign: Foreign, home: Path, served: str, unpack: Unpack, tmp_path: Path
) -> None:
    small = unpack(pack_bundle(tmp_path / "small.zip", weights_url=served).path)
    assert not (small / "models" / "model.pt").exists()
    foreign("-m", "monai.bundle", "download_large_files", "--bundle_path", small, cwd=tmp_path, more=True)
    assert (small / "models" / "model.pt").read_bytes() == (home / "models" / "model.pt").read_bytes()
