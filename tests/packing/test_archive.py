"""The archive: reproducible bytes, one top-level folder, and no archive that fails its check."""

import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from custom_networks.errors import BundleError, UsageError
from custom_networks.packing import archive, pack_bundle
from custom_networks.packing.archive import zip_archive

CONTENTS = {"LICENSE": b"licence\n", "configs/inference.json": b"{}\n", "custom_networks/__init__.py": b""}


def test_the_bytes_depend_only_on_names_and_contents() -> None:
    backwards = dict(reversed(CONTENTS.items()))
    assert zip_archive(backwards) == zip_archive(CONTENTS)
    # Made once on Linux with Python 3.11; stored without compression, it is the same on every machine.
    assert (
        hashlib.sha256(zip_archive(CONTENTS)).hexdigest()
        == "b6ed4773b1363535ed0a335dccf14b1dd2d9ddb56b94a2ce73393d896dc0aed2"
    )


def test_all_files_are_in_one_folder_with_a_fixed_time_and_mode() -> None:
    with zipfile.ZipFile(io.BytesIO(zip_archive(CONTENTS))) as packed:
        assert packed.testzip() is None
        entries = packed.infolist()
    assert [entry.filename for entry in entries] == [f"liver_tumor_ct_25d/{name}" for name in CONTENTS]
    assert {(entry.date_time, entry.external_attr >> 16) for entry in entries} == {((1980, 1, 1, 0, 0, 0), 0o100644)}


@pytest.mark.parametrize("name", ["bundle", "bundle.tar", "folder.zip"])
def test_a_name_that_does_not_end_in_zip_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.zip").mkdir()
    with pytest.raises(UsageError, match="use a file name that ends in .zip, got"):
        pack_bundle(tmp_path / name)


def test_an_archive_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_check", lambda *_: None)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        pack_bundle(tmp_path / "file" / "bundle.zip")


@pytest.mark.parametrize(
    "code, reason",
    [
        ({"custom_networks/__init__.py": b"raise ImportError('torn')"}, "torn"),
        ({"custom_networks/__init__.py": b"", "custom_networks/io.py": b"import no_such_library"}, "no_such_library"),
        ({}, "custom_networks"),  # another's code is found in its place, or none
    ],
)
def test_code_that_does_not_work_when_unpacked_is_not_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: dict[str, bytes], reason: str
) -> None:
    monkeypatch.setattr(archive, "bundle_contents", lambda *_: {"LICENSE": b"", **code})
    with pytest.raises(BundleError, match=rf"does not work when it is unpacked \(\w+Error: .*{reason}"):
        pack_bundle(tmp_path / "bundle.zip")
    assert list(tmp_path.iterdir()) == []
