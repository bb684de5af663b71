"""Files are found at any depth, and archives are checked before anything is unpacked."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from custom_networks.errors import InputError
from custom_networks.io import read_volume
from custom_networks.io.dicom.files import files_of
from custom_networks.io.dicom.listing import FileScan, scan_files
from custom_networks.io.files import looks_like_dicom

Write = Callable[..., Path]
IMAGE = bytes(128) + b"DICM" + b"rest"


def pack(path: Path, members: dict[str, bytes]) -> Path:
    """Write a deflated archive with these members."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def scanned(path: Path) -> FileScan:
    return scan_files(files_of(path))


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        scanned(path)
    return str(caught.value)


def test_files_are_found_at_any_depth_under_any_name(tmp_path: Path) -> None:
    for name in ("a/b/IM1", "a/IM2.dcm", "IM3", "DICOMDIR", "a/dicomdir", ".hidden", "a/._IM1", "__MACOSX/IM1"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(IMAGE)
    (tmp_path / "a" / "page.htm").write_text("<html>")
    found = scanned(tmp_path)
    files = sorted(found.damaged, key=lambda file: file.name)  # these hold a preamble and nothing else
    assert [file.name for file in files] == ["IM3", "a/IM2.dcm", "a/b/IM1"] and found.file_count == 6
    assert found.headers == () and found.like_dicom == 3
    assert [file.folder for file in files] == [".", "a", "a/b"]
    with files[2].open() as stream:
        assert stream.read() == IMAGE


def test_folders_that_are_links_are_entered_once(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "IM1").write_bytes(IMAGE)
    (tmp_path / "exam").mkdir()
    (tmp_path / "exam" / "series").symlink_to(tmp_path / "store")
    (tmp_path / "store" / "back").symlink_to(tmp_path / "exam")
    assert [file.name for file in scanned(tmp_path / "exam").damaged] == ["series/IM1"]


def test_an_archive_gives_the_same_volume_as_a_folder(write_series: Write, tmp_path: Path) -> None:
    folder = write_series()
    members = {f"exam/{path.stem}/{path.stem}": path.read_bytes() for path in folder.iterdir()}
    archive = pack(
        tmp_path / "exam.ZIP", {"readme.txt": b"text", "exam/DICOMDIR": IMAGE, "__MACOSX/x": IMAGE, **members}
    )
    packed, plain = read_volume(archive), read_volume(folder)
    assert np.array_equal(packed.array, plain.array) and np.array_equal(packed.affine, plain.affine)
    assert packed.source == archive and sorted(path.name for path in tmp_path.iterdir()) == ["exam.ZIP", "series"]


@pytest.mark.parametrize("name", ["../IM1", "a/../../IM1", "/IM1", "..\\IM1", "C:\\IM1", "\\IM1"])
def test_member_names_outside_the_archive_are_refused(tmp_path: Path, name: str) -> None:
    assert "leads out of the archive" in refusal(pack(tmp_path / "exam.zip", {"IM0": IMAGE, name: IMAGE}))


def test_links_in_an_archive_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("IM1")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "exam.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert "the member 'IM1' is a link" in refusal(tmp_path / "exam.zip")


def test_duplicate_and_encrypted_members_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        archive.writestr("IM1", IMAGE)
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("IM1", IMAGE)
    assert "two members have the same name" in refusal(tmp_path / "twice.zip")
    content = bytearray(pack(tmp_path / "locked.zip", {"IM1": IMAGE}).read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "locked.zip").write_bytes(content)
    assert "'IM1' is encrypted" in refusal(tmp_path / "locked.zip")


@pytest.mark.parametrize(
    "limit, value, sentence",
    [
        ("RATIO_CHECKED_FROM", 1000, "it would unpack to"),
        ("MOST_BYTES", 1000, "it would unpack to"),
        ("MOST_BYTES_OF_ONE", 1000, "'IM1' is larger than"),
        ("RATIO_OF_ONE_CHECKED_FROM", 1000, "'IM1' would unpack to"),
        ("MOST_MEMBERS", 1, "holds 2 files, but at most 1 are read"),
    ],
)
def test_an_archive_that_is_too_large_is_refused_before_unpacking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, sentence: str
) -> None:
    archive = pack(tmp_path / "bomb.zip", {"IM1": bytes(1_000_000), "IM2": IMAGE})
    monkeypatch.setattr(f"custom_networks.io.dicom.files.{limit}", value)
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *arguments: pytest.fail("a member was opened"))
    assert sentence in refusal(archive)


def test_a_damaged_archive_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_text("not an archive")
    assert "is not a readable zip archive" in refusal(tmp_path / "text.zip")
    content = bytearray(pack(tmp_path / "exam.zip", {"IM1": IMAGE * 99}).read_bytes())
    content[40] ^= 0xFF
    (tmp_path / "exam.zip").write_bytes(content)
    assert "exam.zip/IM1 cannot be unpacked" in refusal(tmp_path / "exam.zip")


@pytest.mark.parametrize(
    "start, expected",
    [
        (IMAGE, True),
        (b"\x08\x00\x08\x00\x16\x00\x00\x00ORIGINAL\\PRIMARY\\AXIAL" + bytes(120), True),
        (b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100" + bytes(120), True),
        (b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100", False),
        (b"\x08\x00\x08\x00\xff\xff\xff\x7f" + bytes(130), False),
        (bytes(200), False),
        (b"DICM" * 30, False),
        (b"", False),
    ],
)
def test_dicom_is_recognised_by_its_first_bytes(start: bytes, expected: bool) -> None:
    assert looks_like_dicom(start[:132]) is expected
