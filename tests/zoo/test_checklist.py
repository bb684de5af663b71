"""The model zoo's requirements, from its CONTRIBUTING.md, CI scripts and pre-commit checks."""

import ast
import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ckpt_export, verify_metadata, verify_net_in_out

from custom_networks.packing import PackedBundle
from custom_networks.packing.contents import bundle_contents, without_large_files

PACKAGE = Path(__file__).resolve().parents[2] / "custom_networks"
# Sections of the zoo's docs/readme_template.md, in its order; "Additional Usage Steps" and "Limitations" are optional.
SECTIONS = (
    "Authors",
    "Tags",
    "Model Description",
    "Data",
    "Preprocessing",
    "Performance",
    "Additional Usage Steps",
    "System Configuration",
    "Limitations",
    "Citation Info",
    "References",
)
# Import names that differ from pip's.
PIP_NAMES = {"ignite": "pytorch-ignite"}


def metadata_of(bundle: Path) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))
    return parsed


def texts(bundle: Path) -> list[Path]:
    return [path for path in bundle.rglob("*") if path.is_file() and path.suffix not in (".pt", ".png", ".zip")]


def test_the_folder_has_a_name_of_lower_case_words_with_organ_and_modality(bundle: Path) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z0-9]+)+", bundle.name)
    assert {"liver", "tumor", "ct"} <= set(bundle.name.split("_"))
    # MONAI Label guesses the kind of task from these words; without any it is segmentation.
    assert not {"detection", "deepedit", "deepgrow", "classification"} & set(bundle.name.split("_"))


@pytest.mark.parametrize(
    "name",
    [
        "LICENSE",
        "configs/metadata.json",
        "models/model.pt",
        "models/scout/scout.pt",
        "models/segments/segments.pt",
        "configs/inference.json",
        "configs/train.json",
        "configs/evaluate.json",
        "configs/multi_gpu_train.json",
        "configs/multi_gpu_evaluate.json",
        "configs/logging.conf",
        "docs/README.md",
        "docs/data_license.txt",
    ],
)
def test_the_files_that_the_zoo_requires_or_expects_exist(bundle: Path, name: str) -> None:
    assert (bundle / name).stat().st_size > 0


def test_the_model_card_has_the_sections_of_the_template_in_order(bundle: Path) -> None:
    headings = re.findall(r"^#+ \**([\w ]+?)\**$", (bundle / "docs" / "README.md").read_text("utf-8"), re.MULTILINE)
    assert [heading for heading in headings if heading in SECTIONS] == list(SECTIONS)


def test_the_data_license_mentions_every_data_set_of_the_card(bundle: Path) -> None:
    said, card = ((bundle / "docs" / name).read_text(encoding="utf-8") for name in ("data_license.txt", "README.md"))
    names = ("Medical Segmentation Decathlon", "LiTS", "3D-IRCADb-01", "ACRIN-FLT", "CPTAC", "LIDC")
    assert all(name in said and name in card for name in names)
    assert "Weights" in said and "Apache" in said


def test_models_has_only_the_weights_that_inference_loads(bundle: Path) -> None:
    # MONAI Label offers all of models/*.pt and takes the shortest name first.
    assert [path.name for path in (bundle / "models").glob("*.pt")] == ["model.pt"]
    files = [path for path in (bundle / "models").rglob("*") if path.is_file()]
    names = sorted(path.relative_to(bundle).as_posix() for path in files)
    assert names == ["models/model.pt", "models/scout/scout.pt", "models/segments/segments.pt"]


def test_no_file_is_larger_than_the_zoo_allows(bundle: Path, packed: PackedBundle) -> None:
    assert max(path.stat().st_size for path in bundle.rglob("*") if path.is_file()) <= 25 * 10**6
    whole = bundle_contents(PACKAGE.parent / "bundle", PACKAGE)
    left = without_large_files(whole, "https://example.org/")
    assert max(map(len, left.values())) <= 1024 * 1024 and "large_files.yml" in left
    assert set(whole) - set(left) == {"models/model.pt"}


def test_text_files_pass_the_zoos_pre_commit_checks(bundle: Path) -> None:
    for path in texts(bundle):
        content = path.read_bytes()
        assert content.endswith(b"\n") and not content.endswith(b"\n\n"), f"{path.name}: end of file"
        assert b"\r" not in content, f"{path.name}: line endings"
        assert not re.search(rb"[ \t]+$", content, re.MULTILINE), f"{path.name}: trailing whitespace"
        assert b"PRIVATE KEY" not in content, path.name
        assert not content.startswith(b"#!"), f"{path.name}: a script without the right to be run"
        if path.suffix == ".json":
            assert content.decode() == json.dumps(json.loads(content), indent=4, ensure_ascii=False) + "\n", path.name
    lower = [path.relative_to(bundle).as_posix().lower() for path in bundle.rglob("*")]
    assert len(lower) == len(set(lower)), "names that differ by case alone"


def test_the_version_is_a_new_one_with_a_changelog(bundle: Path) -> None:
    metadata = metadata_of(bundle)
    assert re.fullmatch(r"\d+\.\d+\.\d+", metadata["version"])
    assert metadata["changelog"][metadata["version"]]
    info = json.loads((bundle.parent / "model_info.json").read_text(encoding="utf-8"))
    assert f"{bundle.name}_v{metadata['version']}" not in info


def test_the_zoo_can_install_the_packages_in_the_metadata(bundle: Path) -> None:
    metadata = metadata_of(bundle)
    versions = [metadata[f"{name}_version"] for name in ("monai", "pytorch", "numpy")]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", v) for v in [*versions, *metadata["required_packages_version"].values()])
    # The zoo raises MONAI's last number by one and strips ".0": 1.5.9 would ask for < 1.5.1 or the like.
    assert not metadata["monai_version"].endswith("9")
    assert "optional_packages_version" not in metadata, "the schema of 2024 asks for required_packages_version"


def test_every_library_that_the_packed_code_imports_is_in_the_metadata(bundle: Path) -> None:
    named = {"torch", "monai", "numpy", "custom_networks", *metadata_of(bundle)["required_packages_version"]}
    for path in (bundle / "custom_networks").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found = {module.partition(".")[0] for module in modules} - sys.stdlib_module_names
            assert {PIP_NAMES.get(name, name) for name in found} <= named, path.name


def test_the_formats_of_input_and_output_are_complete(bundle: Path) -> None:
    described = metadata_of(bundle)["network_data_format"]
    assert (list(described["inputs"]), list(described["outputs"])) == (["image"], ["pred"])
    for tensor in (described["inputs"]["image"], described["outputs"]["pred"]):
        assert {"type", "format", "num_channels", "spatial_shape", "dtype", "value_range"} <= set(tensor)
        assert all(re.fullmatch(r"[pn\d*+ -]+", str(size)) for size in tensor["spatial_shape"])


def test_the_metadata_are_verified_by_monai(bundle: Path, schema: Path, tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_bytes(schema.read_bytes())  # a file that is there is not downloaded
    verify_metadata(meta_file=str(bundle / "configs" / "metadata.json"), filepath=str(tmp_path / "schema.json"))


@pytest.mark.parametrize("smallest", [1, 2])
def test_the_network_is_verified_by_monai_down_to_the_smallest_shape(bundle: Path, smallest: int) -> None:
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(bundle / "configs" / "metadata.json"),
        config_file=str(bundle / "configs" / "inference.json"),
        n=smallest,
        any=smallest,
        device="cpu",
    )


def test_the_weights_can_be_exported_to_torchscript_as_in_the_zoo(bundle: Path, tmp_path: Path) -> None:
    ckpt_export(
        net_id="network_def",
        filepath=str(tmp_path / "model.ts"),
        ckpt_file=str(bundle / "models" / "model.pt"),
        meta_file=str(bundle / "configs" / "metadata.json"),
        config_file=str(bundle / "configs" / "inference.json"),
        bundle_root=str(bundle),
    )
    with torch.no_grad():
        logits = torch.jit.load(tmp_path / "model.ts")(torch.zeros(1, 1, 16, 32, 1))
    assert logits.shape == (1, 3, 16, 32, 1) and math.isfinite(float(logits.sum()))


def test_the_archive_is_the_same_when_packed_again(packed: PackedBundle) -> None:
    from custom_networks.packing.archive import zip_archive

    again = zip_archive(bundle_contents(PACKAGE.parent / "bundle", PACKAGE))
    assert again == packed.path.read_bytes()
