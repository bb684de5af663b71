"""Segment the cases of a batch on the workers of a Dask cluster (extra `cluster`)."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from custom_networks import __version__
from custom_networks.batch.cluster_workers import Workers
from custom_networks.batch.memory import USABLE, VOXEL_HELD, available_memory
from custom_networks.batch.run import (
    Begin,
    KeptSummary,
    Outcome,
    as_read,
    ignored,
    ready_folder,
    remembered_outcome,
    write,
)
from custom_networks.batch.work import Work
from custom_networks.errors import ClusterLost, InputError, LiversegError, UsageError, one_line
from custom_networks.files import write_text
from custom_networks.io import Case
from custom_networks.io.read_case import ReadCase, read_now
from custom_networks.staging import staging_folder

if TYPE_CHECKING:
    from distributed import Future

    from custom_networks.batch.cluster_worker import Order
    from custom_networks.result import Result

logger = logging.getLogger(__name__)

TRIES = 3


@dataclass(eq=False)
class _Pending:
    """A case without an outcome yet, and the attempts to segment it.

    Attributes:
        case: the case.
        workers: addresses of the workers that were given the case, the latest last.
        reasons: why each attempt failed.
        read: the case with its volume, if volumes are read here and sent to the workers.
    """

    case: Case
    workers: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    read: ReadCase | None = None


_Running = dict["Future[Any]", _Pending]


class Cluster:
    """Segments cases on the workers of a cluster, one at a time on each.

    If every worker can access the output folder, the workers read inputs and write results themselves. Otherwise this
    process reads and writes, and volumes and results are sent over the network. All workers use the runtime and
    precision that the first worker selects. A worker that cannot segment gets no more cases, and a case that failed on
    one worker is retried on another.

    Args:
        work: settings of the run; its paths must be valid on the workers, too.
        address: address of the scheduler, such as tcp://host:8786.

    Attributes:
        options: options recorded in the manifest of each result.

    Raises:
        UsageError: the output folder is not writable, Dask is not installed, no scheduler answers, or the first worker
            cannot segment or has another version.
        BundleError: the first worker lacks the weights.
        ClusterLost: no worker connected in time, or the connection to the scheduler is lost.
    """

    def __init__(self, work: Work, address: str) -> None:
        self._output, self._address = ready_folder(work.output).resolve(), address
        self._summary = KeptSummary(self._output, work.options)
        self.sum_up = self._summary.write
        self._held = ExitStack()
        self._workers = Workers(address)
        self._held.callback(self._workers.close)
        try:
            self._order = self._make_order(replace(work.without_bars(), output=self._output).absolute())
        except BaseException:
            self._held.close()
            raise
        self.options = self._order.options

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._held.close()

    def outcomes(self, cases: Sequence[Case], begin: Begin = ignored) -> Iterator[Outcome]:
        """Yield the outcome of each case as soon as it is known; results are without arrays.

        `begin` is called with each case when a worker is about to get it, and again at each retry.

        Raises:
            ClusterLost: the connection to the scheduler is lost, or no worker that can segment is left.
        """
        waiting, running = deque(_Pending(case) for case in cases), _Running()
        while waiting or running:
            yield from self._assign(waiting, running, begin)
            workers = {future: pending.workers[-1] for future, pending in running.items()}
            for future in self._workers.wait_for_ended(workers):
                pending = running.pop(future)
                if (outcome := self._outcome(pending, future)) is None:
                    waiting.append(pending)
                else:
                    yield outcome
                    self._summary.keep()

    def _make_order(self, work: Work) -> Order:
        """Return the instructions for all workers, with the runtime and precision that the first worker selects.

        They name a probe file only if all workers can write to the output folder.
        """
        from custom_networks.batch.cluster_worker import Order, shares_output

        run = os.urandom(8).hex()
        options = self._options_of_first_worker(work, run)
        how = {name: options[name] for name in ("runtime", "precision")}
        probe = self._held.enter_context(staging_folder(self._output, "cluster")) / "probe"
        write_text(probe, run)
        seen = self._workers.run_on_all(shares_output, probe, run)
        if blind := seen.count(False):
            logger.warning(
                "%d of %d workers cannot access %s: volumes are sent to all workers, and results are sent back.",
                *(blind, len(seen), self._output),
            )
        asked = replace(work, settings={**work.settings, **how})
        return Order(run, asked, __version__, options, None if blind else probe)

    def _options_of_first_worker(self, work: Work, run: str) -> dict[str, Any]:
        """Return the options that the first worker would record in its results.

        If a worker dies while it loads the network, another one is asked, up to `TRIES` in all.
        """
        from custom_networks.batch.cluster_worker import capability

        for _ in range(TRIES):
            worker = min(self._workers.wait_until_ready())
            try:
                able = self._workers.result(self._workers.submit(worker, capability, work, run), worker)
            except ClusterLost:
                raise
            except Exception as error:
                able = UsageError(_worker_error(error))
            if isinstance(able, LiversegError):
                raise type(able)(f"The worker at {worker} cannot segment: {able}")
            if able is not None:
                break
        else:
            raise UsageError(f"The workers at {self._address} stopped before the first case: see their logs.")
        version, options = able
        if version != __version__:
            raise UsageError(
                f"The worker at {worker} has version {version}, but this is {__version__}: install the same on both."
            )
        return dict(options)

    def _assign(self, waiting: deque[_Pending], running: _Running, begin: Begin) -> Iterator[Outcome]:
        """Give idle workers cases if memory allows; yield the outcomes of cases that cannot be read here.

        A worker gets a case that it has already tried only if all other workers have tried it, too. If volumes are read
        here, one more is read ahead.
        """
        workers = self._workers.ready() if running else self._workers.wait_until_ready()
        for worker in sorted(workers - {busy.workers[-1] for busy in running.values()}):
            pending = next((one for one in waiting if worker not in one.workers or workers <= {*one.workers}), None)
            if pending is None or not self._has_memory(pending, running):
                continue
            waiting.remove(pending)
            begin(pending.case)
            if refused := self._read(pending):
                yield refused
            else:
                pending.workers.append(worker)
                running[self._submit(pending, worker)] = pending
        # Read the next case while the workers are busy.
        if waiting and self._has_memory(waiting[0], running) and (refused := self._read(waiting[0])):
            waiting.popleft()
            yield refused

    def _submit(self, pending: _Pending, worker: str) -> Future[Any]:
        from custom_networks.batch.cluster_worker import segment_on_worker

        return self._workers.submit(worker, segment_on_worker, self._order, pending.read or pending.case)

    def _read(self, pending: _Pending) -> Outcome | None:
        """Read a case if volumes are sent to the workers; return an outcome only if reading failed."""
        if self._order.probe or pending.read is not None:
            return None
        try:
            pending.read = read_now(pending.case)
            return None
        except Exception as error:  # one bad case must not stop the others
            return remembered_outcome(self._output, pending.case, error)

    def _has_memory(self, pending: _Pending, running: _Running) -> bool:
        """Whether the volume of a case fits into this machine's memory, in addition to those of the running cases.

        Always true if the workers read the volumes, if no case is running, or if the volume has already been read.
        """
        if self._order.probe or not running or pending.read is not None:
            return True
        # If the available memory is unknown, cases are sent one at a time.
        return VOXEL_HELD * pending.case.voxels <= USABLE * (available_memory() or 0)

    def _outcome(self, pending: _Pending, future: Future[Any]) -> Outcome | None:
        """Return the outcome of a case whose worker has finished or died, or None if the case is to be retried."""
        worker = pending.workers[-1]
        try:
            answer = self._workers.result(future, worker)
        except ClusterLost:
            raise
        except Exception as error:  # the called function never raises, so the worker could not even call it
            self._workers.dismiss(worker, _worker_error(error))
            return self._again(pending, _worker_error(error))
        if answer is None:
            reason = f"The worker at {worker} is gone (often because memory is short; see its log)."
            return self._again(pending, reason)
        if answer.unfit:
            self._workers.dismiss(worker, answer.message)
            return None
        if answer.refused:
            return remembered_outcome(self._output, pending.case, InputError(answer.message))
        if answer.result is None:
            return self._again(pending, answer.message)
        return self._written(pending, answer.result)

    def _again(self, pending: _Pending, reason: str) -> Outcome | None:
        """Record a failed attempt: return None if the case is to be retried, else its outcome with all reasons."""
        pending.reasons.append(reason)
        if len(pending.reasons) < TRIES:
            logger.warning("Retrying %s: %s", pending.case.source, reason)
            return None
        reasons = " ".join(dict.fromkeys(pending.reasons))
        error = InputError(f"{pending.case.source} was tried {TRIES} times. {reasons}")
        return remembered_outcome(self._output, pending.case, error)

    def _written(self, pending: _Pending, result: Result) -> Outcome:
        """Return the outcome of a segmented case; write its files first if the worker could not."""
        if pending.read is None:
            return Outcome(pending.case, result)
        ct = replace(pending.read.volume, source=Path(pending.case.source))
        whole = replace(as_read(result, pending.case, pending.read), ct=ct)
        pending.read = None
        try:
            given: Result | Exception = write(whole, self._output, **self._order.work.options).without_arrays()
        except Exception as error:  # such as a full disk; the other cases are still written
            given = error
        return remembered_outcome(self._output, pending.case, given)


def _worker_error(error: Exception) -> str:
    """Return a one-line message for an error raised because a worker's environment does not match this one."""
    return f"{type(error).__name__}: {one_line(error, 200)}: install the same package and Dask on all machines."
