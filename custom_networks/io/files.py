"""Recognise file types by name and first bytes, and derive case names from paths."""

import errno
import os
import re
import stat
import struct
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from custom_networks.errors import InputError, one_line

MEDICAL_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
# Leaves room for suffixes such as "_seg.nii.gz" and a temporary one within 255 bytes.
LONGEST_STEM = 128
# A DICOM file begins with 128 arbitrary bytes and "DICM".
START_BYTES = 132
ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)


def medical_suffix(path: Path) -> str:
    """Return the suffix of a file name in lower case if it is in MEDICAL_SUFFIXES, else ""."""
    return next((suffix for suffix in MEDICAL_SUFFIXES if path.name.lower().endswith(suffix)), "")


def is_zip(path: Path) -> bool:
    """Whether a path has the suffix of a zip archive."""
    return path.name.lower().endswith(".zip")


def file_status(path: Path) -> os.stat_result:
    """Return the status of a file or folder; raises InputError if it does not exist or cannot be accessed."""
    try:
        return path.stat()
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        if isinstance(error, OSError) and error.errno not in ABSENT:
            raise InputError(
                f"{one_line(path)} cannot be accessed ({error.strerror}): check the path and its permissions."
            ) from error
        raise InputError(f"No such file or folder: {one_line(path)}; check the path.") from error


def regular_file(path: Path) -> Path:
    """Return `path` if it is a regular file; raises InputError if not, since reading a pipe could hang."""
    mode = file_status(path).st_mode
    if not stat.S_ISREG(mode):
        raise InputError(f"{path} is not an ordinary file but a folder, a pipe or a device: give a file.")
    return path


def split_number(path: str | Path) -> tuple[Path, int | None]:
    """Split a path such as `exam.zip::2` or `exam/::2` into the path of the input and the number of the series.

    If the path has no number, or if it exists exactly as written, it is returned whole, with None.
    """
    path = Path(path)
    matched = re.fullmatch(r"(.*)::(\d{1,6})", path.name)
    return (path.parent / matched[1], int(matched[2])) if matched and not os.path.lexists(path) else (path, None)


def case_stem(path: str | Path) -> str:
    """Return a case name: the name of the file or folder without its suffix, safe as a file name on any system.

    Each character outside [A-Za-z0-9._-] becomes "_", and dots at the beginning become a single "_". The name has 1 to
    128 characters. The series `exam.zip::2` is called `exam_2`. Two inputs can have the same name.
    """
    path, number = split_number(path)
    name = (path if path.name not in ("", "..") else path.resolve()).name
    ending = medical_suffix(Path(name)) or ".zip" * is_zip(Path(name))
    stem = re.sub(r"[^A-Za-z0-9._-]", "_", name[: len(name) - len(ending)])
    stem = (stem or "case") + f"_{number}" if number is not None else stem
    return re.sub(r"^\.+", "_", stem[:LONGEST_STEM]) or "case"


def is_dicom(path: Path) -> bool:
    """Whether a file looks like DICOM; raises InputError if it cannot be opened."""
    _, stream = open_if_dicom(path)
    if stream is not None:
        stream.close()
    return stream is not None


def open_if_dicom(path: Path) -> tuple[bytes, BinaryIO | None]:
    """Return the first bytes of a file and, if they look like DICOM, the file opened at its beginning, else None.

    Raises:
        InputError: the file cannot be opened. It must not be skipped, because it could be a slice of the volume.
    """
    try:
        with ExitStack() as closing:
            stream = closing.enter_context(path.open("rb"))
            start = stream.read(START_BYTES)
            if not looks_like_dicom(start):
                return start, None
            stream.seek(0)
            closing.pop_all()
            return start, stream
    except OSError as error:
        raise InputError(f"{path} cannot be opened ({error.strerror}): check its permissions.") from error


def looks_like_dicom(start: bytes) -> bool:
    """Whether the first 132 bytes of a file look like DICOM.

    They do if they are a DICOM preamble (128 bytes, then "DICM"; PS3.10 7.1). Without a preamble, they must begin with
    a little-endian element of group 0002 or 0008 with a number up to 0018, and with a VR that occurs there or, for an
    element without VR, a short length.
    """
    if start[128:132] == b"DICM":
        return True
    if len(start) < 132:
        return False
    group, element, length = struct.unpack("<HHI", start[:8])
    known = start[4:6] in (b"UL", b"UI", b"CS", b"OB", b"SH") or 0 < length <= 64
    return group in (0x0002, 0x0008) and element <= 0x18 and known


def visible_files(folder: Path) -> list[Path]:
    """Return the files directly in a folder, sorted by name, without hidden ones such as macOS's "._" copies.

    Dangling links are included, because the missing file may be a slice of a volume.

    Raises:
        InputError: the folder cannot be listed.
    """
    try:
        shown = (path for path in folder.iterdir() if not path.name.startswith("."))
        return sorted(path for path in shown if path.is_file() or not path.exists())
    except OSError as error:
        raise InputError(f"{folder} cannot be listed ({error.strerror}): check its permissions.") from error
