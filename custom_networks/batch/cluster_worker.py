"""What runs on the workers of a Dask cluster: one case at a time in each process, with all threads of the worker."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from custom_networks import __version__
from custom_networks.batch.run import failure, segment_into
from custom_networks.batch.work import Work
from custom_networks.errors import InputError, LiversegError, UsageError, reason_of, root_cause
from custom_networks.io import Case
from custom_networks.io.read_case import ReadCase

if TYPE_CHECKING:
    from custom_networks.pipeline import Pipeline
    from custom_networks.result import Result

logger = logging.getLogger(__name__)

_ONE_AT_A_TIME = threading.Lock()
_LAST: dict[str, Pipeline] = {}  # the pipeline of the run that asked last


class Order(NamedTuple):
    """What a run asks of all its workers.

    Attributes:
        run: its name, which no other run has.
        work: what was asked for.
        version: of the package that a worker must have.
        options: what the manifest of each result must state.
        probe: a file in the output folder that holds the run's name, where workers write; None where results are sent
            back.
    """

    run: str
    work: Work
    version: str
    options: Mapping[str, Any]
    probe: Path | None


class Answer(NamedTuple):
    """What a worker made of a case.

    Attributes:
        result: None where there is none.
        message: why not, in one line.
        refused: whether the input is at fault, so that no other worker would do better.
        unfit: whether the worker cannot do any case of this run.
    """

    result: Result | None
    message: str = ""
    refused: bool = False
    unfit: bool = False


def ability(work: Work, run: str) -> tuple[str, Mapping[str, Any]] | LiversegError:
    """This worker's version and the options that its results would state; or why it cannot segment.

    The error is returned, not raised: Dask follows the causes of what is raised, forever where they form a circle.
    """
    with _ONE_AT_A_TIME:
        try:
            return __version__, work.promised(_pipeline(work, run))
        except Exception as error:  # whatever this machine lacks
            return error if isinstance(error, LiversegError) else UsageError(reason_of(error))


def sees(probe: Path, run: str) -> bool:
    """Whether this worker sees the file that the run has written into its output folder, and may write there."""
    try:
        return probe.read_text(encoding="utf-8") == run and os.access(probe.parent.parent, os.W_OK)
    except OSError:
        return False


def segment_there(order: Order, case: Case) -> Answer:
    """Segment a case, whatever happens: write it into the output folder or, if its voxels were sent, send it back.

    Voxels that were sent need not come back.
    """
    with _ONE_AT_A_TIME:
        try:
            pipeline = _fit_pipeline(order)
        except Exception as error:  # this machine lacks something, another may have it
            logger.debug("no pipeline", exc_info=True)
            return Answer(None, reason_of(error), unfit=True)
        try:
            return Answer(_result(order, case, pipeline))
        except Exception as error:  # the reason is for whoever asked
            logger.debug("%s", case.source, exc_info=True)
            return Answer(None, failure(case, error), refused=isinstance(root_cause(error), InputError))


def _result(order: Order, case: Case, pipeline: Pipeline) -> Result:
    """The result of a case, without what need not travel."""
    work = order.work
    if isinstance(case, ReadCase):
        result = pipeline.predict(case, probability=work.probability).without_ct()
        return replace(result, input=replace(case, volume=result.ct))
    return segment_into(work.output, case, pipeline, probability=work.probability, **work.options).without_arrays()


def _fit_pipeline(order: Order) -> Pipeline:
    """The pipeline of a run, if this worker is able to take part in it.

    Raises:
        UsageError: its version, weights or storage are not those of the run.
        LiversegError: as `Work.pipeline` says.
    """
    if __version__ != order.version:
        raise UsageError(f"it has version {__version__}, and the run version {order.version}: install the same one.")
    if order.probe and not sees(order.probe, order.run):  # it came later than the others, with a disk of its own
        raise UsageError(f"it does not see {order.work.output}, or may not write there: mount the same folder.")
    pipeline = _pipeline(order.work, order.run)
    own = order.work.promised(pipeline)
    if others := [name for name, value in own.items() if value != order.options.get(name)]:
        raise UsageError(f"it has other {', '.join(others)} than the run began with: install the same files.")
    return pipeline


def _pipeline(work: Work, run: str) -> Pipeline:
    """The pipeline of a run, built once in this process, with the threads that its worker was given."""
    from distributed import get_worker

    work.use(get_worker().state.nthreads)  # a nanny leaves it one
    if run not in _LAST:
        pipeline = work.pipeline()
        _LAST.clear()
        _LAST[run] = pipeline
    return _LAST[run]
