"""Command line, Python and `monai.bundle run` have the same mask for a scan in any voxel order."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from custom_networks.cli import main
from custom_networks.io import only_case
from custom_networks.phantom import make_phantom
from custom_networks.phantom.files import write_series
from custom_networks.pipeline import Pipeline

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("straight.nii.gz", "flipped.nii.gz", "oblique.nii.gz", "series")


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phantom with lesions as NIfTI, NIfTI with permuted and flipped axes, oblique NIfTI, and DICOM series."""
    folder = tmp_path_factory.mktemp("scans")
    phantom = make_phantom(11, shape=(160, 128, 40), spacing=(2.0, 2.0, 5.0), lesions=3)
    image, affine = phantom.image, phantom.affine
    nib.save(nib.Nifti1Image(image, affine), folder / NAMES[0])
    back = np.array([[0, 0, -1, 159], [1, 0, 0, 0], [0, -1, 0, 39], [0, 0, 0, 1]])  # from (j, -k, -i)
    nib.save(nib.Nifti1Image(image.transpose(1, 2, 0)[:, ::-1, ::-1], affine @ back), folder / NAMES[1])
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.1), -np.sin(0.1)], [np.sin(0.1), np.cos(0.1)]]
    nib.save(nib.Nifti1Image(image, turn @ affine), folder / NAMES[2])
    write_series(phantom, folder / NAMES[3], "0")
    return folder


@pytest.fixture(scope="module")
def of_python(scans: Path) -> dict[str, np.ndarray]:
    """Label maps from Python, by name of the scan."""
    pipeline = Pipeline(overrides={"device": "cpu", "progress": False})
    return {name: pipeline.predict(only_case(scans / name)).labels for name in NAMES}


def masks_below(folder: Path) -> dict[str, np.ndarray]:
    masks = {path.name.removesuffix("_seg.nii.gz"): path for path in folder.rglob("*_seg.nii.gz")}
    found = [name for name in NAMES if name.removesuffix(".nii.gz") in masks]
    return {name: np.asarray(nib.load(masks[name.removesuffix(".nii.gz")]).dataobj) for name in found}


def test_the_phantom_has_lesions_and_its_orientation_changes_nothing(of_python: dict[str, np.ndarray]) -> None:
    straight, flipped = of_python[NAMES[0]], of_python[NAMES[1]]
    assert (straight == 2).sum() > 1000
    np.testing.assert_array_equal(flipped[:, ::-1, ::-1].transpose(2, 0, 1), straight)


def test_monai_bundle_run_writes_the_same_masks_as_python(
    python: Callable[..., Any], scans: Path, of_python: dict[str, np.ndarray], tmp_path: Path
) -> None:
    given = {"bundle_root": ROOT / "bundle", "dataset_dir": scans, "datalist": list(NAMES), "output_dir": tmp_path}
    flags = [text for name, value in given.items() for text in (f"--{name}", str(value))]
    config = str(ROOT / "bundle" / "configs" / "inference.json")
    command = ["-m", "monai.bundle", "run", "--config_file", config, *flags, "--device", "cpu"]
    run = python(*command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert run.returncode == 0, run.stderr[-3000:]
    masks = masks_below(tmp_path)
    assert list(masks) == list(NAMES)
    for name, mask in masks.items():
        np.testing.assert_array_equal(mask, of_python[name], name)


def test_the_command_line_writes_the_same_masks_as_python(
    scans: Path, of_python: dict[str, np.ndarray], tmp_path: Path
) -> None:
    names = [NAMES[1], NAMES[3]]
    flags = ["--output", str(tmp_path), "--device=cpu", "--progress=false", "--overlay=false", "--page=off"]
    assert main(["segment", *(str(scans / name) for name in names), *flags]) == 0
    masks = masks_below(tmp_path)
    assert list(masks) == names
    for name, mask in masks.items():
        np.testing.assert_array_equal(mask, of_python[name], name)
