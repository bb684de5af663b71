"""Access control and resource limits for the peers of the node."""

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

NOT_RECOGNISED = (0x01, 0x01, 0x03)  # PS3.8 table 9-21: rejected permanently, calling AE title not recognized
PDU_HEAD = 1 << 14  # bytes allowed beyond the negotiated PDU length, for association requests with many contexts
IN_MEMORY = 1 << 22  # maximum bytes of a message that pynetdicom keeps in memory instead of streaming it to disk
CONNECTIONS = 4  # maximum number of open connections for each allowed association
UNANSWERED = 8  # maximum number of messages from one peer that wait for an answer
KEPT_PARTS = 600.0  # seconds after which a partly received image is removed, at the earliest


@dataclass(frozen=True)
class Limits:
    """Resource limits for all peers.

    Attributes:
        associations: maximum number of simultaneous associations.
        pdu_bytes: maximum length of a PDU; announced to peers, and enforced with a small margin.
        object_bytes: maximum size of a data set.
        silent_seconds: maximum time without data from a peer.
        quota_bytes: maximum total size of the images in the spool.
        reserve_bytes: bytes kept free for results on the spool's disk.
    """

    associations: int = 16
    pdu_bytes: int = 1 << 17
    object_bytes: int = 1 << 30
    silent_seconds: float = 60.0
    quota_bytes: int = 100 * 10**9
    reserve_bytes: int = 1 << 29


class Guard:
    """Enforces access control and limits on the connections of a pynetdicom server.

    Args:
        allowed: peers that may connect.
        limits: resource limits.
        tally: counts rejected and closed connections.
    """

    def __init__(self, allowed: Sequence[Caller], limits: Limits, tally: Tally) -> None:
        self._allowed, self._limits, self._tally = allowed, limits, tally
        self._lock = threading.Lock()
        self._open: dict[Any, _Progress] = {}

    def handlers(self) -> list[tuple[Any, Any]]:
        """Return pairs of a pynetdicom event and its handler, for `start_server`."""
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
        """Number of open connections."""
        return len(self._open)

    def close_all(self) -> None:
        """Close all connections."""
        for association in list(self._open):
            _disconnect(association)

    def cut_off_idle(self, part: Path) -> None:
        """Close connections that have been silent for too long, and remove old partial files from the folder `part`."""
        silent, latest = self._limits.silent_seconds, time.monotonic() - self._limits.silent_seconds
        with self._lock:
            idle = [association for association, progress in self._open.items() if progress.heard < latest]
        for association in idle:
            self._cut_off(association, "silent")
            with self._lock:  # pynetdicom does not report every closed connection
                self._open.pop(association, None)
        _remove_older(part, time.time() - max(10 * silent, KEPT_PARTS))

    def _on_connection(self, event: Any) -> None:
        """Check a new connection before anything is read from it.

        The connection is closed if there are too many or its address is not allowed; otherwise, the length of its PDUs
        is limited.
        """
        address, connection = str(event.address[0]), event.assoc.dul.socket
        with self._lock:
            is_full = len(self._open) >= CONNECTIONS * self._limits.associations
        if is_full or not any(peer.calls_from(address) for peer in self._allowed):
            reason = "too many connections" if is_full else "address not allowed"
            self._tally.add("rejected", reason, address=address)
            _disconnect(event.assoc)
            return
        with self._lock:
            self._open[event.assoc] = _Progress(time.monotonic())
        connection.recv = _limited(connection.recv, self._limits.pdu_bytes)

    def _on_request(self, event: Any) -> None:
        """Reject a calling AE title that is not allowed from its address; pynetdicom itself rejects unknown titles."""
        requestor = event.assoc.requestor
        if not may_call(self._allowed, str(requestor.primitive.calling_ae_title), str(requestor.address)):
            with self._lock:
                is_open = event.assoc in self._open  # otherwise it was counted when its address was rejected
            if is_open:
                self._tally.add("rejected", "AE title not allowed", address=requestor.address)
            event.assoc.acse.send_reject(*NOT_RECOGNISED)
            event.assoc.is_rejected = True

    def _on_data(self, event: Any) -> None:
        """Record that data have arrived, and close the connection if the current message is too large.

        The limit is `Limits.object_bytes` for a data set that is streamed to disk (by C-STORE), and `IN_MEMORY` for any
        other message.
        """
        with self._lock:
            if progress := self._open.get(event.assoc):
                progress.heard = time.monotonic()
                progress.received += len(event.data)
        on_disk = getattr(event.assoc.dimse.message, "_data_set_file", None) is not None
        if progress and progress.received > (self._limits.object_bytes if on_disk else IN_MEMORY):
            self._cut_off(event.assoc, "message too large")

    def _on_message(self, event: Any) -> None:
        """Reset the size of the current message; disconnect a peer that keeps sending without awaiting responses."""
        with self._lock:
            if progress := self._open.get(event.assoc):
                progress.received = 0
        if event.assoc.dimse.msg_queue.qsize() > UNANSWERED:
            self._cut_off(event.assoc, "does not wait for answers")

    def _on_close(self, event: Any) -> None:
        """Remove a closed connection.

        If no association request had arrived, also unblock pynetdicom, which would keep waiting for the request and
        count the association as open.
        """
        with self._lock:
            self._open.pop(event.assoc, None)
        if event.assoc.requestor.primitive is None:
            event.assoc.dul.to_user_queue.put(None)

    def _cut_off(self, association: Any, why: str) -> None:
        self._tally.add("cut_off", why, address=association.requestor.address)
        _disconnect(association)


@dataclass
class _Progress:
    """When a peer last sent data (by the monotonic clock), and the bytes received since its last complete message."""

    heard: float
    received: int = 0


def _limited(receive: Any, most: int) -> Any:
    """Wrap a connection's `recv` so that it raises OSError for a PDU of more than `most + PDU_HEAD` bytes.

    pynetdicom would try to read as many bytes as the PDU header announces, up to 4 GB.
    """

    def recv(count: int) -> Any:
        if count > most + PDU_HEAD:
            raise OSError("a PDU is longer than negotiated")
        return receive(count)

    return recv


def _remove_older(folder: Path, time_s: float) -> None:
    """Remove the files in a folder that were last modified before a time (seconds since 1970)."""
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < time_s:
                path.unlink()


def _disconnect(association: Any) -> None:
    """Close a connection at once, even if another thread is reading from it."""
    connection = association.dul.socket
    if connection is not None and connection.socket is not None:
        try:
            connection.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            logger.debug("the connection is already closed")
