"""Other weights than the released ones cause a warning, and the metadata names those in the bundle."""

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from custom_networks.bundle_files import bundle_root
from custom_networks.errors import BundleError
from custom_networks.inference import announce_weights, loaded_network, weights_in


def test_the_metadata_have_the_sha256_of_the_weights_in_the_bundle() -> None:
    root = bundle_root()
    named = json.loads((root / "configs" / "metadata.json").read_text(encoding="utf-8"))["weights"]["path"]
    assert announce_weights(str(root / named), str(root))


def test_other_weights_cause_a_warning_of_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    other = tmp_path / "fine_tuned.pt"
    other.write_bytes(b"other weights")
    with caplog.at_level(logging.WARNING):
        assert not announce_weights(str(other), str(bundle_root()))
    assert len(caplog.messages) == 1 and "fine_tuned.pt" in caplog.messages[0] and "\n" not in caplog.messages[0]


def test_missing_weights_are_left_to_the_loader(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert not announce_weights(str(tmp_path / "none.pt"), str(bundle_root())) and not caplog.messages


def test_the_metadata_have_the_sha256_of_the_scouts_weights() -> None:
    root = bundle_root()
    scout = json.loads((root / "configs" / "metadata.json").read_text(encoding="utf-8"))["weights"]["scout"]
    assert scout["sha256"] == hashlib.sha256((root / scout["path"]).read_bytes()).hexdigest()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Weights of a layer that maps 1 to 3."""
    path = tmp_path / "scout.pt"
    torch.save({"weight": torch.tensor([[2.0]]), "bias": torch.tensor([1.0])}, path)
    return path


def test_a_network_gets_its_weights_and_is_ready_to_infer(saved: Path) -> None:
    network = loaded_network(nn.Linear(1, 1), str(saved))
    assert network(torch.ones(1)).item() == 3 and not network.training
    assert weights_in(str(saved))[1] == hashlib.sha256(saved.read_bytes()).hexdigest()


def test_a_file_is_read_once_until_it_changes_and_no_network_shares_its_tensors(saved: Path) -> None:
    first = loaded_network(nn.Linear(1, 1), str(saved))
    assert weights_in(str(saved))[0] is weights_in(str(saved))[0]
    with torch.no_grad():
        first.weight.fill_(7.0)  # type: ignore[operator]
    assert loaded_network(nn.Linear(1, 1), str(saved))(torch.ones(1)).item() == 3
    torch.save({"weight": torch.tensor([[4.0]]), "bias": torch.tensor([1.0]), "more": torch.zeros(500)}, saved)
    assert weights_in(str(saved))[0]["weight"].item() == 4


def flipped(content: bytes) -> bytes:
    """The archive with one flipped bit in a tensor and an unchanged directory."""
    place = content.index(torch.tensor([2.0]).numpy().tobytes())
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (flipped, "is damaged .the checksum of"),
        (lambda content: content[: len(content) // 2], "is damaged"),
        (lambda content: b"", "does not contain weights"),
    ],
    ids=["a changed bit", "cut off", "empty"],
)
def test_damaged_weights_are_refused_in_one_line(saved: Path, damage: Callable[[bytes], bytes], says: str) -> None:
    saved.write_bytes(damage(saved.read_bytes()))
    with pytest.raises(BundleError, match=says) as refused:
        loaded_network(nn.Linear(1, 1), str(saved))
    assert str(saved) in str(refused.value) and "\n" not in str(refused.value)


def test_missing_weights_and_those_of_another_network_are_refused(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="No weights at"):
        loaded_network(nn.Linear(1, 1), str(tmp_path / "none.pt"))
    with pytest.raises(BundleError, match="does not contain weights of this network"):
        loaded_network(nn.Linear(2, 1), str(saved))
