"""Whether an output folder holds what its manifests say: every file with its bytes, none missing, none foreign."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from custom_networks.batch.refusals import REFUSED, remembered
from custom_networks.errors import UsageError, reason_of
from custom_networks.files import file_digest
from custom_networks.manifest import MANIFEST, WHOLE, Manifest, listed, read_manifest
from custom_networks.report.page.index import INDEX
from custom_networks.report.summary import SUMMARY

OWN = (SUMMARY, INDEX, REFUSED)  # what lies beside the case folders


@dataclass(frozen=True)
class Verified:
    """What was found in an output folder.

    Attributes:
        folders: case folders that are whole.
        files: files whose bytes are what was written.
        refused: inputs that were refused or failed when they were last tried, which is not a fault in the folder.
        faults: what is wrong, a line each.
    """

    folders: int
    files: int
    refused: int
    faults: tuple[str, ...]


def verified(output: Path) -> Verified:
    """Check everything in an output folder; nothing is changed.

    Raises:
        UsageError: it is not a folder, or cannot be listed.
    """
    try:
        entries = sorted(output.iterdir())
    except OSError as error:
        raise UsageError(f"{output} cannot be listed ({reason_of(error)}): name a folder of results.") from error
    faults: list[str] = []
    folders = files = 0
    for entry in entries:
        if entry.name in OWN:
            continue
        manifest = read_manifest(entry) if entry.is_dir() and not entry.is_symlink() else None
        if manifest is None or manifest["state"] != WHOLE:
            faults.append(f"{entry}: {_why_no_results(entry, manifest)}")
            continue
        wrong = list(_faults_in(entry, manifest))
        folders += not wrong
        files += len(manifest["files"]) - sum(known for known, _ in wrong)
        faults += [fault for _, fault in wrong]
    return Verified(folders, files, len(list(remembered(output))), tuple(faults))


def _why_no_results(entry: Path, manifest: Manifest | None) -> str:
    """What an entry is, if not a whole case folder."""
    if manifest is not None:
        return f"not whole, a run was stopped while it wrote {', '.join(listed(manifest)) or 'it'}"
    if entry.name.startswith(".") and entry.is_dir():
        return "left by a run that was stopped, or is at work"
    damaged = entry.is_dir() and (entry / MANIFEST).exists()
    return f"its {MANIFEST} is damaged" if damaged else "foreign, no run wrote it"


def _faults_in(folder: Path, manifest: Manifest) -> Iterator[tuple[bool, str]]:
    """What is wrong in a case folder, and whether it is with a file of ours."""
    for name, sha256 in manifest["files"].items():
        try:
            if file_digest(folder / name) != sha256:
                yield True, f"{folder / name}: changed, its SHA-256 is not the one that was written down"
        except FileNotFoundError:
            yield True, f"{folder / name}: missing"
        except OSError as error:
            yield True, f"{folder / name}: cannot be read ({reason_of(error)})"
    for path in sorted(folder.iterdir()):
        if path.name != MANIFEST and path.name not in manifest["files"]:
            yield False, f"{path}: foreign, no run wrote it"
