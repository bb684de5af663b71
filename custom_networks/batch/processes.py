"""Segment cases in several processes on one machine, each with its own network."""

import logging
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any

from custom_networks.batch.memory import available_memory, fitting_processes
from custom_networks.batch.run import (
    Begin,
    KeptSummary,
    Outcome,
    failure,
    ignored,
    ready_folder,
    remembered_outcome,
    segment_into,
)
from custom_networks.batch.work import Work
from custom_networks.errors import InputError, LiversegError, UsageError, reason_of
from custom_networks.io import Case
from custom_networks.streams import Notices

logger = logging.getLogger(__name__)

SECONDS_TO_LEAVE = 20.0


class Processes:
    """Segments cases in spawned processes, since a loaded network does not survive a fork.

    If a process dies, for example because the system killed it for lack of memory, only its current case fails; the
    process is replaced.

    Args:
        work: settings of the run.
        number: maximum number of processes; fewer are started if there are fewer cases or memory is short.

    Attributes:
        options: options recorded in the manifest of each result.

    Raises:
        LiversegError: the output folder is not writable, or a process cannot segment.
    """

    def __init__(self, work: Work, number: int) -> None:
        self._output = ready_folder(work.output)
        self._work, self._number = work.without_bars(), number
        self._summary = KeptSummary(self._output, work.options)
        self.sum_up = self._summary.write
        self._workers = [_Worker(self._work)]
        try:
            self.options = self._workers[0].wait_until_ready()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop all processes; cases in progress are abandoned and their staged files removed."""
        for worker in self._workers:
            worker.stop()
        for worker in self._workers:
            worker.wait()

    def outcomes(self, cases: Sequence[Case], begin: Begin = ignored) -> Iterator[Outcome]:
        """Yield the outcome of each case as soon as it is known; results are without arrays.

        `begin` is called with each case when a process is about to get it.
        """
        number = self._number_for(cases)
        self._workers += [_Worker(self._work) for _ in range(number - len(self._workers))]
        waiting, idle, busy = deque(cases), list(self._workers), dict[Any, _Worker]()
        while waiting or busy:
            while waiting and idle:
                worker, case = idle.pop(0), waiting.popleft()
                begin(case)
                worker.assign(case, number)
                busy[worker.connection] = worker
            for ready in wait(list(busy)):
                worker = busy.pop(ready)
                case, given = worker.case, worker.outcome()
                idle.append(worker if worker.is_alive() else self._replace(worker))
                yield given if isinstance(given, Outcome) else remembered_outcome(self._output, case, given)
                self._summary.keep()

    def _number_for(self, cases: Sequence[Case]) -> int:
        """Number of processes to use for these cases; logs a warning if memory limits it."""
        wanted = max(1, min(self._number, len(cases)))
        number = fitting_processes(wanted, cases, available_memory())
        if number < wanted:
            logger.warning("--jobs %d is reduced to %d: there is not enough memory for more.", self._number, number)
        return number

    def _replace(self, dead: "_Worker") -> "_Worker":
        """Start a new worker in place of a dead one, and return it."""
        worker = _Worker(self._work)
        self._workers[self._workers.index(dead)] = worker
        return worker


class _Worker:
    """Parent-side handle of one worker process."""

    case: Case

    def __init__(self, work: Work) -> None:
        context = get_context("spawn")
        self.connection, child_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(child_end, work), daemon=True)
        with _interrupts_ignored():
            self._process.start()
        child_end.close()  # so that reading raises EOFError once the process ends
        self._is_ready = False

    def wait_until_ready(self) -> dict[str, Any]:
        """Wait until the process has loaded the network; return the options recorded in the manifest of each result.

        Raises:
            LiversegError: the process cannot segment, or has died.
        """
        try:
            answer = self.connection.recv()
        except EOFError:
            raise UsageError(
                f"A segmentation process {self._how_it_ended()} while starting, often because memory is short: try "
                "fewer --jobs."
            ) from None
        if isinstance(answer, Exception):
            raise answer
        self._is_ready = True
        options: dict[str, Any] = answer
        return options

    def assign(self, case: Case, sharers: int) -> None:
        """Send a case to the process, and the number of processes that share the cores."""
        self.case = case
        with suppress(OSError):  # the process has died; `outcome` reports it
            self.connection.send((case, sharers))

    def outcome(self) -> Outcome | LiversegError:
        """Wait for the outcome of the current case and return it, or an error if the process cannot segment or died."""
        try:
            if not self._is_ready:
                self.wait_until_ready()
            outcome: Outcome = self.connection.recv()
            return replace(outcome, case=self.case)
        except LiversegError as error:
            return error
        except (EOFError, OSError):
            return InputError(
                f"{self.case.source}: the process that segmented it {self._how_it_ended()}, often because memory is "
                "short: try again with fewer --jobs."
            )

    def is_alive(self) -> bool:
        """Whether the process can take another case."""
        return self._is_ready and self._process.is_alive()

    def stop(self) -> None:
        """Ask the process to terminate."""
        self.connection.close()
        if self._process.is_alive():
            self._process.terminate()

    def wait(self) -> None:
        """Wait for the process to end; kill it if it does not end in time."""
        self._process.join(SECONDS_TO_LEAVE)
        if self._process.is_alive():
            self._process.kill()

    def _how_it_ended(self) -> str:
        """Return how the process ended, such as "ended with exit code 1" or "was killed by signal 9"."""
        self._process.join(SECONDS_TO_LEAVE)
        code = self._process.exitcode
        return f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Make processes started in this block ignore Ctrl-C, which a terminal sends to the whole process group.

    Only the parent reacts to it, and stops the others. Outside the main thread, this has no effect.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _serve(connection: Connection, work: Work) -> None:
    """Main loop of a worker process: segment the cases it is sent until the connection closes."""
    with suppress(EOFError, OSError, KeyboardInterrupt):  # the parent has ended, or terminates this process
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # an exception, so that staged files are removed
        logging.basicConfig(level=logging.WARNING, handlers=[Notices()], force=True)
        logging.captureWarnings(True)
        if work.debug:
            logging.getLogger("custom_networks").setLevel(logging.DEBUG)
        try:
            pipeline = work.pipeline()
        except Exception as error:
            connection.send(error if isinstance(error, LiversegError) else UsageError(reason_of(error)))
            return
        connection.send(work.promised(pipeline))
        while True:
            case, sharers = connection.recv()
            work.share(sharers)
            connection.send(_outcome(case, work, pipeline))


def _outcome(case: Case, work: Work, pipeline: Any) -> Outcome:
    """Segment a case and return its outcome in a form that can be pickled."""
    try:
        result = segment_into(work.output, case, pipeline, probability=work.probability, **work.options)
        return Outcome(case, result.without_arrays())
    except Exception as error:  # one bad case must not stop the others
        logger.debug("%s", case.source, exc_info=True)
        return Outcome(case, None, failure(case, error))
