"""What a peer may do before and while it sends: who it is, how much it asks for, and how long it is silent."""

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
PDU_HEAD = 1 << 14  # bytes beyond the agreed ones: a request to associate with many contexts is no P-DATA
IN_MEMORY = 1 << 22  # bytes of what pynetdicom does not stream to the disk
CONNECTIONS = 4  # for each association that is allowed
UNANSWERED = 8  # messages of one peer
KEPT_PARTS = 600.0  # seconds that the half of an image is kept of a connection that broke


@dataclass(frozen=True)
class Limits:
    """How much a peer may ask for.

    Attributes:
        associations: at a time.
        pdu_bytes: of one PDU; offered as the most, and enforced with room for its head.
        object_bytes: of one data set.
        silent_seconds: between two PDUs.
        quota_bytes: of all images in the spool.
        reserve_bytes: that must stay free on its disk, for results.
    """

    associations: int = 16
    pdu_bytes: int = 1 << 17
    object_bytes: int = 1 << 30
    silent_seconds: float = 60.0
    quota_bytes: int = 100 * 10**9
    reserve_bytes: int = 1 << 29


class Guard:
    """Watches the connections of a server of pynetdicom.

    Args:
        allowed: who may send.
        limits: how much a peer may ask for.
        tally: where it is counted what was turned away.
    """

    def __init__(self, allowed: Sequence[Caller], limits: Limits, tally: Tally) -> None:
        self._allowed, self._limits, self._tally = allowed, limits, tally
        self._lock = threading.Lock()
        self._open: dict[Any, _Progress] = {}

    def handlers(self) -> list[tuple[Any, Any]]:
        """Events of pynetdicom, and what is done then."""
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
        """How many there are."""
        return len(self._open)

    def close_all(self) -> None:
        """Close all connections."""
        for association in list(self._open):
            _cut(association)

    def cut_off_idle(self, part: Path) -> None:
        """Close the connections of those who have been silent for too long, in the middle of a PDU or between two, and
        remove from `part` what broken connections left."""
        silent, latest = self._limits.silent_seconds, time.monotonic() - self._limits.silent_seconds
        with self._lock:
            idle = [association for association, progress in self._open.items() if progress.heard < latest]
        for association in idle:
            self._cut_off(association, "silent")
            with self._lock:  # not all ends of a connection are said to be one
                self._open.pop(association, None)
        _remove_older(part, time.time() - max(10 * silent, KEPT_PARTS))

    def _on_connection(self, event: Any) -> None:
        """Before anything is read: whose address it is, and how long a PDU may be."""
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
        """Whether the AE title may call from that address; a title that nobody has is rejected by pynetdicom."""
        requestor = event.assoc.requestor
        if not may_call(self._allowed, str(requestor.primitive.calling_ae_title), str(requestor.address)):
            self._tally.add("rejected", "AE title not allowed", address=requestor.address)
            event.assoc.acse.send_reject(*NOT_RECOGNISED)
            event.assoc.is_rejected = True

    def _on_data(self, event: Any) -> None:
        """A PDU came: how much of its message there is by now, on the disk or, where it is no C-STORE, in memory."""
        with self._lock:
            if progress := self._open.get(event.assoc):
                progress.heard = time.monotonic()
                progress.received += len(event.data)
        on_disk = getattr(event.assoc.dimse.message, "_data_set_file", None) is not None
        if progress and progress.received > (self._limits.object_bytes if on_disk else IN_MEMORY):
            self._cut_off(event.assoc, "message too large")

    def _on_message(self, event: Any) -> None:
        """A message is whole: the next one is counted anew. Who does not wait for answers is cut off."""
        with self._lock:
            if progress := self._open.get(event.assoc):
                progress.received = 0
        if event.assoc.dimse.msg_queue.qsize() > UNANSWERED:
            self._cut_off(event.assoc, "messages without waiting for answers")

    def _on_close(self, event: Any) -> None:
        """A connection is gone. pynetdicom would wait on for its request, and count it among the associations."""
        with self._lock:
            self._open.pop(event.assoc, None)
        if event.assoc.requestor.primitive is None:
            event.assoc.dul.to_user_queue.put(None)

    def _cut_off(self, association: Any, why: str) -> None:
        self._tally.add("cut_off", why, address=association.requestor.address)
        _cut(association)


@dataclass
class _Progress:
    """When a peer was heard last, and how many bytes it sent since its last whole message."""

    heard: float
    received: int = 0


def _limited(receive: Any, most: int) -> Any:
    """The `recv` of a connection that refuses to read a PDU which is longer than what was agreed on.

    pynetdicom would read up to the 4 GB that the head of a PDU can announce.
    """

    def recv(count: int) -> Any:
        if count > most + PDU_HEAD:
            raise OSError("a PDU is longer than what was agreed on")
        return receive(count)

    return recv


def _remove_older(folder: Path, time_s: float) -> None:
    """Remove the files of a folder that were last written before a time."""
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < time_s:
                path.unlink()


def _cut(association: Any) -> None:
    """Close a connection at once, whoever is reading from it."""
    connection = association.dul.socket
    if connection is not None and connection.socket is not None:
        try:
            connection.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            logger.debug("the connection is gone")
