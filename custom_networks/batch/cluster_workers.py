"""The workers of a Dask cluster, as seen by the code that gives them work."""

from __future__ import annotations

import asyncio
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from custom_networks.batch.cluster_call import packed_call, unpacked_call
from custom_networks.errors import ClusterLost, UsageError, one_line

if TYPE_CHECKING:
    from distributed import Client, Future

logger = logging.getLogger(__name__)

CONNECTED_WITHIN = 10.0  # seconds
WORKERS_WITHIN = 300.0  # seconds until the first worker is there, or another one where none is left
TICK = 2.0  # seconds after which new and lost workers are looked for


class Workers:
    """The workers of one scheduler, by their addresses. A worker that starts anew has a new one.

    All methods that ask the scheduler raise ClusterLost where it is gone.

    Args:
        address: of the scheduler, such as tcp://host:8786.

    Raises:
        UsageError: Dask is not installed, or no scheduler answers.
    """

    def __init__(self, address: str) -> None:
        self._address, self._client = address, _connected(address)
        self._unfit = dict[str, str]()  # with the reasons

    def close(self) -> None:
        """Leave the cluster; work that no worker has begun is given up."""
        self._client.close(timeout=CONNECTED_WITHIN)

    def submitted(self, worker: str, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Have a worker call a function."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Dask warns of large arguments, which here are the work itself
            call = packed_call(function, *arguments)
            with self._lost_if_closed():
                return self._client.submit(unpacked_call, call, pure=False, workers=worker)

    def asked(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """What a quick function returns on each worker, even a busy one; workers on which it fails are left out."""
        with self._lost_if_closed():
            return list(self._client.run(function, *arguments, on_error="ignore").values())

    def ready(self) -> set[str]:
        """Those that take work: connected, able to do it, and not paused by Dask."""
        return {worker for worker, status in self._statuses().items() if status == "running"} - {*self._unfit}

    def waited_for(self) -> set[str]:
        """As `ready`; where there is none, one is waited for, some minutes at most."""
        deadline, warned = time.monotonic() + WORKERS_WITHIN, False
        while not (ready := self.ready()):
            why = f"The scheduler at {self._address} has {self._why_none()}"
            if time.monotonic() > deadline:
                raise ClusterLost(f"{why}: start some, dask worker {self._address}.")
            if not warned:
                logger.warning("%s: waiting for one.", why)
            warned = True
            time.sleep(TICK)
        return ready

    def dismiss(self, worker: str, reason: str) -> None:
        """Give a worker nothing more to do."""
        logger.warning("The worker at %s gets no more cases: %s", worker, reason)
        self._unfit[worker] = reason

    def ended(self, given: Mapping[Future[Any], str]) -> list[Future[Any]]:
        """The futures that are done or whose worker is gone; waits a few seconds at most."""
        from distributed import CancelledError, wait

        try:
            if given and self._client.status == "running":
                wait(list(given), timeout=TICK, return_when="FIRST_COMPLETED")
        except asyncio.TimeoutError:
            logger.debug("all workers are still at work")
        except CancelledError:
            raise self._lost() from None
        connected = self._statuses()
        if any(future.status in ("cancelled", "lost") for future in given):
            raise self._lost()
        return [future for future, worker in given.items() if future.done() or worker not in connected]

    def result(self, future: Future[Any], worker: str) -> Any:
        """What a function gave that a worker was to call, or raises what it raised; None where the worker is gone."""
        from distributed import CancelledError, KilledWorker

        seconds = TICK
        while True:
            try:
                return future.result(seconds)
            except asyncio.TimeoutError:  # a large result, or one that was lost with its worker and never comes
                if worker not in self._statuses():
                    return None
                seconds *= 2
            except KilledWorker:
                return None
            except CancelledError:
                raise self._lost() from None

    def _statuses(self) -> dict[str, str]:
        """What Dask says of each worker that is connected."""
        try:
            known = self._client.scheduler_info(n_workers=-1)["workers"] if self._client.status == "running" else None
        except OSError:  # the connection breaks just now
            known = None
        if known is None:
            raise self._lost()
        return {worker: its["status"] for worker, its in known.items()}

    def _why_none(self) -> str:
        """Why no worker takes work, in words that follow "has"."""
        statuses = self._statuses()
        if "paused" in statuses.values():
            return "only workers that Dask has paused, for their memory is nearly full (--memory-limit)"
        if unfit := [reason for worker, reason in self._unfit.items() if worker in statuses]:
            return f"only workers that cannot segment ({unfit[0]})"
        return "no workers"

    @contextmanager
    def _lost_if_closed(self) -> Iterator[None]:
        """Turn the error of a client whose scheduler is gone into a ClusterLost."""
        from distributed.client import ClosedClientError

        try:
            yield
        except ClosedClientError:
            raise self._lost() from None

    def _lost(self) -> ClusterLost:
        return ClusterLost(
            f"The Dask scheduler at {self._address} is gone: what was reported is written, and the same command goes "
            "on with the rest."
        )


def _connected(address: str) -> Client:
    try:
        from distributed import Client
    except ImportError as error:
        raise UsageError(f"--cluster needs Dask ({error}): in a checkout, run pip install '.[cluster]'.") from None
    try:
        return Client(address, timeout=CONNECTED_WITHIN)  # `wait` looks for a default one
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(
            f"No Dask scheduler answers at {address} ({one_line(error, 200)}): start one by `dask scheduler`, or check "
            "the address, tcp://HOST:8786."
        ) from error
