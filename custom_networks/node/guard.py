"""What a peer may do: who may connect, how much it may send, and how long it may stay silent."""

import logging
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from custom_networks.node.log import Tally
from custom_networks.node.peers import Caller, may_call

logger = logging.getLogger(__name__)

NOT_RECOGNISED = (0x01, 0x01, 0x03)  # PS3.8 table 9-21: permanent, by the user: calling AE title
PDU_HEAD = 1 << 14  # bytes beyond the agreed length, which holds for data; a request with many contexts is longer
IN_MEMORY = 1 << 22  # bytes of a message that pynetdicom does not stream to disk
CONNECTIONS = 4  # for each allowed association
UNANSWERED = 8  # messages from one peer
KEPT_PARTS = 600.0  # seconds that part of an image is kept after its connection broke


@dataclass(frozen=True)
class Limits:
    """How much a peer may ask for.

    Attributes:
        associations: at a time.
        pdu_bytes: longest PDU; announced to peers, and enforced with some room for its header.
        object_bytes: largest data set.
        silent_seconds: longest silence between two PDUs.
        quota_bytes: for all images in the spool.
        reserve_bytes: kept free on the spool's disk, for results.
    """

    associations: int = 16
    pdu_bytes: int = 1 << 17
    object_bytes: int = 1 << 30
    silent_seconds: float = 60.0
    quota_bytes: int = 100 * 10**9
    reserve_bytes: int = 1 << 29


class Guard:
    """Watches the connections of a pynetdicom server.

    Args:
        allowed: who may send.
        limits: how much a peer may ask for.
        tally: counts what was turned away.
    """

    def __init__(self, allowed: Sequence[Caller], limits: Limits, tally: Tally) -> None:
        self._allowed, self._limits, self._tally = allowed, limits, tally
        self._lock = threading.Lock()
        self._open: dict[Any, _Progress] = {}

    def handlers(self) -> list[tuple[Any, Any]]:
        """pynetdicom's events, and what to do on each."""
        from pynetdicom import events as evt

        return [
            (evt.EVT_CONN_OPEN, self._on_connection),
            (evt.EVT_REQUESTED, self._on_request),
            (evt.EVT_DATA_RECV, self._on_data),
            (evt.EVT_DIMSE_RECV, self._on_message),
            (evt.EVT_CONN_CLOSE, self._on_close),
        ]

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._open)

    def close_all(self) -> None:
        """Close all connections."""
        for association in list(self._open):
            _cut(association)

    def cut_off_idle(self, part: Path) -> None:
        """Close connections that have been silent for too long, within a PDU or between two, and remove what broken
        connections left in `part`."""
        silent, latest = self._limits.silent_seconds, time.monotonic() - self._limits.silent_seconds
        with self._lock:
            idle = [association for association, progress in self._open.items() if progress.heard < latest]
        for association in idle:
            self._cut_off(association, "silent")
            with self._lock:  # pynetdicom does not report the end of every connection
                self._open.pop(association, None)
        _remove_older(part, time.time() - max(10 * silent, KEPT_PARTS))

    def _on_connection(self, event: Any) -> None:
        """Check the address and limit the length of PDUs, before anything is read."""
        address, connection = str(event.address[0]), event.assoc.dul.socket
        with self._lock:
            is_one_too_many = len(self._open) >= CONNECTIONS * self._limits.associations
        if is_one_too_many or not any(peer.calls_from(address) for peer in self._allowed):
            reason = "too many connections" if is_one_too_many else "address not allowed"
            self._tally.add("rejected", reason, address=address)
            _cut(event.assoc)
            return
        with self._lock:
            self._open[event.assoc] = _Progress(time.monotonic())
        connection.recv = _limited(connection.recv, self._limits.pdu_bytes)

    def _on_request(self, event: Any) -> None:
        """Reject an AE title that may not call from its address; pynetdicom rejects those that nobody has."""
        requestor = event.assoc.requestor
        if not may_call(self._allowed, str(requestor.primitive.calling_ae_title), str(requestor.address)):
            self._tally.add("rejected", "AE title not allowed", address=requestor.address)
            event.assoc.acse.send_reject(*NOT_RECOGNISED)
            event.assoc.is_rejected = True

    def _on_data(self, event: Any) -> None:
        """Limit what has come of a message so far: on disk for a C-STORE, in memory for any other."""
        with self._lock:
            if progress := self._open.get(event.assoc):
                progress.heard = time.monotonic()
                progress.received += len(event.data)
        on_disk = getattr(event.assoc.dimse.message, "_data_set_file", None) is not None
        if progress and progress.received > (self._limits.object_bytes if on_disk else IN_MEMORY):
            self._cut_off(event.assoc, "message too large")

    def _on_message(self, event: Any) -> None:
        """Start to count the next message. Cut off a peer that does not wait for answers."""
        with self._lock:
            if progress := self._open.get(event.assoc):
                progress.received = 0
        if event.assoc.dimse.msg_queue.qsize() > UNANSWERED:
            self._cut_off(event.assoc, "does not wait for answers")

    def _on_close(self, event: Any) -> None:
        """Forget a connection. pynetdicom would still wait for its request, and count it among the associations."""
        with self._lock:
            self._open.pop(event.assoc, None)
        if event.assoc.requestor.primitive is None:
            event.assoc.dul.to_user_queue.put(None)

    def _cut_off(self, association: Any, why: str) -> None:
        self._tally.add("cut_off", why, address=association.requestor.address)
        _cut(association)


@dataclass
class _Progress:
    """When a peer was last heard, and how many bytes it has sent since its last whole message."""

    heard: float
    received: int = 0


def _limited(receive: Any, most: int) -> Any:
    """A connection's `recv` that refuses to read a PDU longer than agreed.

    pynetdicom would read up to the 4 GB that the head of a PDU can announce.
    """

    def recv(count: int) -> Any:
        if count > most + PDU_HEAD:
            raise OSError("a PDU is longer than agreed")
        return receive(count)

    return recv


def _remove_older(folder: Path, time_s: float) -> None:
    """Remove the files of a folder that were last written before a time."""
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < time_s:
                path.unlink()


def _cut(association: Any) -> None:
    """Close a connection at once, even if another thread is reading from it."""
    connection = association.dul.socket
    if connection is not None and connection.socket is not None:
        try:
            connection.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            logger.debug("the connection is gone")
