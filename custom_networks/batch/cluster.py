"""The cases of a batch on the workers of a Dask cluster (extra `cluster`)."""

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
from custom_networks.batch.memory import HELD, USABLE, available_memory
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
class _Try:
    """A case for a worker: the workers that it was given to, why they failed, and its volume where that is sent."""

    case: Case
    workers: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    read: ReadCase | None = None


_Running = dict["Future[Any]", _Try]


class Cluster:
    """Segments cases on the workers of a cluster, one at a time on each.

    Where all workers see the output folder, they read and write by themselves. Where one does not, cases are read and
    written here, and volumes travel. How the network is run (runtime, number format) is what the first worker does by
    itself; the others are asked for the same. Each case is given to a worker by name: one that cannot segment gets no
    more of them, and a case that failed goes to another one.

    Args:
        work: what was asked for; its paths must be the same on the workers.
        address: of the scheduler, such as tcp://host:8786.

    Attributes:
        options: what the manifest of each result will state.

    Raises:
        UsageError: nothing can be written into the folder, there is no scheduler, or the first worker cannot segment.
        BundleError: the first worker lacks the weights.
        ClusterLost: no worker came.
    """

    def __init__(self, work: Work, address: str) -> None:
        self._output, self._address = ready_folder(work.output).resolve(), address
        self._summary = KeptSummary(self._output, work.options)
        self.sum_up = self._summary.write
        self._held = ExitStack()
        self._workers = Workers(address)
        self._held.callback(self._workers.close)
        try:
            self._order = self._ordered(replace(work.without_bars(), output=self._output).absolute())
        except BaseException:
            self._held.close()
            raise
        self.options = self._order.options

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._held.close()

    def outcomes(self, cases: Sequence[Case], begin: Begin = ignored) -> Iterator[Outcome]:
        """What became of each case, as soon as it is known; results have no arrays.

        Raises:
            ClusterLost: the scheduler is gone, or no worker is left that can segment.
        """
        waiting, running = deque(_Try(case) for case in cases), _Running()
        while waiting or running:
            yield from self._handed_out(waiting, running, begin)
            for future in self._workers.ended({future: its.workers[-1] for future, its in running.items()}):
                attempt = running.pop(future)
                if (outcome := self._outcome(attempt, future)) is None:
                    waiting.append(attempt)
                else:
                    yield outcome
                    self._summary.keep()

    def _ordered(self, work: Work) -> Order:
        """The order for all: the first worker's runtime and precision, and to write if all see the output folder."""
        from custom_networks.batch.cluster_worker import Order, sees

        run = os.urandom(8).hex()
        options = self._first_words(work, run)
        how = {name: options[name] for name in ("runtime", "precision")}
        probe = self._held.enter_context(staging_folder(self._output, "cluster")) / "probe"
        write_text(probe, run)
        seen = self._workers.asked(sees, probe, run)
        if blind := seen.count(False):
            logger.warning(
                "%d of %d workers do not see %s: volumes are sent to all of them, and results are sent back.",
                *(blind, len(seen), self._output),
            )
        asked = replace(work, settings={**work.settings, **how})
        return Order(run, asked, __version__, options, None if blind else probe)

    def _first_words(self, work: Work, run: str) -> dict[str, Any]:
        """The options that the results of the first worker would state; of the next one where the first dies of it."""
        from custom_networks.batch.cluster_worker import ability

        for _ in range(TRIES):
            worker = min(self._workers.waited_for())
            try:
                able = self._workers.result(self._workers.submitted(worker, ability, work, run), worker)
            except ClusterLost:
                raise
            except Exception as error:
                able = UsageError(_foreign(error))
            if isinstance(able, LiversegError):
                raise type(able)(f"The worker at {worker} cannot segment: {able}")
            if able is not None:
                break
        else:
            raise UsageError(f"The workers at {self._address} end before the first case: see their logs.")
        version, options = able
        if version != __version__:
            raise UsageError(
                f"The worker at {worker} has version {version}, this is {__version__}: install the same one."
            )
        return dict(options)

    def _handed_out(self, waiting: deque[_Try], running: _Running, begin: Begin) -> Iterator[Outcome]:
        """Give each free worker a case; yields what became of cases that cannot be read here."""
        workers = self._workers.ready() if running else self._workers.waited_for()
        for worker in sorted(workers - {its.workers[-1] for its in running.values()}):
            attempt = next((its for its in waiting if worker not in its.workers or workers <= {*its.workers}), None)
            if attempt is None or not self._has_memory(attempt, running):
                continue
            waiting.remove(attempt)
            begin(attempt.case)
            if refused := self._read(attempt):
                yield refused
            else:
                attempt.workers.append(worker)
                running[self._sent(attempt, worker)] = attempt
        if waiting and self._has_memory(waiting[0], running) and (refused := self._read(waiting[0])):  # ahead
            waiting.popleft()
            yield refused

    def _sent(self, attempt: _Try, worker: str) -> Future[Any]:
        from custom_networks.batch.cluster_worker import segment_there

        return self._workers.submitted(worker, segment_there, self._order, attempt.read or attempt.case)

    def _read(self, attempt: _Try) -> Outcome | None:
        """Read a case here where the workers do not see it; its outcome where it cannot be read."""
        if self._order.probe or attempt.read is not None:
            return None
        try:
            attempt.read = read_now(attempt.case)
            return None
        except Exception as error:  # the others are still to be done, whatever is wrong with this one
            return remembered_outcome(self._output, attempt.case, error)

    def _has_memory(self, attempt: _Try, running: _Running) -> bool:
        """Whether one more volume fits into this machine's memory, if volumes are read here; the first always may."""
        if self._order.probe or not running:
            return True
        # What others hold is taken already; where the memory is not known, one case is sent at a time.
        return HELD * attempt.case.voxels <= USABLE * (available_memory() or 0)

    def _outcome(self, attempt: _Try, future: Future[Any]) -> Outcome | None:
        """What became of a case; None where it is to be tried again."""
        worker = attempt.workers[-1]
        try:
            answer = self._workers.result(future, worker)
        except ClusterLost:
            raise
        except Exception as error:  # what is called there raises nothing: the worker could not even call it
            self._workers.dismiss(worker, _foreign(error))
            return self._again(attempt, _foreign(error))
        if answer is None:
            return self._again(attempt, f"The worker at {worker} is gone (often memory is short; its log may say why).")
        if answer.unfit:
            self._workers.dismiss(worker, answer.message)
            return None
        if answer.refused:
            return remembered_outcome(self._output, attempt.case, InputError(answer.message))
        if answer.result is None:
            return self._again(attempt, answer.message)
        return self._written(attempt, answer.result)

    def _again(self, attempt: _Try, reason: str) -> Outcome | None:
        """Try a case once more, or give it up with all reasons."""
        attempt.reasons.append(reason)
        if len(attempt.reasons) < TRIES:
            logger.warning("%s is tried again: %s", attempt.case.source, reason)
            return None
        reasons = " ".join(dict.fromkeys(attempt.reasons))
        error = InputError(f"{attempt.case.source} was tried {TRIES} times. {reasons}")
        return remembered_outcome(self._output, attempt.case, error)

    def _written(self, attempt: _Try, result: Result) -> Outcome:
        """The outcome of a case that a worker has answered, written here where it could not do so."""
        if attempt.read is None:
            return Outcome(attempt.case, result)
        ct = replace(attempt.read.volume, source=Path(attempt.case.source))
        whole = replace(as_read(result, attempt.case, attempt.read), ct=ct)
        attempt.read = None
        try:
            given: Result | Exception = write(whole, self._output, **self._order.work.options).without_arrays()
        except Exception as error:  # the disk is full; other cases follow
            given = error
        return remembered_outcome(self._output, attempt.case, given)


def _foreign(error: Exception) -> str:
    """One line for an error that shows that a worker's environment cannot run the task it was sent."""
    return f"{type(error).__name__}: {one_line(error, 200)}: install the same version of this package, and of Dask."
