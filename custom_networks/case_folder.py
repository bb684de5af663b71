"""Case folders: each belongs to one input, and its manifest says whether its results are complete.

`<output>/<case>/manifest.json` records the input, the state and the files that this program wrote; all other files are
foreign and never touched. `claim` finds or creates the folder, results are written to a staging folder beside it, and
`Claim.commit` replaces older results with them. Even if a process is killed, the manifest shows the folder's state:

- `whole`: the files are the results of one run, with their SHA-256 and the options of that run.
- `writing`: a run has begun to move its files in; `old` and `new` name all files that may be there.

A name is claimed by renaming a folder that already contains its manifest, which only one process can do.
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
    """A case folder claimed by this process, and a staging folder for its new files.

    As a context manager, it discards files that were not committed.

    Attributes:
        name: name of the case and its folder, for use in file names.
        folder: `<output>/<name>`.
        staging: folder to write the files to, without subfolders.
        content_changed: whether the folder contains results of an earlier version of this input, which `commit`
            replaces.
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
        """Replace older files with the staged ones and return the case folder, whose state is then `whole`.

        Args:
            options: everything that affects the results, ready for JSON; stored in the manifest.

        Raises:
            InputError: the folder has been taken over by another input, or a foreign file has the name of a new one.
            ValueError: the staging folder contains something other than plain files.
        """
        digests = {path.name: _flushed_digest(path) for path in _staged_files(self.staging)}
        if _is_free(self.folder):  # another process also claimed it for this input, and abandoned it
            _put_new_folder(self.folder, self._input, self.staging)
        own = identifying(self._input)
        with locked(self.folder):
            old = self._replaceable(list(digests))
            # Written before anything is removed, so that a full disk does not cost the older results.
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
        """Discard the staged files, and the folder if it is new; keep older results. Does nothing after `commit`."""
        self._held.close()
        with suppress(FileNotFoundError), locked(self.folder):
            manifest = read_manifest(self.folder)
            if manifest is None or manifest["state"] != WRITING or listed(manifest):
                return
            if may_replace(manifest, self._input) and os.listdir(self.folder) == [MANIFEST]:
                (self.folder / MANIFEST).unlink(missing_ok=True)
                with suppress(OSError):  # not empty any more, if another process has just claimed it
                    self.folder.rmdir()

    def _replaceable(self, new: Sequence[str]) -> list[str]:
        """Names of the older files that `commit` removes.

        Raises:
            InputError: the folder now belongs to another input, or a foreign file has the name of a new one.
        """
        manifest = read_manifest(self.folder)
        if manifest is None or not may_replace(manifest, self._input):
            raise InputError(f"{self.folder} was changed by another process during this run: segment this input again.")
        old = listed(manifest)
        foreign = [name for name in new if name not in old and os.path.lexists(self.folder / name)]
        if foreign:
            raise InputError(f"{self.folder / foreign[0]} is not a result of this program: move it away and try again.")
        return old


def claim(output: Path, of: Input) -> Claim:
    """Claim, of the folders name, name_2, ..., the first one that is free or belongs to the same input.

    Older results of the same input stay until `Claim.commit`. A folder belongs to the same input if it has the same
    content or identity. The identity is not enough if a file's bytes and geometry have both changed, because in
    containers every patient can have the same path. An unfinished folder must have the same identity. Upper and lower
    case are not distinguished in names.
    """
    with ExitStack() as held:
        staging = held.enter_context(staging_folder(output, of.name))
        folder, earlier = _take_folder(output, of, staging)
        return Claim(folder, of, staging, earlier, held.pop_all())


def forget(folder: Path) -> None:
    """Remove the files listed in a case folder's manifest, and then the manifest, if there is one."""
    if (manifest := read_manifest(folder)) is None:
        return
    with staging_folder(folder.parent, folder.name) as staging, locked(folder):
        old = listed(manifest)
        _put_manifest(folder, staging, {**manifest, "state": WRITING, "old": old, "new": []})
        for name in old:
            (folder / name).unlink(missing_ok=True)
        (folder / MANIFEST).unlink(missing_ok=True)


def find(output: Path, of: Input) -> tuple[Path, Manifest] | None:
    """The existing folder, with its manifest, that `claim` would use for an input; None if it would create one."""
    for folder in _candidates(output, of.name):
        if _is_free(folder):
            return None
        if manifest := _replaceable_manifest(folder, of):
            return folder, manifest
    return None


def _take_folder(output: Path, of: Input, staging: Path) -> tuple[Path, Manifest | None]:
    """Claim a folder, and return it with its manifest from an earlier run, if any."""
    for folder in _candidates(output, of.name):
        if _is_free(folder) and _put_new_folder(folder, of, staging):
            return folder, None
        if manifest := _replaceable_manifest(folder, of):
            return folder, manifest
    raise RuntimeError(f"no name is left for {of.name}")  # there is always another number


def _candidates(output: Path, name: str) -> Iterator[Path]:
    """Yield the folders name, name_2, ... endlessly, each in the spelling of an existing folder if there is one."""
    spelled = {name.casefold(): name for name in os.listdir(output)} if output.is_dir() else {}
    for number in count(1):
        numbered = f"{name}_{number}" if number > 1 else name
        folder = output / numbered
        yield folder if os.path.lexists(folder) else output / spelled.get(numbered.casefold(), numbered)


def _replaceable_manifest(folder: Path, of: Input) -> Manifest | None:
    """The manifest of a folder if it belongs to the input, else None."""
    manifest = None if folder.is_symlink() else read_manifest(folder)
    return manifest if manifest is not None and may_replace(manifest, of) else None


def _is_free(folder: Path) -> bool:
    """Whether the path does not exist or is an empty folder."""
    empty = folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir())
    return empty or not os.path.lexists(folder)


def _put_new_folder(folder: Path, of: Input, staging: Path) -> bool:
    """Create a folder that contains its manifest from the start; False if another process was faster."""
    new = staging / ".new"
    new.mkdir(exist_ok=True)
    _put_manifest(new, staging, {"state": WRITING, **identifying(of), "old": [], "new": []})
    with suppress(OSError):  # Windows cannot rename to an existing empty folder; rmdir leaves folders with files alone
        folder.rmdir()
    try:
        os.rename(new, folder)
    except OSError:
        if not os.path.lexists(folder):
            raise
        return False
    return True


def _put_manifest(folder: Path, staging: Path, manifest: Manifest) -> None:
    """Replace a folder's manifest atomically, by way of the staging folder."""
    os.replace(_written_manifest(staging, manifest, f".{MANIFEST}"), folder / MANIFEST)


def _written_manifest(staging: Path, manifest: Manifest, name: str) -> Path:
    """Write a manifest to the staging folder and return its path, to be moved into place."""
    write_text(staging / name, json.dumps(manifest, indent=2) + "\n")
    return staging / name


def _staged_files(staging: Path) -> list[Path]:
    """The files to commit, sorted; ValueError if the staging folder contains anything but plain files."""
    paths = sorted(path for path in staging.iterdir() if not path.name.startswith("."))
    for path in paths:
        if path.is_symlink() or not path.is_file() or not is_plain(path.name):
            raise ValueError(f"A case folder may contain only plain files besides its {MANIFEST}, got {path.name!r}.")
    return paths


def _flushed_digest(path: Path) -> str:
    """Flush a file to disk, and return its SHA-256."""
    digest = hashlib.sha256()
    with path.open("rb+") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
        os.fsync(stream.fileno())
    return digest.hexdigest()
