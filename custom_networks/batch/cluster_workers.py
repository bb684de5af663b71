"""Client side of a Dask cluster: which workers it has, and calls to functions on them."""

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
WORKERS_WITHIN = 300.0  # seconds to wait for a worker if there is none
TICK = 2.0  # seconds between checks for new and lost workers


class Workers:
    """The workers of one scheduler, identified by address; a restarted worker has a new address.

    Every method that contacts the scheduler raises ClusterLost if the connection is lost.

    Args:
        address: address of the scheduler, such as tcp://host:8786.

    Raises:
        UsageError: Dask is not installed, or no scheduler answers.
    """

    def __init__(self, address: str) -> None:
        self._address, self._client = address, _connected(address)
        self._unfit = dict[str, str]()  # reason by address

    def close(self) -> None:
        """Disconnect from the cluster; tasks that have not started are cancelled."""
        self._client.close(timeout=CONNECTED_WITHIN)

    def submit(self, worker: str, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Submit a function call to a worker and return its future."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Dask warns about large arguments, but volumes have to be sent
            call = packed_call(function, *arguments)
            with self._lost_if_closed():
                return self._client.submit(unpacked_call, call, pure=False, workers=worker)

    def run_on_all(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """Call a quick function on every worker, even a busy one, and return the results of the calls that succeed."""
        with self._lost_if_closed():
            return list(self._client.run(function, *arguments, on_error="ignore").values())

    def ready(self) -> set[str]:
        """Return the addresses of workers that are connected, not paused by Dask, and not dismissed."""
        return {worker for worker, status in self._statuses().items() if status == "running"} - {*self._unfit}

    def wait_until_ready(self) -> set[str]:
        """Return the result of `ready` once it is not empty; raises ClusterLost after `WORKERS_WITHIN` seconds."""
        deadline, warned = time.monotonic() + WORKERS_WITHIN, False
        while not (ready := self.ready()):
            why = f"The scheduler at {self._address} has {self._why_none()}"
            if time.monotonic() > deadline:
                raise ClusterLost(f"{why}: start one with `dask worker {self._address}`.")
            if not warned:
                logger.warning("%s: waiting for one.", why)
            warned = True
            time.sleep(TICK)
        return ready

    def dismiss(self, worker: str, reason: str) -> None:
        """Stop using a worker for the rest of the run, and log why."""
        logger.warning("The worker at %s gets no more cases: %s", worker, reason)
        self._unfit[worker] = reason

    def wait_for_ended(self, given: Mapping[Future[Any], str]) -> list[Future[Any]]:
        """Wait at most `TICK` seconds for a future to finish, and return those that are done or lost their worker.

        Args:
            given: the futures, each with the address of its worker.
        """
        from distributed import CancelledError, wait

        try:
            if given and self._client.status == "running":
                wait(list(given), timeout=TICK, return_when="FIRST_COMPLETED")
        except asyncio.TimeoutError:
            logger.debug("all workers are still busy")
        except CancelledError:
            raise self._lost() from None
        connected = self._statuses()
        if any(future.status in ("cancelled", "lost") for future in given):
            raise self._lost()
        return [future for future, worker in given.items() if future.done() or worker not in connected]

    def result(self, future: Future[Any], worker: str) -> Any:
        """Return the result of a call on a worker, or raise its exception; None if the worker is gone."""
        from distributed import CancelledError, KilledWorker

        seconds = TICK
        while True:
            try:
                return future.result(seconds)
            except asyncio.TimeoutError:  # the result is large, or was lost with its worker
                if worker not in self._statuses():
                    return None
                seconds *= 2
            except KilledWorker:
                return None
            except CancelledError:
                raise self._lost() from None

    def _statuses(self) -> dict[str, str]:
        """Return Dask's status of each connected worker, by address."""
        try:
            known = self._client.scheduler_info(n_workers=-1)["workers"] if self._client.status == "running" else None
        except OSError:  # the connection broke during the request
            known = None
        if known is None:
            raise self._lost()
        return {worker: info["status"] for worker, info in known.items()}

    def _why_none(self) -> str:
        """Return why no worker is ready, as the end of a sentence that begins with "The scheduler has"."""
        statuses = self._statuses()
        if "paused" in statuses.values():
            return "only workers that Dask has paused because their memory is nearly full (--memory-limit)"
        if unfit := [f"{worker}: {reason.rstrip('.')}" for worker, reason in self._unfit.items() if worker in statuses]:
            return f"only workers that cannot segment ({unfit[0]})"
        return "no workers"

    @contextmanager
    def _lost_if_closed(self) -> Iterator[None]:
        """Convert the error of a closed Dask client into ClusterLost."""
        from distributed.client import ClosedClientError

        try:
            yield
        except ClosedClientError:
            raise self._lost() from None

    def _lost(self) -> ClusterLost:
        """The error for a lost connection."""
        return ClusterLost(
            f"The connection to the Dask scheduler at {self._address} is lost: the cases reported above were written; "
            "run the same command again for the rest."
        )


def _connected(address: str) -> Client:
    """Connect to a scheduler; UsageError if Dask is not installed or no scheduler answers."""
    try:
        from distributed import Client
    except ImportError as error:
        raise UsageError(f"--cluster needs Dask ({error}): in a checkout, run pip install '.[cluster]'.") from None
    try:
        return Client(address, timeout=CONNECTED_WITHIN)  # as the default client, which `wait` needs
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(
            f"No Dask scheduler answers at {address} ({one_line(error, 200)}): start one with `dask scheduler`, or "
            "check the address, tcp://HOST:8786."
        ) from error
