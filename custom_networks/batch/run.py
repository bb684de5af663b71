"""One run over many inputs into one output folder."""

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

if TYPE_CHECKING:  # a process that only hands cases out needs no PyTorch
    from custom_networks.pipeline import Pipeline
    from custom_networks.result import Result

logger = logging.getLogger(__name__)

SUMMARY_EVERY = 60.0  # seconds
SUMMARY_SHARE = 20  # times as long as writing took: a folder of thousands of cases takes some time to read


Begin = Callable[[Case], None]


def ignored(case: Case) -> None:
    """For callers that need not know when a case begins."""


@dataclass(frozen=True)
class Outcome:
    """What became of a case: its result, or why there is none, in one line and as the error."""

    case: Case
    result: Result | None
    message: str = ""
    error: Exception | None = None


class Run:
    """Segments and writes one case after another, and keeps `summary.csv`.

    Args:
        output: the output folder.
        pipeline: what segments.
        probability: write the tumor probability, too.
        options: of `result.write`.
        promised: what the manifest of each result will state.

    Raises:
        UsageError: nothing can be written into the folder.
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
        """Segment, write and remember a case, whatever happens."""
        try:
            result = segment_into(self._output, case, self._pipeline, probability=self._probability, **self._options)
            outcome = Outcome(case, result)
        except Exception as error:  # the other cases must still be segmented, whatever is wrong with this one
            outcome = Outcome(case, None, failure(case, error), error)
        self._summary.keep()
        return outcome

    def outcomes(self, cases: Sequence[Case], begin: Begin = ignored) -> Iterator[Outcome]:
        """Segment, write and remember cases as `segment` does, results without arrays.

        While one is answered, the next is read and the one before is written, where memory has room for them. `begin`
        is told of each case before it is answered.
        """
        room, self._begin = Room(available_memory()), begin
        for case, given in overlapped(cases, read_now, self._answered, self._written, room):
            yield remembered_outcome(self._output, case, given)
            self._summary.keep()

    def _answered(self, case: Case, read: ReadCase) -> Result:
        self._begin(case)
        return as_read(self._pipeline.predict(read, probability=self._probability), case, read)

    def _written(self, case: Case, result: Result) -> Result:
        return write(result, self._output, **self._options).without_arrays()


def write(result: Result, output: Path, **options: Any) -> Result:
    """See `result.write`, which is imported where something is written."""
    from custom_networks.result import write as write_result

    return write_result(result, output, **options)


class KeptSummary:
    """`summary.csv` and `index.html` of an output folder, written now and then while a run goes on.

    Args:
        output: the output folder.
        options: of `result.write`; without pages there is no index.
    """

    def __init__(self, output: Path, options: Mapping[str, Any]) -> None:
        self._summary = Summary(output, lambda: outcomes(output), options.get("page") != OFF)
        self._due = time.monotonic() + SUMMARY_EVERY

    def keep(self) -> None:
        """Write it if it is due."""
        if time.monotonic() >= self._due:
            self.write()

    def write(self) -> str:
        """Write it; why that was not possible, "" if it was. The cases' own files are there all the same."""
        started = time.monotonic()
        try:
            self._summary.write()
        except OSError as error:  # open in a spreadsheet, or a full disk
            return f"summary.csv cannot be written ({error.strerror or error}): make room, or close it elsewhere."
        finally:
            ended = time.monotonic()
            self._due = ended + max(SUMMARY_EVERY, SUMMARY_SHARE * (ended - started))
        return ""


def as_read(result: Result, case: Case, read: ReadCase) -> Result:
    """The result of a case that was read beforehand, with the time of reading added."""
    seconds = {**result.run["seconds"], "read": round(read.seconds, 3)}
    seconds["total"] = round(seconds["total"] + read.seconds, 3)
    return replace(result, input=case, run={**result.run, "seconds": seconds})


def remembered_outcome(output: Path, case: Case, given: Result | Exception) -> Outcome:
    """What became of a case, which the output folder remembers if it was refused or failed."""
    if not isinstance(given, Exception):
        forget(output, case.place)
        return Outcome(case, given)
    message = failure(case, given)
    _remember(output, case, message)
    return Outcome(case, None, message, given)


def ready_folder(output: str | Path) -> Path:
    """The output folder, made where it is missing and cleared of what interrupted runs left in it.

    Raises:
        UsageError: it cannot be a folder, or nothing can be written into it.
    """
    folder = output_folder(output)
    try:
        probe(folder)
        remove_abandoned_staging(folder)
    except OSError as error:
        raise UsageError(f"Nothing can be written into {folder} ({reason_of(error)}): name another folder.") from error
    return folder


def segment_into(output: Path, case: Case, pipeline: Pipeline, *, probability: bool, **options: Any) -> Result:
    """Segment a case and write it below `output`, which remembers an input that is refused or fails.

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
    """Forget refusals of inputs that are no longer a case, such as a folder that now holds several cases."""
    places = {place_of(given) for given in inputs if "\0" not in given}
    for place in places - {case.place for case in cases}:
        forget(output, place)


def failure(case: Case, error: BaseException) -> str:
    """One line on why a case was not segmented."""
    reason, cause = reason_of(error), root_cause(error)
    if isinstance(cause, LiversegError):
        return reason
    if isinstance(cause, OSError):
        return f"{case.source}: its files cannot be read or written ({reason}): make room, or check permissions."
    if isinstance(cause, MemoryError):
        return f"{case.source}: failed, {reason}: close other programs, or take a larger machine."
    return f"{case.source}: failed unexpectedly, {reason} (--debug shows where)."


def _remember(output: Path, case: Case, message: str) -> None:
    """Leave a refusal in the output folder, if that can be written at all."""
    known: dict[str, Any] = {"content": "", "geometry": ""}
    for name in known:
        try:
            known[name] = getattr(case, name)
        except Exception:  # an input that cannot be read need not say what it holds
            logger.debug("%s: no %s", case.source, name, exc_info=True)
    try:
        remember(output, case.place, Refusal(case.name, case.source, message, **known))
    except OSError as error:  # the line on stderr and the exit code say so, too
        logger.warning("The refusal of %s could not be written down (%s).", case.source, reason_of(error))
