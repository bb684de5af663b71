"""A case folder belongs to one input, and is whole or says that it is not.

`<output>/<case>/manifest.json` names the input, the state and the files that are ours; what it does not name is
foreign and never touched. `claim` finds or makes the folder, results are written to a staging folder beside it, and
`Claim.commit` puts them in the place of older ones. Whenever the process is killed, the manifest says what holds:

- `whole`: the files are of one run, with their SHA-256 and the options of that run.
- `writing`: a run has begun to put its files in; `old` and `new` name all that may be there.

A name is claimed by renaming a folder that already holds its manifest, which the system does for one process only.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any

from custom_networks.errors import InputError
from custom_networks.files import flush_folder, write_text
from custom_networks.manifest import (
    MANIFEST,
    WHOLE,
    WRITING,
    Input,
    Manifest,
    identifying,
    is_plain,
    listed,
    may_replace,
    read_manifest,
    whole_folders,
    whole_manifests,
)
from custom_networks.staging import locked, remove_abandoned_staging, staging_folder

__all__ = ["MANIFEST", "Claim", "Input", "Manifest", "claim", "find", "forget", "read_manifest"]
__all__ += ["remove_abandoned_staging", "whole_folders", "whole_manifests"]


class Claim:
    """A case folder that is ours, and a staging folder for what will be in it.

    As a context manager it abandons what was not committed.

    Attributes:
        name: of the case and its folder; file names contain it.
        folder: `<output>/<name>`.
        staging: folder to write the files into, without subfolders.
        content_changed: the folder holds results of an earlier version of this input, which `commit` replaces.
    """

    def __init__(self, folder: Path, of: Input, staging: Path, earlier: Manifest | None, held: ExitStack) -> None:
        self.name, self.folder, self.staging = folder.name, folder, staging
        self.content_changed = bool(earlier and listed(earlier) and earlier["content"] != of.content)
        self._input, self._held = of, held

    def __enter__(self) -> "Claim":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.abandon()

    def commit(self, options: Mapping[str, Any]) -> Path:
        """Put the staged files in the place of the older ones; returns the case folder, which is whole then.

        The manifest keeps the options: what changes a result, as JSON.

        Raises:
            InputError: if the folder is no longer ours, or a foreign file has the name of a new one.
            ValueError: if the staging folder holds anything but plain files.
        """
        digests = {path.name: _flushed_digest(path) for path in _staged_files(self.staging)}
        if _is_free(self.folder):  # another process had claimed it for the same input, and abandoned it
            _put_new_folder(self.folder, self._input, self.staging)
        own = identifying(self._input)
        with locked(self.folder):
            old = self._replaceable(list(digests))
            # Written before anything goes, so that a disk that is full by now costs no older results.
            whole = _written_manifest(
                self.staging, {"state": WHOLE, "files": digests, "options": dict(options), **own}, ".whole"
            )
            _put_manifest(self.folder, self.staging, {"state": WRITING, "old": old, "new": list(digests), **own})
            for name in old:
                (self.folder / name).unlink(missing_ok=True)
            for name in digests:
                os.replace(self.staging / name, self.folder / name)
            flush_folder(self.folder)
            os.replace(whole, self.folder / MANIFEST)
        self._held.close()
        return self.folder

    def abandon(self) -> None:
        """Remove what was staged, and the folder where it is new; older results stay. Nothing after `commit`."""
        self._held.close()
        with suppress(FileNotFoundError), locked(self.folder):
            manifest = read_manifest(self.folder)
            if manifest is None or manifest["state"] != WRITING or listed(manifest):
                return
            if may_replace(manifest, self._input) and os.listdir(self.folder) == [MANIFEST]:
                (self.folder / MANIFEST).unlink(missing_ok=True)
                with suppress(OSError):  # it is no longer empty: another process has just claimed it
                    self.folder.rmdir()

    def _replaceable(self, new: Sequence[str]) -> list[str]:
        """Names of all older files, if the folder is still ours and no new file would replace a foreign one."""
        manifest = read_manifest(self.folder)
        if manifest is None or not may_replace(manifest, self._input):
            raise InputError(f"{self.folder} is no longer what it was when this run began: segment this input again.")
        old = listed(manifest)
        foreign = [name for name in new if name not in old and os.path.lexists(self.folder / name)]
        if foreign:
            raise InputError(f"{self.folder / foreign[0]} is not of an earlier run: move it away and try again.")
        return old


def claim(output: Path, of: Input) -> Claim:
    """Claim the case folder of an input: its own of an earlier run, else the first of name, name_2, ... that is free.

    Older results of the same input stay whole until `Claim.commit`. A folder is the same input's if its content is the
    same or its identity is (unless a file's bytes and also its geometry changed: in containers every patient has the
    same path); an unfinished folder only if its identity is. Names that differ by case alone are one name.
    """
    with ExitStack() as held:
        staging = held.enter_context(staging_folder(output, of.name))
        folder, earlier = _take_folder(output, of, staging)
        return Claim(folder, of, staging, earlier, held.pop_all())


def forget(folder: Path) -> None:
    """Remove the files that a case folder's manifest lists, then the manifest: for a writer that keeps none."""
    if (manifest := read_manifest(folder)) is None:
        return
    with staging_folder(folder.parent, folder.name) as staging, locked(folder):
        old = listed(manifest)
        _put_manifest(folder, staging, {**manifest, "state": WRITING, "old": old, "new": []})
        for name in old:
            (folder / name).unlink(missing_ok=True)
        (folder / MANIFEST).unlink(missing_ok=True)


def find(output: Path, of: Input) -> tuple[Path, Manifest] | None:
    """The folder that `claim` would give an input for its own, with its manifest; None where it would be a new one."""
    for folder in _candidates(output, of.name):
        if _is_free(folder):
            return None
        if manifest := _replaceable_manifest(folder, of):
            return folder, manifest
    return None


def _take_folder(output: Path, of: Input, staging: Path) -> tuple[Path, Manifest | None]:
    """The folder that is ours from now on, and its manifest of an earlier run."""
    for folder in _candidates(output, of.name):
        if _is_free(folder) and _put_new_folder(folder, of, staging):
            return folder, None
        if manifest := _replaceable_manifest(folder, of):
            return folder, manifest
    raise RuntimeError(f"no name is left for {of.name}")  # there is always another number


def _candidates(output: Path, name: str) -> Iterator[Path]:
    """The folders name, name_2, ... without end, spelled as they are where capitals alone differ."""
    spelled = {name.casefold(): name for name in os.listdir(output)} if output.is_dir() else {}
    for number in count(1):
        numbered = f"{name}_{number}" if number > 1 else name
        folder = output / numbered
        yield folder if os.path.lexists(folder) else output / spelled.get(numbered.casefold(), numbered)


def _replaceable_manifest(folder: Path, of: Input) -> Manifest | None:
    """The manifest of a folder that belongs to the input."""
    manifest = None if folder.is_symlink() else read_manifest(folder)
    return manifest if manifest is not None and may_replace(manifest, of) else None


def _is_free(folder: Path) -> bool:
    """Nothing has that name, or an empty folder."""
    empty = folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir())
    return empty or not os.path.lexists(folder)


def _put_new_folder(folder: Path, of: Input, staging: Path) -> bool:
    """Make a folder that holds its manifest from the first moment; False if another process was faster."""
    new = staging / ".new"
    new.mkdir(exist_ok=True)
    _put_manifest(new, staging, {"state": WRITING, **identifying(of), "old": [], "new": []})
    with suppress(OSError):  # Windows renames to no empty folder; one that is not empty is not removed
        folder.rmdir()
    try:
        os.rename(new, folder)
    except OSError:
        if not os.path.lexists(folder):
            raise
        return False
    return True


def _put_manifest(folder: Path, staging: Path, manifest: Manifest) -> None:
    """Replace a folder's manifest; what a kill leaves of the writing lies in the staging folder."""
    os.replace(_written_manifest(staging, manifest, f".{MANIFEST}"), folder / MANIFEST)


def _written_manifest(staging: Path, manifest: Manifest, name: str) -> Path:
    """A manifest in the staging folder, to be renamed into its place."""
    write_text(staging / name, json.dumps(manifest, indent=2) + "\n")
    return staging / name


def _staged_files(staging: Path) -> list[Path]:
    paths = sorted(path for path in staging.iterdir() if not path.name.startswith("."))
    for path in paths:
        if path.is_symlink() or not path.is_file() or not is_plain(path.name):
            raise ValueError(f"A case folder holds plain files beside its {MANIFEST}, got {path.name!r}.")
    return paths


def _flushed_digest(path: Path) -> str:
    """SHA-256 of a file, which is on the disk then."""
    digest = hashlib.sha256()
    with path.open("rb+") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
        os.fsync(stream.fileno())
    return digest.hexdigest()
