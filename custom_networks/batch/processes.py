"""Several processes on one machine, each with a network and a case of its own."""

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
    """Segments cases in freshly started processes, because a network does not survive a fork.

    A process that dies (the system ends one when memory is short) costs the case that it was working on, and another
    takes its place.

    Args:
        work: what was asked for.
        number: of processes; fewer are started where there are fewer cases, or memory has no room for all.

    Attributes:
        options: what the manifest of each result will state.

    Raises:
        LiversegError: nothing can be written into the folder, or a process cannot segment, and why.
    """

    def __init__(self, work: Work, number: int) -> None:
        self._output = ready_folder(work.output)
        self._work, self._number = work.without_bars(), number
        self._summary = KeptSummary(self._output, work.options)
        self.sum_up = self._summary.write
        self._workers = [_Worker(self._work)]
        try:
            self.options = self._workers[0].first_word()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the processes; what one of them is working on is given up, and leaves nothing behind."""
        for worker in self._workers:
            worker.stop()
        for worker in self._workers:
            worker.wait()

    def outcomes(self, cases: Sequence[Case], begin: Begin = ignored) -> Iterator[Outcome]:
        """What became of each case, as soon as it is known; results have no arrays."""
        number = self._fitting(cases)
        self._workers += [_Worker(self._work) for _ in range(number - len(self._workers))]
        waiting, idle, busy = deque(cases), list(self._workers), dict[Any, _Worker]()
        while waiting or busy:
            while waiting and idle:
                worker, case = idle.pop(0), waiting.popleft()
                begin(case)
                worker.give(case, number)
                busy[worker.connection] = worker
            for ready in wait(list(busy)):
                worker = busy.pop(ready)
                case, given = worker.case, worker.outcome()
                idle.append(worker if worker.is_alive() else self._replaced(worker))
                yield given if isinstance(given, Outcome) else remembered_outcome(self._output, case, given)
                self._summary.keep()

    def _fitting(self, cases: Sequence[Case]) -> int:
        """How many processes there are for these cases."""
        wanted = max(1, min(self._number, len(cases)))
        number = fitting_processes(wanted, cases, available_memory())
        if number < wanted:
            logger.warning("--jobs %d is cut to %d: memory has no room for more.", self._number, number)
        return number

    def _replaced(self, dead: "_Worker") -> "_Worker":
        """A new worker in the place of one that died."""
        worker = _Worker(self._work)
        self._workers[self._workers.index(dead)] = worker
        return worker


class _Worker:
    """One process, as the one that started it sees it."""

    case: Case

    def __init__(self, work: Work) -> None:
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, work), daemon=True)
        with _deaf_to_interrupts():
            self._process.start()
        theirs.close()  # so that we notice when the process ends
        self._has_spoken = False

    def first_word(self) -> dict[str, Any]:
        """The options that results will state; raises the LiversegError for which the process cannot segment."""
        try:
            word = self.connection.recv()
        except EOFError:
            raise UsageError(
                f"The process that was to segment {self._end()} at once: often memory is short, so try fewer --jobs."
            ) from None
        if isinstance(word, Exception):
            raise word
        self._has_spoken = True
        options: dict[str, Any] = word
        return options

    def give(self, case: Case, sharers: int) -> None:
        """Hand a case over, and say how many processes share the cores."""
        self.case = case
        with suppress(OSError):  # it has died, which `outcome` will notice
            self.connection.send((case, sharers))

    def outcome(self) -> Outcome | LiversegError:
        """What became of the case; or why the process is gone."""
        try:
            if not self._has_spoken:
                self.first_word()
            outcome: Outcome = self.connection.recv()
            return replace(outcome, case=self.case)
        except LiversegError as error:
            return error
        except (EOFError, OSError):
            return InputError(
                f"{self.case.source}: the process that segmented it {self._end()}: often memory is short, so try it "
                "again with fewer --jobs."
            )

    def is_alive(self) -> bool:
        """Whether it takes another case."""
        return self._has_spoken and self._process.is_alive()

    def stop(self) -> None:
        """Tell the process to end at once."""
        self.connection.close()
        if self._process.is_alive():
            self._process.terminate()

    def wait(self) -> None:
        """Wait until it has ended, and kill it where it does not."""
        self._process.join(SECONDS_TO_LEAVE)
        if self._process.is_alive():
            self._process.kill()

    def _end(self) -> str:
        """How the process ended, in words."""
        self._process.join(SECONDS_TO_LEAVE)
        code = self._process.exitcode
        return f"was ended by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach: a terminal sends it to all, and the first one decides."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _serve(connection: Connection, work: Work) -> None:
    """Segment one case after another, until no more are sent."""
    with suppress(EOFError, OSError, KeyboardInterrupt):  # the parent is gone, or ends this process
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what is staged is removed
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
    """What became of a case, in a form that can be sent."""
    try:
        result = segment_into(work.output, case, pipeline, probability=work.probability, **work.options)
        return Outcome(case, result.without_arrays())
    except Exception as error:  # whatever is wrong with this one, others follow
        logger.debug("%s", case.source, exc_info=True)
        return Outcome(case, None, failure(case, error))
