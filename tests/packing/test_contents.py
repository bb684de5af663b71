"""Packed contents: the code that the configs name, everything that it imports, and no other files."""

import hashlib
from pathlib import Path

import pytest

from custom_networks.bundle_files import bundle_root
from custom_networks.errors import BundleError, UsageError
from custom_networks.packing.contents import LARGEST_IN_GIT, bundle_contents, without_large_files

PACKAGE = Path(__file__).resolve().parents[2] / "custom_networks"
INFERENCE = """{"checkpoint": "$@bundle_root + '/models/model.pt'", "first": {"_target_": "custom_networks.io.Read"}}"""
URL = "https://example.org/v1/"


def lay_out(folder: Path, files: dict[str, str]) -> Path:
    """Write files below a folder."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle whose config names one part of the code, with unrelated files in the folder."""
    files = {
        "LICENSE": "licence",
        "configs/inference.json": INFERENCE,
        "configs/logging.conf": "[loggers]",
        "configs/.inference.json.swp": "an editor's",
        "configs/inference.json~": "an editor's",
        "docs/README.md": "card",
        "models/model.pt": "weights",
        "models/a.pt": "MONAI Label would take these, as the shorter name",
        "models/model_final.pt": "training's",
        "eval/masks.csv": "a run's",
    }
    return lay_out(tmp_path / "bundle", files)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Parts of code that import each other, io -> geometry -> errors, and cli, which no named part imports."""
    files = {
        "__init__.py": "",
        "io/__init__.py": "from custom_networks.io.read import Read\n",
        "io/read.py": "def read():\n    from custom_networks.geometry import affine\n",
        "io/notes.txt": "no code",
        "geometry.py": "import custom_networks.errors\n",
        "errors.py": "",
        "cli.py": "from custom_networks.io import Read\n",
    }
    return lay_out(tmp_path / "custom_networks", files)


def test_only_what_the_bundle_declares_is_packed(bundle: Path, package: Path) -> None:
    contents = bundle_contents(bundle, package)
    assert list(contents) == [
        "LICENSE",
        "configs/inference.json",
        "configs/logging.conf",
        "custom_networks/__init__.py",
        "custom_networks/errors.py",
        "custom_networks/geometry.py",
        "custom_networks/io/__init__.py",
        "custom_networks/io/read.py",
        "docs/README.md",
        "models/model.pt",
    ]
    assert contents["models/model.pt"] == b"weights" and contents["custom_networks/errors.py"] == b""


def test_weights_named_by_inference_must_exist(bundle: Path, package: Path) -> None:
    (bundle / "models" / "model.pt").unlink()
    with pytest.raises(BundleError, match=r"No weights at \S+model\.pt, which inference\.json names"):
        bundle_contents(bundle, package)


def test_code_named_by_a_config_must_exist(bundle: Path, package: Path) -> None:
    lay_out(bundle, {"configs/train.json": '{"loss": "$custom_networks.losses.dice()"}'})
    with pytest.raises(BundleError, match=r"custom_networks\.losses is named by the bundle but is not in"):
        bundle_contents(bundle, package)


def test_the_projects_bundle_contains_exactly_the_parts_that_it_needs() -> None:
    contents = bundle_contents(bundle_root(), PACKAGE)
    code = [Path(name).parts[1].removesuffix(".py") for name in contents if name.startswith("custom_networks/")]
    assert {"__init__", "networks", "io", "transforms", "inference", "training", "errors"} <= set(code)
    assert not {"__main__", "cli", "arguments", "pipeline", "report", "dicom_out", "phantom", "packing"} & set(code)
    assert {"configs/metadata.json", "docs/README.md", "docs/data_license.txt", "models/model.pt"} <= set(contents)


def test_a_file_over_1_mib_is_replaced_by_its_address_and_hash() -> None:
    limit = b"0" * LARGEST_IN_GIT
    contents = {"LICENSE": b"licence", "models/at limit.pt": limit, "models/model.pt": limit + b"0"}
    packed = without_large_files(contents, URL)
    assert list(packed) == ["LICENSE", "large_files.yml", "models/at limit.pt"]
    assert packed["large_files.yml"].decode() == (
        "large_files:\n"
        '- path: "models/model.pt"  # 1048577 bytes\n'
        '  url: "https://example.org/v1/models/model.pt"\n'
        f'  hash_val: "{hashlib.sha256(limit + b"0").hexdigest()}"\n'
        '  hash_type: "sha256"\n'
    )


def test_an_address_is_that_of_a_single_file_or_of_a_folder() -> None:
    large = b"0" * (LARGEST_IN_GIT + 1)
    one = without_large_files({"models/model.pt": large}, "https://example.org/weights.pt?download=true")
    assert b'url: "https://example.org/weights.pt?download=true"\n' in one["large_files.yml"]
    two = {"models/a b.pt": large, "models/model.pt": large}
    assert b'url: "https://example.org/v1/models/a%20b.pt"\n' in without_large_files(two, URL)["large_files.yml"]
    with pytest.raises(UsageError, match=r"2 files are left out \(models/a b.pt, models/model.pt\)"):
        without_large_files(two, URL.rstrip("/"))


def test_without_a_large_file_nothing_changes() -> None:
    assert without_large_files({"LICENSE": b"licence"}, URL) == {"LICENSE": b"licence"}


@pytest.mark.parametrize("url", ["model.pt", "/home/model.pt", "ftp://example.org/model.pt", "https://"])
def test_an_address_that_is_not_http_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="--weights-url must be an http or https address, got"):
        without_large_files({"LICENSE": b"licence"}, url)
