"""From a version of a study to its results; the function that segments and writes is passed in."""

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
from custom_networks.node.rules import Rule, by_rules
from custom_networks.node.spool import Spool
from custom_networks.node.study import DONE, HELD, REFUSED, Study, Version

logger = logging.getLogger(__name__)

MOST_ATTEMPTS = 5  # a study that ends the process each time must not keep the others waiting forever
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
STOP = "stop"  # the verdict whose results are not sent unless somebody has looked at them


class Written(Protocol):
    """What is used of a `custom_networks.result.Result`."""

    @property
    def report(self) -> Mapping[str, Any]: ...

    @property
    def notes(self) -> tuple[str, ...]: ...


Segment = Callable[[Path, Case], Written]  # such as `batch.run.segment_into` with its pipeline


class Segmenter:
    """Segments the waiting versions, one after another.

    Args:
        spool: that they wait in.
        output: the folder of results; version n of a study is the case folder `<output>/<study>/<n>/`.
        segment: segments a case and writes its results into a case folder within the given folder.
        rules: which series is taken.
        destinations: that results are to be sent to.
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
        """Segment the version that has waited longest; False if none waits, or the disk has no room for results.

        Results are whole in the output folder before the record says so. A version that is killed in between is done
        again, and nothing of it was sent.
        """
        found = self._spool.next_waiting()
        if found is None:
            return False
        study, version = found
        begun = replace(version, attempts=version.attempts + 1)
        self._spool.put(study.key, begun)
        started = time.monotonic()
        try:
            done = self._segmented(study, begun)
            self._spool.put(study.key, done)
        except OSError as error:
            record("no room", level=logging.ERROR, study=study.key, version=version.number, error=error.strerror)
            self._spool.put(study.key, version)
            return False
        self._say(study.key, done, time.monotonic() - started)
        return True

    def _segmented(self, study: Study, version: Version) -> Version:
        """What became of a version; OSError if there is no room for its results."""
        try:
            if version.attempts > MOST_ATTEMPTS:
                raise InputError(f"The node ended {MOST_ATTEMPTS} times while it segmented this study: see its log.")
            case = case_of(study, version, self._rules)
            folder = self._output / study.key
            folder.mkdir(parents=True, exist_ok=True)
            result = self._segment(folder, case)
        except Exception as error:  # the other studies must still be segmented, whatever is wrong with this one
            cause = root_cause(error)
            if isinstance(cause, OSError) and cause.errno in NO_ROOM:
                raise cause from error
            logger.debug("study %s, version %d", study.key, version.number, exc_info=True)
            return replace(version, state=REFUSED, message=_said(cause))
        return self._answered(version, result)

    def _answered(self, version: Version, result: Written) -> Version:
        """The version with its results: to be sent, held back, or refused if there is nothing to send."""
        files = tuple(
            result.report["files"][kind] for kind in ("dicom_seg", "dicom_sr") if kind in result.report["files"]
        )
        verdict = result.report.get("verdict") or {}
        if verdict.get("level") == STOP:
            return replace(version, state=HELD, files=files, message="The verdict is stop: the results were not sent.")
        if self._destinations and len(files) < 2:
            why = next((note for note in reversed(result.notes) if "not written" in note), "no DICOM results")
            return replace(version, state=REFUSED, files=files, message=why)
        return replace(version, state=DONE, files=files, unsent=self._destinations)

    def _say(self, key: str, version: Version, seconds: float) -> None:
        level = logging.INFO if version.state == DONE else logging.WARNING
        facts: dict[str, object] = {"study": key, "version": version.number, "images": len(version.images)}
        if version.message:
            facts["message"] = version.message
        record(version.state, level=level, **facts, seconds=round(seconds, 1))


def _said(cause: BaseException) -> str:
    """Why a study was refused; a message that is not ours could quote a patient, so only its type is given."""
    if isinstance(cause, LiversegError):
        return str(cause)
    return f"It failed with an unexpected {type(cause).__name__} (--debug shows where)."


def case_of(study: Study, version: Version, rules: Sequence[Rule]) -> Case:
    """The case of a version: the series that suits a liver best, among those that the rules take.

    Raises:
        InputError: images of it were removed since, none meets a rule, or it holds volumes of several patients.
    """
    gone = set(version.images) - set(study.images)
    earlier = set().union(*(one.images for one in study.versions.values() if one.number < version.number))
    if gone or earlier - set(version.images):
        raise InputError("Some of its images came after the others had been removed: send the whole study again.")
    scan = scan_files([DicomFile(study.image_folder, name) for name in version.images])
    scan, notes = by_rules(scan, rules)
    cases = dicom_cases(study.image_folder, scan)
    if len(cases) != 1:
        raise InputError(
            f"Its StudyInstanceUID covers volumes of {len(cases)} patients: send each patient as a study of its own."
        )
    return replace(cases[0], name=str(version.number), notes=(*cases[0].notes, *notes))
