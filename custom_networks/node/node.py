"""The node as a whole: it receives images, detects complete studies, segments them, sends results and cleans up."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from custom_networks.node.guard import Limits
from custom_networks.node.health import HealthServer
from custom_networks.node.log import record
from custom_networks.node.receiver import Receiver
from custom_networks.node.segmenting import Segment, Segmenter
from custom_networks.node.sending import Sender
from custom_networks.node.settings import Settings
from custom_networks.node.spool import Spool

TICK = 0.5  # seconds between checks for new work
WITHOUT_ROOM = 30.0  # seconds before a retry after a full disk or another failure
TO_FINISH = 60.0  # seconds to wait for each thread when the node is stopped
DAY = 24 * 60 * 60.0


class Node:
    """A DICOM node that runs from `start` to `stop`.

    Args:
        settings: settings of the node.
        segment: function that takes a folder and a case, segments the case, and writes its results to a case folder in
            that folder.

    Raises:
        UsageError: the spool or a certificate cannot be used.
    """

    def __init__(self, settings: Settings, segment: Segment) -> None:
        self._settings, self._stopping = settings, threading.Event()
        self.spool = Spool(settings.spool)
        certificates = settings.certificates
        serving = certificates.context(serving=True) if certificates else None
        sending = certificates.context(serving=False) if certificates and settings.send_tls else None
        self._receiver = Receiver(
            self.spool, settings.aet, settings.allowed, tls=serving, limits=Limits(quota_bytes=settings.quota_bytes)
        )
        names = [str(to) for to in settings.destinations]
        self._segmenter = Segmenter(self.spool, settings.output, segment, rules=settings.rules, destinations=names)
        self._senders = [
            Sender(self.spool, settings.output, settings.aet, to, sending, settings.first_pause)
            for to in settings.destinations
        ]
        self._health: HealthServer | None = None
        self._threads: list[threading.Thread] = []

    @property
    def port(self) -> int:
        """The port on which the node receives images, once it has started."""
        return self._receiver.port

    @property
    def http_port(self) -> int | None:
        """The port of `/healthz`, or None if it is turned off or the node has not started."""
        return self._health.port if self._health else None

    def start(self) -> None:
        """Start all threads, resuming work left by an earlier run; raises UsageError if a port cannot be used."""
        settings = self._settings
        self._receiver.start(settings.host, settings.port)
        if settings.http_port is not None:
            self._health = HealthServer(settings.http_port, self.state)
        work: dict[str, Callable[[], float]] = {"segment": self._segment}
        work |= {f"send to {sender}": self._sending(sender) for sender in self._senders}
        for name, step in work.items():
            self._threads.append(threading.Thread(target=self._repeat, args=(name, step), name=name, daemon=True))
            self._threads[-1].start()
        facts: dict[str, Any] = {"host": settings.host, "port": self.port, "tls": settings.certificates is not None}
        record("listening", aet=settings.aet, **facts, send_to=[str(to) for to in settings.destinations])

    def run(self) -> None:
        """Queue complete studies for segmentation and clean up until `stop` is called or the process is interrupted."""
        self._repeat("clean-up", self._clean_up)

    def stop(self) -> None:
        """Stop receiving, give the current study time to finish, and leave the rest for the next start."""
        self._stopping.set()
        self._receiver.stop()
        if self._health:
            self._health.close()
        for thread in self._threads:
            thread.join(TO_FINISH)
        self.spool.close()
        record("stopped", **self.spool.counts())

    def state(self) -> tuple[bool, Mapping[str, object]]:
        """Return whether all threads are running and the node is not being stopped, and the counts for `/healthz`."""
        is_healthy = all(thread.is_alive() for thread in self._threads) and not self._stopping.is_set()
        return is_healthy, {**self.spool.counts(), **self._receiver.counts(), "spool_bytes": self.spool.size}

    def _repeat(self, name: str, step: Callable[[], float]) -> None:
        """Repeat a step until the node stops, pausing each time for the number of seconds it returns; log failures."""
        while not self._stopping.is_set():
            try:
                pause = step()
            except Exception as error:  # one bad study or a full disk must not stop the node
                record("failed", level=logging.ERROR, part=name, error=type(error).__name__)
                logging.getLogger(__name__).debug("%s", name, exc_info=True)
                pause = WITHOUT_ROOM
            self._stopping.wait(pause)

    def _clean_up(self) -> float:
        """Queue complete studies, remove old images and disconnect idle peers; return the seconds to pause."""
        now, settings = time.time(), self._settings
        for key, version in self.spool.close_quiet(settings.quiet_seconds, now):
            record("complete", study=key, version=version.number, images=len(version.images))
        for key in self.spool.drop(now - settings.keep_days * DAY, settings.quota_bytes):
            record("images removed", study=key)
        self._receiver.clean_up()
        return min(TICK, settings.quiet_seconds / 4)

    def _segment(self) -> float:
        if self._segmenter.segment_next():
            return 0.0
        return WITHOUT_ROOM if self.spool.next_waiting() else TICK

    def _sending(self, sender: Sender) -> Callable[[], float]:
        def step() -> float:
            sender.send_due()
            return TICK

        return step
