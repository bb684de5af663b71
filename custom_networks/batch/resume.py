"""Decide which cases a repeated run must segment, and which already have whole and unchanged results."""

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from custom_networks.batch.refusals import REFUSED
from custom_networks.case_folder import find
from custom_networks.errors import LiversegError
from custom_networks.files import file_digest
from custom_networks.io import Case
from custom_networks.manifest import WHOLE, Input, Manifest, same_state, whole_manifests
from custom_networks.report.report import REPORT

logger = logging.getLogger(__name__)

# Notes on files that could not be written because of the disk, which may work in another run. A file that a library
# refused to make would be refused again.
_NOT_WRITTEN = re.compile(r"(was|were) not written\b.*\b(OSError|PermissionError)\b")


@dataclass(frozen=True)
class Promise:
    """What the results of a run will record about how they were made.

    Attributes:
        options: options, as recorded in the manifest.
        version: version of this package, as recorded in report.json.
    """

    options: Mapping[str, Any]
    version: str


class Earlier:
    """The results in an output folder at the start of a run.

    Args:
        output: the output folder, which need not exist.
        promise: what the results of this run will record.
        rehash: compare inputs and results by their bytes. Otherwise, inputs with the same size and modification time
            are considered unchanged, and result files only have to exist.
    """

    def __init__(self, output: Path, promise: Promise, rehash: bool = False) -> None:
        self._output, self._promise, self._rehash = output, promise, rehash
        self._of: dict[str, list[Manifest]] = {}
        for manifest in whole_manifests(output).values():
            self._of.setdefault(manifest["identity"], []).append(manifest)

    def reason_to_do(self, case: Case) -> str:
        """Return why a case must be segmented, in a few words, or "" if its results are whole and unchanged."""
        if (self._output / REFUSED / f"{case.place}.json").is_file():
            return "refused or failed when it was last tried"
        try:
            belongs_to = self._input_of(case)
        except LiversegError:  # the run itself will report the reason
            logger.debug("cannot read the content of %s", case.source, exc_info=True)
            return "its content cannot be read"
        found = find(self._output, belongs_to)
        if found is None:
            return "no results yet"
        folder, manifest = found
        if manifest["state"] != WHOLE:
            return "the results are incomplete"
        if manifest["content"] != belongs_to.content:
            return "the input has changed"
        return self._reason_against(folder, manifest)

    def _input_of(self, case: Case) -> Input:
        """Return the identity and content of a case; files are read only if necessary, see `rehash`."""
        for manifest in self._of.get(case.identity, ()):
            if not self._rehash and same_state(manifest, case.state()):
                return Input(case.name, case.identity, manifest["content"], manifest["geometry"], case.place)
        return Input(case.name, case.identity, case.content, case.geometry, case.place)

    def _reason_against(self, folder: Path, manifest: Manifest) -> str:
        """Return why existing results of an unchanged input cannot be kept, or "" if they can."""
        asked, had = self._promise.options, manifest["options"]
        others = sorted(name for name in {*asked, *had} if asked.get(name) != had.get(name))
        if others:
            return f"the results were made with different settings: {', '.join(others)}"
        for name, sha256 in manifest["files"].items():
            if not (folder / name).is_file():
                return f"{name} is missing"
            if self._rehash and file_digest(folder / name) != sha256:
                return f"{name} has changed since it was written"
        version, failed = _version_and_disk_error(folder / REPORT)
        if version != self._promise.version:
            return f"the results were made by version {version or '?'}"
        return failed


def reasons_to_do(earlier: Earlier, cases: Sequence[Case]) -> dict[Case, str]:
    """Return the cases that must be segmented, each with the reason why."""
    reasons = {case: earlier.reason_to_do(case) for case in cases}
    return {case: reason for case, reason in reasons.items() if reason}


def _version_and_disk_error(report: Path) -> tuple[str, str]:
    """Return the package version in a report.json, and its first note on a disk error.

    Both are "" if the file cannot be read, and the note is "" if there is none.
    """
    try:
        contents = json.loads(report.read_text(encoding="utf-8"))
        notes = map(str, contents.get("notes", ()))
        return str(contents["run"]["version"]), next(filter(_NOT_WRITTEN.search, notes), "")
    except (OSError, ValueError, KeyError, TypeError):
        return "", ""
