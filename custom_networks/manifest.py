"""The `manifest.json` of a case folder, which records the input it belongs to, its state, and the files in it.

Anyone may write to the folder, so an invalid manifest is treated as missing.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
WHOLE, WRITING = "whole", "writing"

Manifest = Mapping[str, Any]


@dataclass(frozen=True)
class Input:
    """The input that a case folder belongs to.

    Attributes:
        name: name of the case, a plain file name; the folder has the same name unless another input has taken it.
        identity: digest of where the input comes from (a file's resolved path, or a series' UIDs).
        content: digest of its content.
        geometry: digest of shape and affine if the identity is only a path, else empty.
        place: digest of the path given for the input; empty if there is none.
        state: path, size in bytes and modification time in ns of each file, before the input was read; empty if its
            content is known without files.
    """

    name: str
    identity: str
    content: str
    geometry: str = ""
    place: str = ""
    state: tuple[tuple[str, int, int], ...] = ()

    def __post_init__(self) -> None:
        if not is_plain(self.name):
            raise ValueError(f"A case's name must be a plain file name without a leading dot, got {self.name!r}.")
        if not (self.identity and self.content):
            raise ValueError(f"Identity and content must not be empty, got {self}: inputs could not be distinguished.")


def whole_folders(output: Path) -> list[Path]:
    """The case folders in `output` whose state is `whole`, sorted by name."""
    return list(whole_manifests(output))


def whole_manifests(output: Path) -> dict[Path, Manifest]:
    """The manifests of the case folders in `output` whose state is `whole`, by folder, sorted by name."""
    folders = sorted(path for path in output.glob("*") if not path.name.startswith("."))
    manifests = ((folder, read_manifest(folder)) for folder in folders)
    return {folder: manifest for folder, manifest in manifests if manifest is not None and manifest["state"] == WHOLE}


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a case folder; None if it is missing or invalid."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return manifest if _is_sound(manifest) else None


def may_replace(manifest: Manifest, of: Input) -> bool:
    """Whether the folder with this manifest belongs to the input, by the rules of `case_folder.claim`."""
    same_identity = bool(manifest["identity"] == of.identity)
    if manifest["content"] == of.content:
        return same_identity or manifest["state"] == WHOLE
    return same_identity and manifest["geometry"] == of.geometry


def identifying(of: Input) -> dict[str, Any]:
    """The entries of a manifest that identify the input."""
    known = asdict(of)
    files = [dict(zip(("path", "size", "mtime_ns"), file, strict=True)) for file in known.pop("state")]
    kept = {key: value for key, value in known.items() if key != "name" and (value or key != "place")}
    return {**kept, "input": files} if files else kept


def same_state(manifest: Manifest, state: Sequence[tuple[str, int, int]]) -> bool:
    """Whether `state` (see `Input`) is not empty and equals the state recorded in the manifest."""
    stated = [(file.get("path"), file.get("size"), file.get("mtime_ns")) for file in manifest.get("input", ())]
    return bool(state) and stated == list(state)


def listed(manifest: Manifest) -> list[str]:
    """Names of all files in a valid manifest, without duplicates."""
    return sorted({*manifest.get("files", ()), *manifest.get("old", ()), *manifest.get("new", ())})


def _is_sound(manifest: Any) -> bool:
    """Whether all entries have the right types, and all file names are plain."""
    if not isinstance(manifest, dict) or manifest.get("state") not in (WHOLE, WRITING):
        return False
    kinds = {**dict.fromkeys(("identity", "content", "geometry", "place"), str), "files": dict, "options": dict}
    kinds |= {"old": list, "new": list, "input": list}
    values: dict[str, Any] = {"place": "", "files": {}, "options": {}, "old": [], "new": [], "input": [], **manifest}
    if not all(isinstance(values.get(key), kind) for key, kind in kinds.items()):
        return False
    if not all(isinstance(file, dict) for file in values["input"]):
        return False
    return all(is_plain(name) for key in ("files", "old", "new") for name in values[key])


def is_plain(name: Any) -> bool:
    """Whether `name` is a file name without folders or drives on any system, not hidden and not manifest.json."""
    if not isinstance(name, str) or not name or name.startswith("."):
        return False
    return name.casefold() != MANIFEST and not set(name) & set("/\\:\0")
