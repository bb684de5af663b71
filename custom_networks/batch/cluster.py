"""The cases of a batch on the workers of a Dask cluster (extra `cluster`)."""

from __future__ import annotations

import asyncio
import logging
import os
import warnings
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from custom_networks import __version__
from custom_networks.batch.cluster_call import made, packed_call
from custom_networks.batch.memory import HELD, SPARED, available_memory
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
    from distributed import Client, Future

    from custom_networks.result import Result

logger = logging.getLogger(__name__)

CONNECTED_WITHIN = 10.0  # seconds
WORKERS_WITHIN = 300.0  # seconds until the first worker is there, or another one where none is left
TICK = 2.0  # seconds after which new and lost workers are looked for
TRIES = 3


@dataclass
class _Try:
    """A case for a worker, why earlier tries failed, and its volume where that must be sent."""

    case: Case
    reasons: list[str] = field(default_factory=list)
    read: ReadCase | None = None


class Cluster:
    """Segments cases on the workers of a cluster, one at a time on each.

    Where all workers see the output folder, they read and write by themselves. Where one does not, cases are read and
    written here, and volumes travel. How the network is run (runtime, number format) is what the first worker does by
    itself; the others are asked for the same.

    Args:
        work: what was asked for; its paths must be those of the workers, too.
        address: of the scheduler, such as tcp://host:8786.

    Attributes:
        options: what the manifest of each result will state.

    Raises:
        UsageError: nothing can be written into the folder, there is no scheduler or worker, or they are of another
            version.
        BundleError: a worker lacks the weights.
    """

    def __init__(self, work: Work, address: str) -> None:
        self._output, self._address = ready_folder(work.output).resolve(), address
        self._run, self._unfit = os.urandom(8).hex(), dict[str, str]()
        self._work = replace(work.without_bars(), output=self._output).absolute()
        self._summary = KeptSummary(self._output, work.options)
        self.sum_up = self._summary.write
        self._held = ExitStack()
        self._client = _connected(address)
        try:
            self.options = self._first_words()
            self._probe = self._held.enter_context(staging_folder(self._output, "cluster")) / "probe"
            self._shared = self._storage_is_shared()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Leave the cluster; cases that no worker has begun are given up."""
        self._held.close()
        self._client.close(timeout=CONNECTED_WITHIN)

    def outcomes(self, cases: Sequence[Case], begin: Begin = ignored) -> Iterator[Outcome]:
        """What became of each case, as soon as it is known; results have no arrays.

        Raises:
            ClusterLost: the scheduler is gone, or no worker is left that can segment.
        """
        waiting, running = deque(_Try(case) for case in cases), dict[Any, _Try]()
        while waiting or running:
            self._check_workers()
            while waiting and self._has_room(waiting[0].case, running.values()):
                attempt = waiting.popleft()
                begin(attempt.case)
                if (refused := self._read(attempt)) is None:
                    running[self._sent(attempt)] = attempt
                else:
                    yield refused
            for future in self._ended(running):
                attempt = running.pop(future)
                if (outcome := self._outcome(attempt, future)) is None:
                    waiting.append(attempt)
                else:
                    yield outcome
                    self._summary.keep()

    def _first_words(self) -> dict[str, Any]:
        """What the first worker says of itself; the others are asked to run the network as it does."""
        from custom_networks.batch.cluster_worker import ability

        self._wait_for_workers()
        try:
            able = self._submitted(packed_call(ability, self._work, self._run)).result()
        except LiversegError as error:
            raise type(error)(f"The workers at {self._address} cannot segment: {error}") from error
        except Exception as error:  # whatever a foreign environment lacks
            raise UsageError(
                f"The workers at {self._address} cannot segment ({type(error).__name__}: {one_line(error, 200)}): "
                "install the same version of this package, and of Dask, on all machines."
            ) from error
        if able.version != __version__:
            raise UsageError(f"The workers have version {able.version}, this is {__version__}: install the same one.")
        how = {name: able.options[name] for name in ("runtime", "precision")}
        self._work = replace(self._work, settings={**self._work.settings, **how})
        return dict(able.options)

    def _storage_is_shared(self) -> bool:
        """Whether all workers see the output folder; one line where they do not."""
        from custom_networks.batch.cluster_worker import sees

        write_text(self._probe, self._run)
        seen = self._client.run(sees, self._probe, self._run)
        if blind := [worker for worker, sees_it in seen.items() if not sees_it]:
            logger.warning(
                "%d of %d workers do not see %s: volumes are sent to all of them, and results are sent back.",
                *(len(blind), len(seen), self._output),
            )
        return not blind

    def _read(self, attempt: _Try) -> Outcome | None:
        """Read a case here where the workers do not see it; its outcome where it cannot be read."""
        if self._shared or attempt.read is not None:
            return None
        try:
            attempt.read = read_now(attempt.case)
            return None
        except Exception as error:  # the others are still to be done, whatever is wrong with this one
            return remembered_outcome(self._output, attempt.case, error)

    def _sent(self, attempt: _Try) -> Future[Any]:
        """Hand a case to the cluster."""
        from custom_networks.batch.cluster_worker import answer_there, segment_there

        if self._shared:
            call = packed_call(segment_there, self._work, self._run, self._probe, attempt.case)
        else:
            call = packed_call(answer_there, self._work, self._run, attempt.read)
        return self._submitted(call, **({"workers": self._workers()} if self._unfit else {}))

    def _submitted(self, call: bytes, **where: Any) -> Future[Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Dask warns of large arguments, which here are the work itself
            return self._client.submit(made, call, pure=False, **where)

    def _has_room(self, case: Case, running: Collection[_Try]) -> bool:
        """Whether a worker is free for a case, and memory here where its volume must be read and kept."""
        if not running:
            return True
        if self._shared:
            return len(running) < len(self._workers())
        voxels = case.voxels + sum(attempt.case.voxels for attempt in running)
        available = available_memory() or 0
        return len(running) <= len(self._workers()) and HELD * voxels <= SPARED * available

    def _workers(self) -> list[str]:
        """Addresses of the workers that can segment."""
        try:
            connected = self._client.nthreads() if self._client.status == "running" else None
        except OSError:  # the connection breaks just now
            connected = None
        if connected is None:
            raise self._lost()
        return [worker for worker in connected if worker not in self._unfit]

    def _check_workers(self) -> None:
        """Wait for a worker where there is none."""
        if not self._workers():
            if self._unfit:
                raise ClusterLost(f"No worker is left that can segment: {next(iter(self._unfit.values()))}")
            self._wait_for_workers()

    def _wait_for_workers(self) -> None:
        """Wait until there is one, some minutes at most."""
        if not self._workers():
            logger.warning("The scheduler at %s has no workers: waiting for one.", self._address)
        try:
            self._client.wait_for_workers(1, timeout=WORKERS_WITHIN)
        except asyncio.TimeoutError:
            raise ClusterLost(
                f"The scheduler at {self._address} has no workers: start some, dask worker {self._address}."
            ) from None
        except OSError:
            raise self._lost() from None

    def _ended(self, running: Mapping[Future[Any], _Try]) -> list[Future[Any]]:
        """The tasks that have come to an end, after some seconds at most."""
        from distributed import CancelledError, wait

        try:
            if self._client.status == "running" and running:
                wait(list(running), timeout=TICK, return_when="FIRST_COMPLETED")
        except asyncio.TimeoutError:
            return []
        except CancelledError:
            raise self._lost() from None
        if self._client.status != "running" or any(future.status in ("cancelled", "lost") for future in running):
            raise self._lost()
        return [future for future in running if future.done()]

    def _lost(self) -> ClusterLost:
        return ClusterLost(
            f"The Dask scheduler at {self._address} is gone: what was reported is written, and the same command goes "
            "on with the rest."
        )

    def _outcome(self, attempt: _Try, future: Future[Any]) -> Outcome | None:
        """What became of a case; None where it is to be tried again."""
        from distributed import CancelledError, KilledWorker

        case = attempt.case
        try:
            answer = future.result()
        except KilledWorker as error:
            last = getattr(error.last_worker, "address", error.last_worker)
            reason = f"{case.source}: the {error.allowed_failures + 1} workers that tried it died, the last at {last}"
            return remembered_outcome(self._output, case, InputError(f"{reason}: often memory is short, see its log."))
        except CancelledError:
            raise self._lost() from None
        except Exception as error:  # of Dask: it could not be sent, or its data were lost
            return self._again(attempt, f"{type(error).__name__}: {one_line(error, 200)}")
        if answer.unfit:
            logger.warning("The worker at %s gets no more cases: %s", answer.worker, answer.message)
            self._unfit[answer.worker] = answer.message
            return None
        if answer.refused:
            return remembered_outcome(self._output, case, InputError(answer.message))
        if answer.result is None:
            return self._again(attempt, answer.message)
        return self._written(attempt, answer.result)

    def _again(self, attempt: _Try, reason: str) -> Outcome | None:
        """Try a case once more, or give it up with all reasons."""
        attempt.reasons.append(reason)
        if len(attempt.reasons) < TRIES:
            logger.warning("%s is tried again: %s", attempt.case.source, reason)
            return None
        reasons = "; ".join(dict.fromkeys(attempt.reasons))
        return remembered_outcome(self._output, attempt.case, InputError(f"{reasons} ({TRIES} tries)"))

    def _written(self, attempt: _Try, result: Result) -> Outcome:
        """The outcome of a case that a worker has answered, written here where it could not do so."""
        if attempt.read is None:
            return Outcome(attempt.case, result)
        ct = replace(attempt.read.volume, source=Path(attempt.case.source))
        whole = replace(as_read(result, attempt.case, attempt.read), ct=ct)
        attempt.read = None
        try:
            given: Result | Exception = write(whole, self._output, **self._work.options).without_arrays()
        except Exception as error:  # the disk is full; other cases follow
            given = error
        return remembered_outcome(self._output, attempt.case, given)


def _connected(address: str) -> Client:
    """A client of the scheduler at an address.

    Raises:
        UsageError: Dask is not installed, or no scheduler answers.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise UsageError(f"--cluster needs Dask ({error}): pip install 'liver-tumor-ct-25d[cluster]'.") from None
    try:
        return Client(address, timeout=CONNECTED_WITHIN)  # `wait` looks for a default one
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(
            f"No Dask scheduler answers at {address} ({one_line(error, 200)}): start one by `dask scheduler`, or check "
            "the address, tcp://HOST:8786."
        ) from error
