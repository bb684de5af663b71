"""Code that runs on the workers of a Dask cluster.

Each worker process segments one case at a time, with all threads of the worker.
"""

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
_BUILT: dict[str, Pipeline] = {}  # the pipeline of the most recent run


class Order(NamedTuple):
    """Instructions of a run, the same for all workers.

    Attributes:
        run: unique name of the run.
        work: settings of the run.
        version: version of this package that a worker must have.
        options: options that the manifest of each result must record.
        probe: a file in the output folder that contains the run's name, if the workers write the results there; None
            if results are sent back.
    """

    run: str
    work: Work
    version: str
    options: Mapping[str, Any]
    probe: Path | None


class Answer(NamedTuple):
    """A worker's answer for one case.

    Attributes:
        result: the result, or None if the case was not segmented.
        message: one line on why there is no result.
        refused: whether the input is at fault, so that any other worker would also refuse it.
        unfit: whether the worker cannot segment any case of this run.
    """

    result: Result | None
    message: str = ""
    refused: bool = False
    unfit: bool = False


def capability(work: Work, run: str) -> tuple[str, Mapping[str, Any]] | LiversegError:
    """Return this worker's package version and the options its results would record, or why it cannot segment.

    The error is returned because raising it could hang Dask, which follows an exception's chain of causes without end
    if the chain is circular.
    """
    with _ONE_AT_A_TIME:
        try:
            return __version__, work.promised(_pipeline(work, run))
        except Exception as error:  # anything may be missing on this machine
            return error if isinstance(error, LiversegError) else UsageError(reason_of(error))


def shares_output(probe: Path, run: str) -> bool:
    """Whether this worker can read the run's probe file and write to the output folder that contains it."""
    try:
        return probe.read_text(encoding="utf-8") == run and os.access(probe.parent.parent, os.W_OK)
    except OSError:
        return False


def segment_on_worker(order: Order, case: Case) -> Answer:
    """Segment a case; failures are returned in the answer, never raised.

    If the order has a probe file, the result is written into the output folder and returned without arrays. A case
    that was sent with its volume is not written; its result is returned without the CT.
    """
    with _ONE_AT_A_TIME:
        try:
            pipeline = _checked_pipeline(order)
        except Exception as error:  # another worker may have what this one lacks
            logger.debug("no pipeline", exc_info=True)
            return Answer(None, reason_of(error), unfit=True)
        try:
            return Answer(_result(order, case, pipeline))
        except Exception as error:  # the client reports the reason
            logger.debug("%s", case.source, exc_info=True)
            return Answer(None, failure(case, error), refused=isinstance(root_cause(error), InputError))


def _result(order: Order, case: Case, pipeline: Pipeline) -> Result:
    """Return the result of a case, reduced to what the client needs."""
    work = order.work
    if isinstance(case, ReadCase):
        result = pipeline.predict(case, probability=work.probability).without_ct()
        return replace(result, input=replace(case, volume=result.ct))
    return segment_into(work.output, case, pipeline, probability=work.probability, **work.options).without_arrays()


def _checked_pipeline(order: Order) -> Pipeline:
    """Return the pipeline of a run after checking that this worker may take part in it.

    Raises:
        UsageError: the worker has another version or other weights, or cannot access the output folder.
        LiversegError: the pipeline cannot be built; see `Work.pipeline`.
    """
    if __version__ != order.version:
        raise UsageError(f"it has version {__version__}, but the run needs {order.version}: install that version.")
    if order.probe and not shares_output(order.probe, order.run):  # a worker that joined after the first check
        raise UsageError(f"it cannot access {order.work.output}, or may not write there: mount the same folder.")
    pipeline = _pipeline(order.work, order.run)
    own = order.work.promised(pipeline)
    if others := [name for name, value in own.items() if value != order.options.get(name)]:
        raise UsageError(
            f"it differs from the first worker in {', '.join(others)}: install the same package and weights."
        )
    return pipeline


def _pipeline(work: Work, run: str) -> Pipeline:
    """Return the pipeline of a run, built once per process; also sets this process's number of threads."""
    from distributed import get_worker

    work.use(get_worker().state.nthreads)  # Dask's nanny limits a worker to one thread
    if run not in _BUILT:
        pipeline = work.pipeline()
        _BUILT.clear()
        _BUILT[run] = pipeline
    return _BUILT[run]
