"""Atomic writes, CSV tables that are safe to open in a spreadsheet, digests, and checks of weights."""

import csv
import hashlib
import os
import secrets
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from io import StringIO
from math import isfinite
from pathlib import Path
from typing import IO, Any

from custom_networks.errors import BundleError, one_line

Cell = str | float | int | bool | None


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` to write to; at the end of the block it is flushed to disk and renamed.

    The temporary name is unique and has the suffix of `path`, which some writers need. If anything fails, nothing is
    left behind and an earlier file of that name is not changed. The folder is created if necessary.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    ending = "".join(path.suffixes[-2:])[-20:]
    temporary = path.with_name(f".{secrets.token_hex(8)}{ending}")
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8 atomically; undecodable bytes, as in file names, are escaped."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's bytes, hexadecimal; OSError if it cannot be read."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def flush_folder(folder: Path) -> None:
    """Flush a folder to disk, so that new names in it survive a power failure; does nothing on Windows."""
    if os.name == "nt":  # Windows cannot open folders
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems cannot flush folders
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Iterable[Cell]], digits: int | None = None) -> None:
    """Write a CSV table atomically.

    None and numbers that are not finite become empty cells; booleans become `true` and `false`. Numbers are rounded to
    `digits` significant digits if given. Text that a spreadsheet would take for a formula (beginning with =, +, - or @)
    gets an apostrophe in front.
    """
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(value, digits) for value in row] for row in rows)
    write_text(path, text.getvalue())


def _cell(value: Cell, digits: int | None) -> str | float | int:
    """A value as it is written to a CSV table; see `write_csv`."""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(("=", "+", "-", "@")) else value
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or not isfinite(value):
        return ""
    return value if digits is None else f"{float(value):.{digits}g}"


def refuse_damaged_weights(path: str | Path, content: IO[bytes] | None = None) -> None:
    """Refuse a weights file that was damaged after it was written.

    `torch.save` writes a zip archive with a CRC-32 of each member, which `torch.load` does not check, so that a flipped
    bit would change the network unnoticed. Files that are missing or are not archives are accepted here; their loader
    reports them. `content` is the open file, if the caller has opened it.

    Raises:
        BundleError: a checksum is wrong, or the archive cannot be read to its end.
    """
    path = Path(path).expanduser()
    if content is None and not path.is_file():
        return
    try:
        with path.open("rb") if content is None else nullcontext(content) as stream:
            is_archive = stream.read(2) == b"PK"
            damaged = zipfile.ZipFile(stream).testzip() if is_archive else None
    except Exception as error:  # zipfile, zlib and struct have no common error for damaged archives
        raise BundleError(f"{path} is damaged ({one_line(error)}): fetch or copy it again.") from error
    if damaged is not None:
        raise BundleError(f"{path} is damaged (the checksum of {one_line(damaged)} is wrong): fetch or copy it again.")


def refuse_weights_not_finite(path: str | Path, state: Mapping[str, Any]) -> None:
    """Refuse weights with NaN or infinity, which would lead to an empty mask.

    Args:
        path: file of the weights, for the message.
        state: tensors by name.

    Raises:
        BundleError: a value is not finite.
    """
    bad = next(
        (name for name, value in state.items() if hasattr(value, "isfinite") and not value.isfinite().all()), None
    )
    if bad is not None:
        raise BundleError(f"{path} is damaged ({one_line(bad)} is not finite): fetch or train it again.")
