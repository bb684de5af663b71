"""The files of an input that may be DICOM: those of a folder of any depth, or the members of a zip archive.

An archive is never unpacked to disk: its members are read into memory one at a time, so no name in it can lead out.
"""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO

from custom_networks.errors import InputError
from custom_networks.io.files import looks_like_dicom, start_of, visible_files

# A CT of 2000 slices of 512 x 512 is 1 GiB; an exam of several series stays below these.
MOST_MEMBERS = 100_000
MOST_BYTES = 16 * 2**30
MOST_BYTES_OF_ONE = 2**30
# CT deflates 2 to 5 times, slices of air alone 1000 times; an archive this large never does so as a whole.
RATIO_CHECKED_FROM = 2**30
HIGHEST_RATIO = 100


@dataclass(frozen=True)
class DicomFile:
    """One file of an input.

    Attributes:
        source: the folder or archive that was given.
        name: path below it, with "/".
    """

    source: Path
    name: str
    archive: zipfile.ZipFile | None = field(default=None, repr=False, compare=False)

    @property
    def folder(self) -> str:
        """The folder of the file below the source, "." for the source itself."""
        return str(PurePosixPath(self.name).parent)

    def open(self) -> BinaryIO:
        """The bytes of the file.

        Raises:
            InputError: it cannot be opened, or its archive is damaged.
        """
        if self.archive is None:
            return _open(self.source / self.name)
        try:
            return BytesIO(self.archive.read(self.name))
        except Exception as error:  # zlib, lzma, bz2, zip: each has its own
            raise InputError(f"{self} cannot be unpacked ({error}): make the archive again.") from error

    def start(self) -> bytes:
        """The first 132 bytes, or what there is of them."""
        if self.archive is None:
            return start_of(self.source / self.name)
        try:
            with self.archive.open(self.name) as stream:
                return stream.read(132)
        except Exception as error:  # as above
            raise InputError(f"{self} cannot be unpacked ({error}): make the archive again.") from error

    def __str__(self) -> str:
        return str(self.source / self.name)


def dicom_files(source: Path) -> tuple[list[DicomFile], int]:
    """The DICOM files of a folder of any depth or of a zip archive, sorted by name, and how many files there are.

    Hidden files and DICOMDIR, an index of files that need not be there, are passed over.

    Raises:
        InputError: something cannot be opened or listed, or the archive is damaged or not to be trusted.
    """
    files = _members(source) if source.is_file() else [DicomFile(source, name) for name in _names_below(source)]
    images = [file for file in files if not _is_index(file.name) and looks_like_dicom(file.start())]
    return sorted(images, key=lambda file: file.name), len(files)


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(f"{path} cannot be opened ({error.strerror}): check its permissions.") from error


def _is_index(name: str) -> bool:
    return PurePosixPath(name).name.upper() == "DICOMDIR"


def _names_below(folder: Path) -> Iterator[str]:
    """The visible files below a folder; folders that are links are followed, each folder is entered once."""
    entered: set[str] = set()

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename} cannot be listed ({error.strerror}): check its permissions.") from error

    for directory, folders, _ in os.walk(folder, onerror=refuse, followlinks=True):
        real = os.path.realpath(directory)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        yield from (path.relative_to(folder).as_posix() for path in visible_files(Path(directory)))


def _members(path: Path) -> list[DicomFile]:
    """The visible files of an archive, after its directory was looked at and before anything of it was unpacked."""
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:  # zipfile: a newer format of zip
        raise InputError(f"{path} is not a readable zip archive ({error}): copy or make it again.") from error
    members = [member for member in archive.infolist() if not member.is_dir()]
    reason = _reason_against(members)
    if reason:
        raise InputError(f"{path} is refused: {reason}.")
    names = [member.filename for member in members if not _is_hidden(member.filename)]
    return [DicomFile(path, name, archive) for name in names]


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)


def _reason_against(members: Sequence[zipfile.ZipInfo]) -> str:
    """Why an archive of these members is not read, or ""."""
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
    return _reason_against_size(members)


def _reason_against_size(members: Sequence[zipfile.ZipInfo]) -> str:
    """Too many members, one name twice, or more bytes than an exam has."""
    unpacked, packed = sum(m.file_size for m in members), sum(m.compress_size for m in members)
    if len(members) > MOST_MEMBERS:
        return f"it holds {len(members)} files, at most {MOST_MEMBERS} are read; unpack it yourself"
    if len({member.filename for member in members}) < len(members):
        return "two members have one name; pack the files again"
    if unpacked > MOST_BYTES or (unpacked > RATIO_CHECKED_FROM and unpacked > HIGHEST_RATIO * packed):
        return f"it would unpack to {unpacked >> 20} MiB from {packed >> 20} MiB; unpack it yourself"
    return ""
