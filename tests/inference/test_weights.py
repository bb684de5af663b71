"""Weights that are not the released ones are announced, and the metadata names those in the bundle."""

import json
import logging
from pathlib import Path

import pytest

from custom_networks.bundle_files import bundle_root
from custom_networks.inference import announce_weights


def test_the_metadata_holds_the_sha256_of_the_weights_in_the_bundle() -> None:
    root = bundle_root()
    named = json.loads((root / "configs" / "metadata.json").read_text(encoding="utf-8"))["weights"]["path"]
    assert announce_weights(str(root / named), str(root))


def test_other_weights_are_announced_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    other = tmp_path / "fine_tuned.pt"
    other.write_bytes(b"other weights")
    with caplog.at_level(logging.WARNING):
        assert not announce_weights(str(other), str(bundle_root()))
    assert len(caplog.messages) == 1 and "fine_tuned.pt" in caplog.messages[0] and "\n" not in caplog.messages[0]


def test_missing_weights_are_left_to_the_loader(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert not announce_weights(str(tmp_path / "none.pt"), str(bundle_root())) and not caplog.messages
