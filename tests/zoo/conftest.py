"""The packed bundle as the model zoo and a stranger see it: an archive, and a folder far from this repository."""

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import pytest

from custom_networks.packing import PackedBundle, pack_bundle
from custom_networks.phantom import make_phantom

NAME = "liver_tumor_ct_25d"
SHAPE, SPACING = (64, 56, 20), (4.8, 4.8, 12.0)  # voxels, mm: a whole abdomen, coarse

collect_ignore = ["unit_tests"]  # run as the zoo runs them, in a process that has the packed code alone


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> PackedBundle:
    """The bundle, packed and checked."""
    return pack_bundle(tmp_path_factory.mktemp("packed") / f"{NAME}.zip")


@pytest.fixture(scope="session")
def unpack(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """Unpack an archive in a folder like a checkout of the zoo (models/<bundle>); gives the bundle's folder."""

    def unpacked(archive: Path) -> Path:
        models = tmp_path_factory.mktemp("zoo") / "models"
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(models)
        (models / "model_info.json").write_text("{}")
        return models / NAME

    return unpacked


@pytest.fixture(scope="session")
def bundle(packed: PackedBundle, unpack: Callable[[Path], Path]) -> Path:
    """Folder of the unpacked bundle; tests leave it as it is."""
    return unpack(packed.path)


@pytest.fixture(scope="session")
def schema(shared_data: Path) -> Path:
    """The metadata schema that the zoo's CI downloads."""
    path = shared_data / "zoo" / "meta_schema_20240725.json"
    if not path.is_file():
        pytest.skip(f"SCHEMA ABSENT: no {path}")
    return path


@pytest.fixture(scope="session")
def clean_environment() -> dict[str, str]:
    """The environment without anything that brings other code onto Python's path, and without a GPU."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**kept, "PYTHONNOUSERSITE": "1", "PYTHONDONTWRITEBYTECODE": "1", "CUDA_VISIBLE_DEVICES": ""}


@pytest.fixture(scope="session")
def msd_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with four phantoms in the layout of the Medical Segmentation Decathlon."""
    folder = tmp_path_factory.mktemp("phantoms")
    cases = []
    for seed in (1, 2, 3, 4):
        phantom = make_phantom(seed, shape=SHAPE, spacing=SPACING, lesions=2)
        case = {"image": f"imagesTr/phantom_{seed}.nii.gz", "label": f"labelsTr/phantom_{seed}.nii.gz"}
        for key, array in (("image", phantom.image), ("label", phantom.label)):
            (folder / case[key]).parent.mkdir(exist_ok=True)
            nib.save(nib.Nifti1Image(array, phantom.affine), folder / case[key])
        cases.append(case)
    (folder / "dataset.json").write_text(json.dumps({"training": cases}))
    return folder
