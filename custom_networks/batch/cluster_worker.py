"""What runs on the workers of a Dask cluster: one case at a time in each process, with all threads of the worker."""

from __future__ import annotations

import logging
import os
import platform
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from custom_networks import __version__
from custom_networks.batch.run import failure, segment_into
from custom_networks.batch.work import Work
from custom_networks.errors import InputError, reason_of, root_cause
from custom_networks.io import Case
from custom_networks.io.read_case import ReadCase

if TYPE_CHECKING:
    from custom_networks.pipeline import Pipeline
    from custom_networks.result import Result

logger = logging.getLogger(__name__)

_ONE_AT_A_TIME = threading.Lock()
_LAST: dict[str, Pipeline] = {}  # the pipeline of the run that asked last


class Ability(NamedTuple):
    """What a worker says of itself before it is given a case."""

    version: str
    python: str
    options: dict[str, Any]


class Answer(NamedTuple):
    """What a worker made of a case.

    Attributes:
        worker: its address.
        result: None where there is none.
        message: why not, in one line.
        refused: whether the input is at fault, so that no other worker would do better.
        unfit: whether the worker cannot segment at all.
    """

    worker: str
    result: Result | None
    message: str = ""
    refused: bool = False
    unfit: bool = False


def ability(work: Work, run: str) -> Ability:
    """Build what segments; errors are those of `Work.pipeline`."""
    with _ONE_AT_A_TIME:
        options = work.promised(_pipeline(work, run))
    return Ability(__version__, platform.python_version(), options)


def sees(probe: Path, text: str) -> bool:
    """Whether this worker sees the file that the run has written into its output folder, and may write there."""
    try:
        return probe.read_text(encoding="utf-8") == text and os.access(probe.parent.parent, os.W_OK)
    except OSError:
        return False


def segment_there(work: Work, run: str, probe: Path, case: Case) -> Answer:
    """Segment a case into the output folder, where this worker sees it."""
    if not sees(probe, run):  # it came later than the others, and would write to a disk of its own
        return Answer(_worker().address, None, f"it does not see {work.output}, or may not write there.", unfit=True)

    def segmented(pipeline: Pipeline) -> Result:
        result = segment_into(work.output, case, pipeline, probability=work.probability, **work.options)
        return result.without_arrays()

    return _answer(work, run, case, segmented)


def answer_there(work: Work, run: str, case: ReadCase) -> Answer:
    """Answer a case that was sent with its voxels, which need not be sent back."""

    def answered(pipeline: Pipeline) -> Result:
        result = pipeline.predict(case, probability=work.probability).without_ct()
        return replace(result, input=replace(case, volume=result.ct))

    return _answer(work, run, case, answered)


def _answer(work: Work, run: str, case: Case, segmented: Callable[[Pipeline], Result]) -> Answer:
    """What came of a case, whatever happened."""
    worker = _worker().address
    with _ONE_AT_A_TIME:
        try:
            pipeline = _pipeline(work, run)
        except Exception as error:  # this machine lacks something, another may have it
            logger.debug("no pipeline", exc_info=True)
            return Answer(worker, None, reason_of(error), unfit=True)
        try:
            return Answer(worker, segmented(pipeline))
        except Exception as error:  # the reason is for whoever asked
            logger.debug("%s", case.source, exc_info=True)
            refused = isinstance(root_cause(error), InputError)
            return Answer(worker, None, failure(case, error), refused)


def _pipeline(work: Work, run: str) -> Pipeline:
    """The pipeline of a run, built once in this process, with the threads that its worker was given."""
    work.use(_worker().state.nthreads)  # a nanny leaves it one
    if run not in _LAST:
        pipeline = work.pipeline()
        _LAST.clear()
        _LAST[run] = pipeline
    return _LAST[run]


def _worker() -> Any:
    """The worker that runs this task."""
    from distributed import get_worker

    return get_worker()
