"""Staging folders, in which files are written before they become results; later runs remove what killed runs left.

Their names are `.<case>.<8 digits of the host><16 random digits>` (hexadecimal); readers skip names with a leading dot.
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
_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.(csv|html)")  # temporary files of `files.atomic_write`
_DAY = 24 * 60 * 60.0  # seconds


@contextmanager
def staging_folder(output: Path, name: str) -> Iterator[Path]:
    """Yield a new, locked staging folder; at the end of the block it is removed with everything left in it."""
    with ExitStack() as held:
        folder = _new_locked_folder(output, name, held)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def output_folder(output: str | Path, *, make: bool = True) -> Path:
    """The folder for results, created if necessary; if `make` is false, only check that it can be created.

    Raises:
        UsageError: a folder of that name cannot exist.
    """
    try:
        folder = Path(output).expanduser()
        if make:
            folder.mkdir(parents=True, exist_ok=True)
        elif not next(place for place in (folder, *folder.absolute().parents) if place.exists()).is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    except (OSError, RuntimeError, ValueError) as error:  # a file in the way, ~nobody, a null character
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise UsageError(f"{one_line(output)} cannot be a folder for results ({reason}): choose another.") from error
    return folder


def probe(output: Path) -> None:
    """Write a megabyte to a folder and remove it, to find out early whether results can be written.

    Raises:
        OSError: the folder cannot be written to.
    """
    with staging_folder(output, "probe") as staging, (staging / "probe").open("wb") as stream:
        stream.write(bytes(1 << 20))
        stream.flush()
        os.fsync(stream.fileno())


def remove_abandoned_staging(output: Path) -> None:
    """Remove the staging folders of runs that have ended, and temporary files of tables and indexes older than a day.

    A run holds a lock on its staging folder, which the system releases when the process ends for any reason. On the
    same host (which the folder's name identifies, containers included), an available lock means that the run has
    ended. Locks on network file systems may not be visible to other hosts, and some systems have no locks; therefore
    folders of other hosts and folders that cannot be locked are removed a day after their last change.
    """
    for path in output.glob(".*.*"):
        with suppress(FileNotFoundError):
            if _TEMPORARY.fullmatch(path.name) and time.time() - path.stat().st_mtime > _DAY:
                path.unlink()
    for folder in sorted(output.glob(".*")):
        match = _STAGING.fullmatch(folder.name)
        if not match or not folder.is_dir() or folder.is_symlink():
            continue
        with suppress(BlockingIOError, FileNotFoundError):  # its run has not ended, or another process just removed it
            old = time.time() - folder.stat().st_mtime > _DAY
            if match[1] == _host() or old:
                with locked(folder, wait=False) as sure:
                    if sure or old:
                        shutil.rmtree(folder, ignore_errors=True)


def _new_locked_folder(output: Path, name: str, held: ExitStack) -> Path:
    """Create a staging folder and lock it until `held` is closed."""
    while True:
        folder = output / f".{name[:100]}.{_host()}{os.urandom(8).hex()}"
        folder.mkdir(parents=True)
        with suppress(FileNotFoundError):  # another process removed it before it was locked: try again
            held.enter_context(locked(folder))
            if folder.is_dir():
                return folder


@contextmanager
def locked(folder: Path, wait: bool = True) -> Iterator[bool]:
    """Lock a folder during the block and yield True; yield False where locks do not work (Windows, folders on NFS).

    Raises:
        BlockingIOError: another process holds the lock, and `wait` is false.
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
    """Eight hexadecimal digits that identify this machine (on Linux, until it restarts), also in its containers."""
    try:
        known = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:  # not Linux
        known = platform.node()
    return hashlib.sha256(known.encode()).hexdigest()[:8]
