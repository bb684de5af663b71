"""Unreadable files that may be slices cause a refusal or a note; files that belong to an export do not."""

import struct
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from custom_networks.errors import InputError
from custom_networks.io import find_cases, read_volume
from custom_networks.io.dicom import files
from custom_networks.io.dicom.files import inflated, most_unpacked
from custom_networks.io.dicom.suspects import nearly_dicom

Write = Callable[..., Path]


@pytest.mark.parametrize("content", [b"", b"x" * 100, bytes(600), b"version https://git-lfs.github.com/spec/v1\n"])
@pytest.mark.parametrize("name, sentence", [("8.dcm", "1 file is damaged or incomplete .8.dcm. and may be"), ("8", "")])
def test_an_unreadable_file_named_like_the_slices_refuses_the_series(
    write_series: Write, content: bytes, name: str, sentence: str
) -> None:
    folder = write_series()
    (folder / name).write_bytes(content)
    if sentence:
        with pytest.raises(InputError, match=sentence):
            read_volume(folder)
    else:
        assert read_volume(folder).notes == ()


def test_a_dangling_link_counts_as_a_lost_slice(write_series: Write) -> None:
    folder = write_series()
    (folder / "9.dcm").symlink_to(folder / "gone")
    with pytest.raises(InputError, match="9.dcm"):
        read_volume(folder)


def test_an_empty_file_with_another_name_is_only_noted(write_series: Write) -> None:
    folder = write_series()
    (folder / "plan.dcm").touch()
    assert read_volume(folder).notes == ("1 damaged or incomplete file was skipped (plan.dcm).",)


def test_two_letters_of_a_damaged_dicm_mark_are_enough() -> None:
    assert nearly_dicom(b"x" * 128 + b"DIXX") and nearly_dicom(bytes(128) + b"ABCD")
    assert not nearly_dicom(bytes(132)) and not nearly_dicom(b"x" * 132) and not nearly_dicom(b"")


def test_an_archive_with_a_decompression_bomb_is_refused(tmp_path: Path) -> None:
    assert most_unpacked(0) == 64 << 20 and most_unpacked(1 << 40) == 1 << 30
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("slice", bytes((64 << 20) + 1))
    with pytest.raises(InputError, match="would unpack to 64 MiB from"):
        read_volume(tmp_path / "a.zip")


def test_files_that_are_not_deflated_are_not_changed(write_series: Write) -> None:
    path = write_series() / "0.dcm"
    with path.open("rb") as stream:
        assert inflated(stream, "0.dcm") is stream and stream.tell() == 0


EXPLICIT = struct.pack("<HH2sH", 2, 0x10, b"UI", 22)
IMPLICIT = struct.pack("<HHI", 2, 0x10, 22)


def deflated_zeros(
    before: bytes = b"", behind: bytes = b"", preamble: bytes = bytes(128) + b"DICM", head: bytes = EXPLICIT
) -> bytes:
    """A deflated file of two million zeros, with more meta information before and after its transfer syntax."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = deflater.compress(bytes(2_000_000)) + deflater.flush()
    return preamble + before + head + b"1.2.840.10008.1.2.1.99" + behind + body + bytes(132)


def long_element(element: int, kind: bytes = b"OB\0\0") -> bytes:
    """Meta information that extends beyond the bytes that are read first."""
    return struct.pack("<HH", 2, element) + kind + struct.pack("<I", 6000) + bytes(6000)


@pytest.mark.parametrize(
    "content",
    [
        deflated_zeros(),
        deflated_zeros(before=long_element(0x01)),
        deflated_zeros(before=long_element(0x01, b""), head=IMPLICIT),
        deflated_zeros(behind=long_element(0x102)),
        deflated_zeros(preamble=b""),
        deflated_zeros(preamble=b"", before=long_element(0x01)),
    ],
    ids=["usual", "long before", "implicit", "long behind", "no preamble", "no preamble, long"],
)
def test_unusual_meta_information_does_not_hide_a_deflated_data_set(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "HIGHEST_RATIO", 10)
    monkeypatch.setattr(files, "RATIO_OF_ONE_CHECKED_FROM", 1 << 16)
    (tmp_path / "1.dcm").write_bytes(content)
    with pytest.raises(InputError, match="holds a data set that would inflate"):
        read_volume(tmp_path)


def test_long_meta_information_without_deflation_changes_nothing() -> None:
    plain = deflated_zeros(before=long_element(0x01)).replace(b"2.1.99", b"2.1\0\0\0")
    stream = BytesIO(plain)
    assert inflated(stream, "1.dcm") is stream and stream.tell() == 0


def test_a_lost_slice_beside_volume_files_is_named(
    write_nifti: Callable[..., Path], hounsfield: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_nifti(hounsfield).parent
    (folder / "IM1.dcm").write_bytes(b"")
    (folder / "readme.txt").write_text("text")
    cases, refused = find_cases([str(folder)])
    assert [case.name for case in cases] == ["ct"] and refused == []
    assert [record.getMessage() for record in caplog.records] == [
        f"{folder}: 1 damaged or incomplete file was skipped (IM1.dcm)."
    ]
