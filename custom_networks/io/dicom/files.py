"""The files of an input that may be DICOM, in a folder (of any depth) or a zip archive.

Archives are never unpacked to disk, so no member can overwrite a file. Members are read into memory one at a time.
"""

import os
import stat
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO

from pydicom.filereader import read_dataset

from custom_networks.errors import InputError
from custom_networks.io.files import START_BYTES, looks_like_dicom, open_if_dicom, visible_files

# A CT of 2000 slices of 512 x 512 takes 1 GiB; exams of several series stay below these limits.
MOST_MEMBERS = 100_000
MOST_BYTES = 16 * 2**30
MOST_BYTES_OF_ONE = 2**30
# CT compresses by a factor of 2 to 5. Slices of pure air reach 1000, but no whole exam of this size does.
RATIO_CHECKED_FROM = 2**30
RATIO_OF_ONE_CHECKED_FROM = 2**26
HIGHEST_RATIO = 100
# The meta information before a deflated data set contains this transfer syntax (PS3.5 A.5).
DEFLATED, PLAIN = b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.1\0\0\0"
META_BYTES = 1 << 12
# Value representations in meta information with a length field of 2 bytes, and with 2 reserved bytes and 4.
SHORT_KINDS, LONG_KINDS = (b"AE", b"SH", b"UI", b"UL"), (b"OB", b"UR")
MOST_OPEN = 4
HIDDEN = (".", "__MACOSX")


@dataclass(frozen=True)
class DicomFile:
    """A file of an input.

    Attributes:
        source: the folder or archive given by the user.
        name: path of the file in the source, with "/".
    """

    source: Path
    name: str

    @property
    def path(self) -> PurePosixPath:
        """Path relative to the source."""
        return PurePosixPath(self.name)

    @property
    def folder(self) -> str:
        """Folder of the file relative to the source, "." if the file is directly in it."""
        return str(self.path.parent)

    def open(self) -> BinaryIO | None:
        """Open the file as a seekable stream; returns None if its first bytes do not look like DICOM.

        Raises:
            InputError: the file cannot be opened, or its archive is damaged or unsafe.
        """
        return self.start_and_stream()[1]

    def start_and_stream(self) -> tuple[bytes, BinaryIO | None]:
        """Return the first bytes of the file and, if they look like DICOM, the file as a seekable stream, else None.

        For a dangling link or a pipe, the result is b"" and None. Raises the same errors as `open`.
        """
        if not self.source.is_dir():
            start, stream = self._open_in_archive()
        elif (path := self.source / self.name).is_file():
            start, stream = open_if_dicom(path)
        else:
            start, stream = b"", None
        return start, None if stream is None else inflated(stream, str(self))

    def _open_in_archive(self) -> tuple[bytes, BinaryIO | None]:
        archive = _opened_archive(self.source)
        try:
            with archive.open(self.name) as stream:
                start = stream.read(START_BYTES)
                return start, BytesIO(start + stream.read()) if looks_like_dicom(start) else None
        except Exception as error:  # zlib, lzma, bz2 and zip each have their own errors
            raise InputError(f"{self} cannot be unpacked ({error}): make the archive again.") from error

    def __str__(self) -> str:
        return str(self.source / self.name)


def files_of(source: Path) -> list[DicomFile]:
    """Return the visible files of a folder (of any depth) or zip archive.

    Raises:
        InputError: a folder cannot be listed, or the archive cannot be opened, is damaged or unsafe.
    """
    if source.is_dir():
        return [DicomFile(source, name) for name in _names_below(source)]
    members = (member.filename for member in _opened_archive(source).infolist() if not member.is_dir())
    shown = (name for name in members if not any(part.startswith(HIDDEN) for part in PurePosixPath(name).parts))
    return [DicomFile(source, name) for name in shown]


def most_unpacked(packed: int) -> int:
    """Return the largest accepted size in bytes of a file whose compressed size is `packed` bytes."""
    return min(MOST_BYTES_OF_ONE, max(RATIO_OF_ONE_CHECKED_FROM, HIGHEST_RATIO * packed))


def inflated(stream: BinaryIO, name: str) -> BinaryIO:
    """Return the stream of a DICOM file from its beginning, inflated if its data set is deflated.

    pydicom itself has no limit and would inflate a few kilobytes to gigabytes. If the deflated data are damaged, the
    stream is returned as it is.

    Raises:
        InputError: the inflated file would be larger than `most_unpacked` allows.
    """
    start = stream.read(META_BYTES)
    here = _deflated_from(stream, _meta_start(start)) if _can_be_deflated(start) else 0
    stream.seek(0)
    if not here:
        return stream
    with stream:
        whole = stream.read(MOST_BYTES_OF_ONE)
    most, inflater = most_unpacked(len(whole)), zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        plain = inflater.decompress(whole[here:], most)
    except zlib.error:
        return BytesIO(whole)  # damaged, so reading its header will fail
    if len(plain) == most:
        raise InputError(
            f"{name} holds a data set that would inflate from {len(whole) >> 10} KiB to more than {most >> 20} MiB, "
            "too much for an image: export it uncompressed."
        )
    return BytesIO(whole[:here].replace(DEFLATED, PLAIN) + plain)


def _meta_start(start: bytes) -> int:
    """Return the offset of the meta information in a file with these first bytes, as pydicom determines it."""
    return START_BYTES if start[128:START_BYTES] == b"DICM" else 0


def _can_be_deflated(start: bytes) -> bool:
    """Whether a file with these first `META_BYTES` bytes may be deflated; True if that cannot be excluded.

    The meta information is walked element by element, as in pydicom, which does not trust its declared length.
    """
    if DEFLATED in start:
        return True
    here = _meta_start(start)
    while here + 12 <= len(start):
        group, kind, length = struct.unpack("<H2x2sH", start[here : here + 8])
        if group != 2:
            return False
        if kind in LONG_KINDS:
            (length,) = struct.unpack("<4xI", start[here + 4 : here + 12])
        elif kind not in SHORT_KINDS:
            return True  # another encoding, which has to be parsed by pydicom
        here += length + (12 if kind in LONG_KINDS else 8)
    return len(start) == META_BYTES


def _deflated_from(stream: BinaryIO, begin: int) -> int:
    """Return the offset of a deflated data set, 0 if it is not deflated; meta information starts at offset `begin`.

    Meta information should have explicit value representations, but pydicom accepts implicit ones, too.
    """
    for implicit in (False, True):
        stream.seek(begin)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                meta = read_dataset(stream, implicit, True, stop_when=lambda tag, vr, length: tag.group != 2)
                syntax = str(meta.get("TransferSyntaxUID")).encode()
        except Exception:  # pydicom has no common error for malformed bytes
            continue
        if syntax == DEFLATED:
            return stream.tell()
    return 0


def _opened_archive(path: Path) -> zipfile.ZipFile:
    """Return an opened archive, cached until the file changes; at most `MOST_OPEN` stay open."""
    try:
        written = path.stat().st_mtime_ns
    except OSError as error:
        raise InputError(f"{path} cannot be opened ({error.strerror}): check its permissions.") from error
    return _trusted_archive(path, written, os.getpid())  # forked processes share a file position


@lru_cache(maxsize=MOST_OPEN)
def _trusted_archive(path: Path, written: int, process: int) -> zipfile.ZipFile:
    """Open an archive and check its directory before anything is unpacked.

    The modification time `written` and the process ID `process` only distinguish cached archives.

    Raises:
        InputError: the archive cannot be read, or is unsafe.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:  # also for newer zip formats
        raise InputError(f"{path} is not a readable zip archive ({error}): copy it again or recreate it.") from error
    reason = _reason_against([member for member in archive.infolist() if not member.is_dir()])
    if reason:
        archive.close()
        raise InputError(f"{path} is refused: {reason}.")
    return archive


def _names_below(folder: Path) -> Iterator[str]:
    """Yield the visible files below a folder; links to folders are followed, but each folder is entered only once."""
    entered: set[str] = set()

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename} cannot be listed ({error.strerror}): check its permissions.") from error

    for directory, folders, _ in os.walk(folder, onerror=refuse, followlinks=True):
        real = os.path.realpath(directory)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith(HIDDEN))
        yield from (path.relative_to(folder).as_posix() for path in visible_files(Path(directory)))


def _reason_against(members: Sequence[zipfile.ZipInfo]) -> str:
    """Return the reason why an archive with these members is refused, or ""."""
    for member in members:
        name, windows = PurePosixPath(member.filename), PureWindowsPath(member.filename)
        if ".." in windows.parts or name.is_absolute() or windows.drive or windows.root:
            return f"the member {member.filename!r} leads out of the archive"
        if stat.S_ISLNK(member.external_attr >> 16):
            return f"the member {member.filename!r} is a link; pack the files themselves"
        if member.flag_bits & 1:
            return f"the member {member.filename!r} is encrypted; pack the files without a password"
        if member.file_size > MOST_BYTES_OF_ONE:
            return f"the member {member.filename!r} is larger than {MOST_BYTES_OF_ONE >> 20} MiB; unpack it yourself"
        if member.file_size > most_unpacked(member.compress_size):
            sizes = f"{member.file_size >> 20} MiB from {member.compress_size >> 10} KiB"
            return f"the member {member.filename!r} would unpack to {sizes}, too much for an image; unpack it yourself"
    unpacked, packed = sum(m.file_size for m in members), sum(m.compress_size for m in members)
    if len(members) > MOST_MEMBERS:
        return f"it holds {len(members)} files, but at most {MOST_MEMBERS} are read; unpack it yourself"
    if len({member.filename for member in members}) < len(members):
        return "two members have the same name; pack the files again"
    if unpacked > MOST_BYTES or (unpacked > RATIO_CHECKED_FROM and unpacked > HIGHEST_RATIO * packed):
        return f"it would unpack to {unpacked >> 20} MiB from {packed >> 20} MiB; unpack it yourself"
    return ""
