"""Segment the waiting studies of the spool, and record the results."""

import errno
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from custom_networks.errors import InputError, LiversegError, root_cause
from custom_networks.io import Case
from custom_networks.io.dicom.case import dicom_cases
from custom_networks.io.dicom.files import DicomFile
from custom_networks.io.dicom.listing import scan_files
from custom_networks.node.log import record
from custom_networks.node.rules import Rule, apply_rules
from custom_networks.node.spool import Spool
from custom_networks.node.study import DONE, HELD, REFUSED, Study, Version

logger = logging.getLogger(__name__)

MOST_ATTEMPTS = 5  # so that a study that crashes the process every time does not block the others
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
STOP = "stop"  # results with this verdict are not sent without a person's review


class Written(Protocol):
    """Written results: the attributes of `custom_networks.result.Result` that are used here."""

    @property
    def report(self) -> Mapping[str, Any]: ...

    @property
    def notes(self) -> tuple[str, ...]: ...


Segment = Callable[[Path, Case], Written]  # such as a partial of `batch.run.segment_into`


class Segmenter:
    """Segments waiting versions of studies, one at a time.

    Args:
        spool: the spool.
        output: the folder of results; version n of a study gets the case folder `<output>/<study>/<n>/`.
        segment: function that takes a folder and a case, segments the case, and writes its results to a case folder in
            that folder.
        rules: rules for selecting the series.
        destinations: names of the destinations for results.
    """

    def __init__(
        self,
        spool: Spool,
        output: Path,
        segment: Segment,
        *,
        rules: Sequence[Rule] = (),
        destinations: Sequence[str] = (),
    ) -> None:
        self._spool, self._output, self._segment = spool, output, segment
        self._rules, self._destinations = rules, tuple(destinations)

    def segment_next(self) -> bool:
        """Segment the version that has waited longest; False if none is waiting, or if the disk is full or read-only.

        The version counts as waiting until its results are complete. If the node is killed before that, the version is
        segmented again, and none of its results have been sent.
        """
        found = self._spool.next_waiting()
        if found is None:
            return False
        study, version = found
        begun = replace(version, attempts=version.attempts + 1)
        self._spool.put(study.key, begun)
        started = time.monotonic()
        try:
            done = self._segment_version(study, begun)
            self._spool.put(study.key, done)
        except OSError as error:
            record("no room", level=logging.ERROR, study=study.key, version=version.number, error=error.strerror)
            self._spool.put(study.key, version)
            return False
        self._log(study.key, done, time.monotonic() - started)
        return True

    def _segment_version(self, study: Study, version: Version) -> Version:
        """Segment a version and return it with its new state; raises OSError if the disk is full or read-only."""
        try:
            if version.attempts > MOST_ATTEMPTS:
                raise InputError(
                    f"The node stopped {MOST_ATTEMPTS} times while segmenting this study: see the node's log."
                )
            case = case_of(study, version, self._rules)
            folder = self._output / study.key
            folder.mkdir(parents=True, exist_ok=True)
            result = self._segment(folder, case)
        except Exception as error:  # one bad study must not stop the others
            cause = root_cause(error)
            if isinstance(cause, OSError) and cause.errno in NO_ROOM:
                raise cause from error
            logger.debug("study %s, version %d", study.key, version.number, exc_info=True)
            return replace(version, state=REFUSED, message=_refusal_message(cause))
        return self._with_results(version, result)

    def _with_results(self, version: Version, result: Written) -> Version:
        """Return the version with its result files and new state.

        The state is held if the verdict is stop; refused if there are destinations but the SEG or SR is missing; else
        done.
        """
        files = tuple(
            result.report["files"][kind] for kind in ("dicom_seg", "dicom_sr") if kind in result.report["files"]
        )
        verdict = result.report.get("verdict") or {}
        if verdict.get("level") == STOP:
            why = (
                "The verdict is stop: the results were not sent. Check them, and send them yourself if they are right."
            )
            return replace(version, state=HELD, files=files, message=why)
        if self._destinations and len(files) < 2:
            why = next((note for note in reversed(result.notes) if "not written" in note), "")
            why = why or "There is no DICOM SEG and SR to send."
            return replace(version, state=REFUSED, files=files, message=why)
        return replace(version, state=DONE, files=files, unsent=self._destinations)

    def _log(self, key: str, version: Version, seconds: float) -> None:
        level = logging.INFO if version.state == DONE else logging.WARNING
        facts: dict[str, object] = {"study": key, "version": version.number, "images": len(version.images)}
        if version.message:
            facts["message"] = version.message
        record(version.state, level=level, **facts, seconds=round(seconds, 1))


def _refusal_message(cause: BaseException) -> str:
    """Return a sentence that says why a study was refused.

    For errors of other libraries, it names only the type, because their text could quote a patient.
    """
    if isinstance(cause, LiversegError):
        return str(cause)
    return f"Failed with an unexpected {type(cause).__name__} (--debug shows where)."


def case_of(study: Study, version: Version, rules: Sequence[Rule]) -> Case:
    """Return the case to segment for a version: the most suitable series among the images that the rules select.

    It can be a case that raises InputError when it is read.

    Raises:
        InputError: some images have been removed, none matches a rule, or they belong to several patients.
    """
    gone = set(version.images) - set(study.images)
    earlier = set().union(*(one.images for one in study.versions.values() if one.number < version.number))
    if gone or earlier - set(version.images):
        raise InputError("Some images arrived after earlier ones had been removed: send the whole study again.")
    scan = scan_files([DicomFile(study.image_folder, name) for name in version.images])
    scan, notes = apply_rules(scan, rules)
    cases = dicom_cases(study.image_folder, scan)
    if len(cases) != 1:
        raise InputError(
            f"The StudyInstanceUID is shared by {len(cases)} patients: send each patient as a separate study."
        )
    return replace(cases[0], name=str(version.number), notes=(*cases[0].notes, *notes))
