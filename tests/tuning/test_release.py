"""New weights are put into the bundle together with their hash and scores."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from custom_networks.bundle_files import bundle_network, bundle_root
from custom_networks.errors import BundleError, InputError
from custom_networks.tuning.release import main, release

SUMMARY = {"liver_dice": 0.9512, "tumor_dice_with_tumor": 0.7449, "liver_nsd_1mm": 0.5}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A copy of the bundle, whose confidence is valid for its weights."""
    root = tmp_path / "bundle"
    shutil.copytree(bundle_root(), root)
    path = root / "configs" / "inference.json"
    path.write_text(json.dumps(read(path) | {"confidence_valid_for": "0" * 64}), encoding="utf-8")
    return root


def read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def test_weights_hash_and_scores_are_replaced_and_confidence_is_not_valid_for_them(
    bundle: Path, tmp_path: Path
) -> None:
    network = bundle_network(bundle)
    with torch.no_grad():
        next(network.parameters()).zero_()
    given = tmp_path / "new.pt"
    torch.save(network.state_dict(), given)
    scored: list[Path] = []
    scores = release(given, bundle, lambda path: scored.append(path) or SUMMARY)  # type: ignore[func-returns-value]
    shipped = bundle / "models" / "model.pt"
    metadata = read(bundle / "configs" / "metadata.json")
    assert scored == [given]
    assert float(next(bundle_network(bundle).parameters()).abs().sum()) == 0.0
    assert metadata["weights"]["sha256"] == hashlib.sha256(shipped.read_bytes()).hexdigest()
    assert metadata["eval_metrics"] == scores == {"liver_dice": 0.951, "tumor_dice_with_tumor": 0.745}
    assert read(bundle / "configs" / "inference.json")["confidence_valid_for"] is None


def test_weights_of_another_network_change_nothing(bundle: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()}
    torch.save({"other.weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(BundleError):
        release(tmp_path / "other.pt", bundle, lambda path: SUMMARY)
    assert {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()} == before


def test_a_failed_scoring_changes_nothing(bundle: Path) -> None:
    def fail(path: Path) -> dict[str, float]:
        raise InputError("no such data")

    before = {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()}
    with pytest.raises(InputError):
        release(bundle / "models" / "model.pt", bundle, fail)
    assert {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()} == before


def test_a_data_list_without_dev_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ct.nii.gz", "label.nii.gz"):
        (tmp_path / name).touch()
    listed = {"training": [{"image": "ct.nii.gz", "label": "label.nii.gz"}]}
    (tmp_path / "dataset.json").write_text(json.dumps(listed), encoding="utf-8")
    arguments = ["release", "weights.pt", "--dataset_dir", str(tmp_path), "--output_dir", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit, match='has no "dev" to score the weights on: add one.'):
        main()
