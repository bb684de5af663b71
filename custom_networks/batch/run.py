"""Segment many inputs into one output folder, and record their outcomes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from custom_networks.batch.memory import Room, available_memory
from custom_networks.batch.outcomes import outcomes
from custom_networks.batch.overlap import overlapped
from custom_networks.batch.refusals import Refusal, forget, remember
from custom_networks.case_folder import remove_abandoned_staging
from custom_networks.errors import LiversegError, UsageError, reason_of, root_cause
from custom_networks.io import Case
from custom_networks.io.case import place_of
from custom_networks.io.read_case import ReadCase, read_now
from custom_networks.report.page.written import OFF
from custom_networks.report.summary import Summary
from custom_networks.staging import output_folder, probe

if TYPE_CHECKING:  # a process that only distributes cases needs no PyTorch
    from custom_networks.pipeline import Pipeline
    from custom_networks.result import Result

logger = logging.getLogger(__name__)

SUMMARY_EVERY = 60.0  # seconds between updates of the summary
SUMMARY_SHARE = 20  # wait at least this many times the duration of the last update, which grows with the folder


Begin = Callable[[Case], None]


def ignored(case: Case) -> None:
    """Do nothing when a case begins; the default for `begin`."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of a case: its result, or else a one-line message and, if it is at hand, the exception."""

    case: Case
    result: Result | None
    message: str = ""
    error: Exception | None = None


class Run:
    """Segments and writes one case after another in this process, and updates `summary.csv` and `index.html`.

    Args:
        output: the output folder.
        pipeline: the pipeline.
        probability: also write the tumor probability.
        options: keyword arguments of `result.write`.
        promised: options recorded in the manifest of each result.

    Attributes:
        options: the same as `promised`, as for every `Runner`.
        sum_up: function that writes the summary; see `KeptSummary.write`.

    Raises:
        UsageError: the output folder is not writable.
    """

    def __init__(
        self,
        output: Path,
        pipeline: Pipeline,
        probability: bool,
        options: Mapping[str, Any],
        promised: Mapping[str, Any] | None = None,
    ) -> None:
        self._output, self._pipeline = ready_folder(output), pipeline
        self._probability, self._options = probability, options
        self._summary = KeptSummary(self._output, options)
        self._begin: Begin = ignored
        self.options: Mapping[str, Any] = promised or {}
        self.sum_up = self._summary.write

    def segment(self, case: Case) -> Outcome:
        """Segment and write a case, and return its outcome; a failure is recorded, not raised."""
        try:
            result = segment_into(self._output, case, self._pipeline, probability=self._probability, **self._options)
            outcome = Outcome(case, result)
        except Exception as error:  # one bad case must not stop the others
            outcome = Outcome(case, None, failure(case, error), error)
        self._summary.keep()
        return outcome

    def outcomes(self, cases: Sequence[Case], begin: Begin = ignored) -> Iterator[Outcome]:
        """Segment and write cases as `segment` does, and yield their outcomes in order; results are without arrays.

        While a case is segmented, the next one is read and the previous one written if memory has room for them.
        `begin` is called with each case before it is segmented.
        """
        room, self._begin = Room(available_memory()), begin
        for case, given in overlapped(cases, read_now, self._predicted, self._written, room):
            yield remembered_outcome(self._output, case, given)
            self._summary.keep()

    def _predicted(self, case: Case, read: ReadCase) -> Result:
        self._begin(case)
        return as_read(self._pipeline.predict(read, probability=self._probability), case, read)

    def _written(self, case: Case, result: Result) -> Result:
        return write(result, self._output, **self._options).without_arrays()


def write(result: Result, output: Path, **options: Any) -> Result:
    """Call `result.write`, which is imported here because the import is slow."""
    from custom_networks.result import write as write_result

    return write_result(result, output, **options)


class KeptSummary:
    """`summary.csv` and `index.html` of an output folder, updated at intervals during a run.

    Args:
        output: the output folder.
        options: keyword arguments of `result.write`; if they turn the page off, there is no `index.html`.
    """

    def __init__(self, output: Path, options: Mapping[str, Any]) -> None:
        self._summary = Summary(output, lambda: outcomes(output), options.get("page") != OFF)
        self._due = time.monotonic() + SUMMARY_EVERY

    def keep(self) -> None:
        """Update the summary if the interval has passed."""
        if time.monotonic() >= self._due:
            self.write()

    def write(self) -> str:
        """Write the summary, and return "" or, if that failed, the reason."""
        started = time.monotonic()
        try:
            self._summary.write()
        except OSError as error:  # such as a full disk, or the file is open in a spreadsheet
            advice = "free disk space, or close it in other programs"
            return f"summary.csv cannot be written ({error.strerror or error}): {advice}."
        finally:
            ended = time.monotonic()
            self._due = ended + max(SUMMARY_EVERY, SUMMARY_SHARE * (ended - started))
        return ""


def as_read(result: Result, case: Case, read: ReadCase) -> Result:
    """Return the result of a case that was read beforehand, with `case` as its input and the reading time added."""
    seconds = {**result.run["seconds"], "read": round(read.seconds, 3)}
    seconds["total"] = round(seconds["total"] + read.seconds, 3)
    return replace(result, input=case, run={**result.run, "seconds": seconds})


def remembered_outcome(output: Path, case: Case, given: Result | Exception) -> Outcome:
    """Return the outcome of a case; record a failure in the output folder, or delete the record of an earlier one."""
    if not isinstance(given, Exception):
        forget(output, case.place)
        return Outcome(case, given)
    message = failure(case, given)
    _remember(output, case, message)
    return Outcome(case, None, message, given)


def ready_folder(output: str | Path) -> Path:
    """Create the output folder if needed, remove what interrupted runs left in it, and return its path.

    Raises:
        UsageError: the path is not a folder, or is not writable.
    """
    folder = output_folder(output)
    try:
        probe(folder)
        remove_abandoned_staging(folder)
    except OSError as error:
        raise UsageError(f"{folder} is not writable ({reason_of(error)}): choose another output folder.") from error
    return folder


def segment_into(output: Path, case: Case, pipeline: Pipeline, *, probability: bool, **options: Any) -> Result:
    """Segment a case, write its files into `output` and return the result; a failure is also recorded there.

    Raises:
        LiversegError: the input cannot be segmented.
        OSError: its files cannot be written.
    """
    try:
        result = write(pipeline.predict(case, probability=probability), output, **options)
    except Exception as error:
        _remember(output, case, failure(case, error))
        raise
    forget(output, case.place)
    return result


def forget_inputs(output: Path, inputs: Iterable[str], cases: Iterable[Case]) -> None:
    """Delete the refusal records of inputs that are no longer cases, such as a folder that now has several cases."""
    places = {place_of(given) for given in inputs if "\0" not in given}
    for place in places - {case.place for case in cases}:
        forget(output, place)


def failure(case: Case, error: BaseException) -> str:
    """Return a one-line message on why a case was not segmented."""
    reason, cause = reason_of(error), root_cause(error)
    if isinstance(cause, LiversegError):
        return reason
    if isinstance(cause, OSError):
        return f"{case.source}: its files cannot be read or written ({reason}): free disk space, or check permissions."
    if isinstance(cause, MemoryError):
        return f"{case.source}: failed, {reason}: close other programs, or use a machine with more memory."
    return f"{case.source}: failed unexpectedly, {reason} (--debug shows where)."


def _remember(output: Path, case: Case, message: str) -> None:
    """Record a refused or failed case in the output folder; if that fails, log a warning."""
    known: dict[str, Any] = {"content": "", "geometry": ""}
    for name in known:
        try:
            known[name] = getattr(case, name)
        except Exception:  # an unreadable input has neither
            logger.debug("%s: no %s", case.source, name, exc_info=True)
    try:
        remember(output, case.place, Refusal(case.name, case.source, message, **known))
    except OSError as error:  # stderr and the exit code still report the refusal
        logger.warning("The refusal of %s could not be recorded (%s).", case.source, reason_of(error))
