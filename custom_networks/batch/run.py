"""One run over many inputs into one output folder."""

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from custom_networks.batch.outcomes import outcomes
from custom_networks.batch.refusals import Refusal, forget, remember
from custom_networks.case_folder import remove_abandoned_staging
from custom_networks.errors import LiversegError, UsageError, reason_of, root_cause
from custom_networks.io import Case
from custom_networks.io.case import place_of
from custom_networks.pipeline import Pipeline
from custom_networks.report.page.written import OFF
from custom_networks.report.summary import Summary
from custom_networks.result import Result, output_folder, write
from custom_networks.staging import probe

logger = logging.getLogger(__name__)

SUMMARY_EVERY = 60.0  # seconds; a folder of thousands of cases takes some to read


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

    Raises:
        UsageError: nothing can be written into the folder.
    """

    def __init__(self, output: Path, pipeline: Pipeline, probability: bool, options: dict[str, Any]) -> None:
        self._output, self._pipeline = ready_folder(output), pipeline
        self._probability, self._options = probability, options
        index = options.get("page") != OFF
        self._summary = Summary(self._output, lambda: outcomes(self._output), index)
        self._summed_up = time.monotonic()

    def segment(self, case: Case) -> Outcome:
        """Segment, write and remember a case, whatever happens."""
        try:
            result = segment_into(self._output, case, self._pipeline, probability=self._probability, **self._options)
            outcome = Outcome(case, result)
        except Exception as error:  # the other cases must still be segmented, whatever is wrong with this one
            outcome = Outcome(case, None, failure(case, error), error)
        if time.monotonic() - self._summed_up >= SUMMARY_EVERY:
            self.sum_up()
        return outcome

    def sum_up(self) -> str:
        """Write `summary.csv` and `index.html`; why that was not possible, "" if it was. The cases are there anyway."""
        self._summed_up = time.monotonic()
        try:
            self._summary.write()
        except OSError as error:  # open in a spreadsheet, or a full disk
            return f"summary.csv cannot be written ({error.strerror or error}): close it where it is open."
        return ""


def ready_folder(output: str | Path) -> Path:
    """The output folder, made where it is missing, without what runs that are gone left in it.

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
    """Forget refusals of inputs that are no case any more, such as of a folder that holds several cases now."""
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
    except OSError as error:  # the line on stderr and the exit code say it, too
        logger.warning("The refusal of %s could not be written down (%s).", case.source, reason_of(error))
