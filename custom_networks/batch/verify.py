"""Check the files of an output folder against its manifests."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from custom_networks.batch.refusals import REFUSED, remembered
from custom_networks.errors import UsageError, reason_of
from custom_networks.files import file_digest
from custom_networks.manifest import MANIFEST, WHOLE, Manifest, listed, read_manifest
from custom_networks.report.page.index import INDEX
from custom_networks.report.summary import SUMMARY

OWN = (SUMMARY, INDEX, REFUSED)  # our own files and folders beside the case folders


@dataclass(frozen=True)
class Verified:
    """What `verified` found in an output folder.

    Attributes:
        folders: number of case folders without a fault.
        files: number of files that are unchanged.
        refused: number of recorded refusals, which do not count as faults.
        faults: one line for each fault.
    """

    folders: int
    files: int
    refused: int
    faults: tuple[str, ...]


def verified(output: Path) -> Verified:
    """Check the files in an output folder, except its summary and records of refusals, without changing anything.

    Raises:
        UsageError: the folder cannot be listed.
    """
    try:
        entries = sorted(output.iterdir())
    except OSError as error:
        raise UsageError(f"{output} cannot be listed ({reason_of(error)}): give a folder of results.") from error
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
    """Say why an entry of the output folder is not a whole case folder."""
    if manifest is not None:
        return f"incomplete: a run was stopped while writing {', '.join(listed(manifest)) or 'it'}"
    if entry.name.startswith(".") and entry.is_dir():
        return "left behind by a run that was stopped, or in use by one that has not ended"
    damaged = entry.is_dir() and (entry / MANIFEST).exists()
    return f"its {MANIFEST} is damaged" if damaged else "foreign, not written by liverseg"


def _faults_in(folder: Path, manifest: Manifest) -> Iterator[tuple[bool, str]]:
    """Yield each fault in a case folder: whether it concerns a file listed in the manifest, and a line about it."""
    for name, sha256 in manifest["files"].items():
        try:
            if file_digest(folder / name) != sha256:
                yield True, f"{folder / name}: changed, its SHA-256 differs from the recorded one"
        except FileNotFoundError:
            yield True, f"{folder / name}: missing"
        except OSError as error:
            yield True, f"{folder / name}: cannot be read ({reason_of(error)})"
    for path in sorted(folder.iterdir()):
        if path.name != MANIFEST and path.name not in manifest["files"]:
            yield False, f"{path}: foreign, not written by liverseg"
