"""`liverseg pack` writes the archive and reports its hash and the files left out."""

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from custom_networks.bundle_files import bundle_version
from custom_networks.packing import archive

Liverseg = Callable[..., Any]


@pytest.fixture(autouse=True)
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the check of the archive, which takes seconds and is tested in tests/zoo."""
    monkeypatch.setattr(archive, "_check", lambda *_: None)


def test_the_archive_is_written_and_reported_with_its_hash(liverseg: Liverseg, tmp_path: Path) -> None:
    answer = liverseg("pack", "2024.zip")
    content = (tmp_path / "2024.zip").read_bytes()
    files = zipfile.ZipFile(tmp_path / "2024.zip").namelist()
    assert answer == (
        0,
        f"2024.zip: version {bundle_version()}, {len(files)} files, {len(content)} bytes\n"
        f"  sha256  {hashlib.sha256(content).hexdigest()}\n",
        "",
    )
    assert "liver_tumor_ct_25d/models/model.pt" in files


def test_large_weights_are_replaced_by_their_address(liverseg: Liverseg, tmp_path: Path) -> None:
    answer = liverseg("pack", "--output", "small.zip", "--weights-url=https://example.org/model.pt")
    assert answer.code == 0 and "  left out models/model.pt, " in answer.out
    with zipfile.ZipFile(tmp_path / "small.zip") as packed:
        assert "liver_tumor_ct_25d/models/model.pt" not in packed.namelist()
        assert b'url: "https://example.org/model.pt"' in packed.read("liver_tumor_ct_25d/large_files.yml")
        assert max(entry.file_size for entry in packed.infolist()) <= 1024 * 1024
