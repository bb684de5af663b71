"""The packed bundle as the model zoo and its users get it: an archive, and a folder outside this repository."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from custom_networks.packing import PackedBundle, pack_bundle

NAME = "liver_tumor_ct_25d"

collect_ignore = ["unit_tests"]  # run as the zoo runs them, in a process that has the packed code alone


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> PackedBundle:
    """The bundle, packed and checked."""
    return pack_bundle(tmp_path_factory.mktemp("packed") / f"{NAME}.zip")


@pytest.fixture(scope="session")
def unpack(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """Unpack an archive in a folder like a checkout of the zoo (models/<bundle>); return the bundle's folder."""

    def unpacked(archive: Path) -> Path:
        models = tmp_path_factory.mktemp("zoo") / "models"
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(models)
        (models / "model_info.json").write_text("{}")
        return models / NAME

    return unpacked


@pytest.fixture(scope="session")
def bundle(packed: PackedBundle, unpack: Callable[[Path], Path]) -> Path:
    """Folder of the unpacked bundle, which tests must not change."""
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
    """The environment without variables that add to Python's path, and without a GPU."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**kept, "PYTHONNOUSERSITE": "1", "PYTHONDONTWRITEBYTECODE": "1", "CUDA_VISIBLE_DEVICES": ""}


@pytest.fixture(scope="session")
def msd_folder(small_phantoms: Callable[[tuple[float, float, float]], Path]) -> Path:
    """Folder with four coarse phantoms of a whole abdomen in the layout of the Medical Segmentation Decathlon."""
    return small_phantoms((4.8, 4.8, 12.0))
