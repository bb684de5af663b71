"""Staging folders: what is written there is not a result yet, and goes when the run that wrote it is gone.

They are named `.<case>.<8 digits of the host><16 random digits>`; no reader enters a folder with a leading dot.
"""

import errno
import hashlib
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path

from custom_networks.errors import UsageError, one_line

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_STAGING = re.compile(r"\..+\.([0-9a-f]{8})[0-9a-f]{16}")
_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.(csv|html)")  # of `files.atomic_write`
_DAY = 24 * 60 * 60.0  # seconds


@contextmanager
def staging_folder(output: Path, name: str) -> Iterator[Path]:
    """A new staging folder, locked; it is removed in the end with what is left in it."""
    with ExitStack() as held:
        folder = _new_locked_folder(output, name, held)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def output_folder(output: str | Path, *, make: bool = True) -> Path:
    """The folder for results, made where it is missing, or only looked at.

    Raises:
        UsageError: it cannot be a folder.
    """
    try:
        folder = Path(output).expanduser()
        if make:
            folder.mkdir(parents=True, exist_ok=True)
        elif not next(place for place in (folder, *folder.absolute().parents) if place.exists()).is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    except (OSError, RuntimeError, ValueError) as error:  # a file in the way, ~nobody, a null character
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise UsageError(f"{one_line(output)} cannot be a folder for results ({reason}): name another.") from error
    return folder


def probe(output: Path) -> None:
    """Write a megabyte into a folder and remove it; OSError where that fails, before hours of work are lost to it."""
    with staging_folder(output, "probe") as staging, (staging / "probe").open("wb") as stream:
        stream.write(bytes(1 << 20))
        stream.flush()
        os.fsync(stream.fileno())


def remove_abandoned_staging(output: Path) -> None:
    """Remove the staging folders of runs that are gone, and what a kill left of writing a table or an index a day ago.

    A run holds a lock on its staging folder, which the system drops when the process ends, however it ends.
    Whoever can take that lock knows that the run is gone, if both run on one host since its last start (the folder's
    name tells; containers of a host count as that host). Network file systems may keep locks to each host, and some
    systems have none: what belongs to another host, or cannot be locked, is removed a day after it was last changed.
    """
    for path in output.glob(".*.*"):
        with suppress(FileNotFoundError):
            if _TEMPORARY.fullmatch(path.name) and time.time() - path.stat().st_mtime > _DAY:
                path.unlink()
    for folder in sorted(output.glob(".*")):
        match = _STAGING.fullmatch(folder.name)
        if not match or not folder.is_dir() or folder.is_symlink():
            continue
        with suppress(BlockingIOError, FileNotFoundError):  # its run lives; another start has just removed it
            old = time.time() - folder.stat().st_mtime > _DAY
            if match[1] == _host() or old:
                with locked(folder, wait=False) as sure:
                    if sure or old:
                        shutil.rmtree(folder, ignore_errors=True)


def _new_locked_folder(output: Path, name: str, held: ExitStack) -> Path:
    while True:
        folder = output / f".{name[:100]}.{_host()}{os.urandom(8).hex()}"
        folder.mkdir(parents=True)
        with suppress(FileNotFoundError):  # another start took it for abandoned before it was locked: another one
            held.enter_context(locked(folder))
            if folder.is_dir():
                return folder


@contextmanager
def locked(folder: Path, wait: bool = True) -> Iterator[bool]:
    """Lock a folder; gives False where the file system has no locks, as NFS has none for folders.

    Raises BlockingIOError if another process holds the lock and `wait` is false.
    """
    if fcntl is None:
        yield False
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        held = True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:
            held = False
        yield held
    finally:
        os.close(descriptor)


@cache
def _host() -> str:
    """Eight digits that all processes of one machine have in common until it starts again, containers included."""
    try:
        known = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:  # not Linux
        known = platform.node()
    return hashlib.sha256(known.encode()).hexdigest()[:8]
