"""The C-ECHO and C-STORE SCP: an image is acknowledged once it is in the spool, on the disk, under a name of ours.

Nothing is believed that a peer says. Its address is looked at before it may speak, its AE titles before an association
is made. The size of a PDU and of a data set, the number of associations and the time of silence are limited. No text of
a peer becomes a file's name or a line of the log; CVE-2026-56445 shows what happens to a server that takes names from
data sets.
"""

import logging
import socket
import ssl
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydicom.uid import UID, CTImageStorage

from custom_networks.errors import InputError, UsageError
from custom_networks.io.dicom.enhanced import ENHANCED_CT
from custom_networks.io.dicom.files import DicomFile
from custom_networks.io.dicom.header import SliceHeader, is_uid
from custom_networks.io.dicom.listing import scan_files
from custom_networks.io.dicom.pixels import decoder_reason
from custom_networks.node.log import record
from custom_networks.node.peers import ANY, Caller, may_call
from custom_networks.node.spool import Spool, flushed

if TYPE_CHECKING:
    from pynetdicom.events import Event

logger = logging.getLogger(__name__)

# PS3.4 B.2.3, and PS3.7 C.5.
SUCCESS, NO_ROOM, OTHER_CLASS, NOT_UNDERSTOOD = 0x0000, 0xA700, 0xA900, 0xC000
CT_CLASSES = (CTImageStorage, *ENHANCED_CT)
PDU_HEAD = 1 << 14  # of a request to associate with many contexts, which is no P-DATA


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


class Receiver:
    """Listens from `start` to `stop`.

    Args:
        spool: where images go.
        aet: the node's AE title, by which it must be called.
        allowed: who may send.
        tls: in which it listens, None for none.
        limits: how much a peer may ask for.
    """

    def __init__(
        self,
        spool: Spool,
        aet: str,
        allowed: Sequence[Caller],
        *,
        tls: ssl.SSLContext | None = None,
        limits: Limits = Limits(),
    ) -> None:
        self._spool, self._aet, self._allowed, self._tls, self._limits = spool, aet, tuple(allowed), tls, limits
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._open: dict[Any, _Progress] = {}
        self._server: Any = None
        self._earlier_tempdir: str | None = None

    @property
    def port(self) -> int:
        """The port on which it listens."""
        return int(self._server.socket.getsockname()[1])

    def start(self, host: str, port: int) -> None:
        """Listen on an address; UsageError where it cannot be had."""
        from pynetdicom import evt

        handlers = [
            (evt.EVT_CONN_OPEN, self._on_connection),
            (evt.EVT_REQUESTED, self._on_request),
            (evt.EVT_DATA_RECV, self._on_data),
            (evt.EVT_DIMSE_RECV, self._on_message),
            (evt.EVT_C_STORE, self._on_store),
            (evt.EVT_CONN_CLOSE, self._on_close),
        ]
        # pynetdicom streams data sets to temporary files, which must be on the spool's disk to be renamed into it.
        self._earlier_tempdir, tempfile.tempdir = tempfile.tempdir, str(self._spool.part)
        try:
            self._server = self._entity().start_server(
                (host, port), block=False, evt_handlers=handlers, ssl_context=self._tls
            )
        except OSError as error:
            raise UsageError(f"Nothing can listen on {host}:{port} ({error.strerror}): give others.") from error

    def stop(self) -> None:
        """Close all connections; what was not acknowledged the peers will send again."""
        if self._server:
            self._server.shutdown()
            for association in list(self._open):
                _cut(association)
        tempfile.tempdir = self._earlier_tempdir

    def counts(self) -> dict[str, int]:
        """What this run received besides new images, and turned away."""
        with self._lock:
            return {name: self._counts[name] for name in ("duplicates", "ignored", "rejected", "cut_off")}

    def cut_off_idle(self) -> None:
        """Close the connections of those who have been silent for too long, in the middle of a PDU or between two."""
        latest = time.monotonic() - self._limits.silent_seconds
        with self._lock:
            idle = [association for association, progress in self._open.items() if progress.heard < latest]
        for association in idle:
            self._count("cut_off", "silent")
            _cut(association)

    def _entity(self) -> Any:
        """The application entity with what it accepts."""
        from pynetdicom import ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, _config
        from pynetdicom.ae import ApplicationEntity
        from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

        _config.STORE_RECV_CHUNKED_DATASET = True
        _config.LOG_HANDLER_LEVEL = "none"
        entity, limits = ApplicationEntity(self._aet), self._limits
        entity.maximum_associations, entity.maximum_pdu_size = limits.associations, limits.pdu_bytes
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = limits.silent_seconds
        entity.require_called_aet = True
        titles = {peer.aet for peer in self._allowed}
        entity.require_calling_aet = [] if ANY in titles else sorted(titles)
        entity.add_supported_context(Verification, ALL_TRANSFER_SYNTAXES)
        readable = [syntax for syntax in ALL_TRANSFER_SYNTAXES if not decoder_reason(UID(syntax))]
        for context in AllStoragePresentationContexts:
            is_ct = context.abstract_syntax in CT_CLASSES
            entity.add_supported_context(context.abstract_syntax, readable if is_ct else ALL_TRANSFER_SYNTAXES)
        return entity

    def _on_connection(self, event: "Event") -> None:
        """Before anything is read: whose address it is, and how long a PDU may be."""
        address = str(event.address[0])
        if not any(peer.calls_from(address) for peer in self._allowed):
            self._count("rejected", "address not allowed", address=address)
            _cut(event.assoc)
            return
        with self._lock:
            self._open[event.assoc] = _Progress(time.monotonic())
        connection = event.assoc.dul.socket
        connection.recv = _limited(connection.recv, self._limits.pdu_bytes)

    def _on_request(self, event: "Event") -> None:
        """Whether the AE title may call from that address; a title that nobody has is rejected by pynetdicom."""
        requestor = event.assoc.requestor
        if not may_call(self._allowed, requestor.ae_title, requestor.address):
            self._count("rejected", "AE title not allowed", address=requestor.address)
            _cut(event.assoc)

    def _on_data(self, event: "Event") -> None:
        """A PDU came: how much of the data set there is by now."""
        with self._lock:
            if progress := self._open.get(event.assoc):
                progress.heard = time.monotonic()
                progress.received += len(event.data)
        if progress and progress.received > self._limits.object_bytes:
            self._count("cut_off", "data set too large")
            _cut(event.assoc)

    def _on_message(self, event: "Event") -> None:
        """A message is whole: the next one is counted anew."""
        with self._lock:
            if progress := self._open.get(event.assoc):
                progress.received = 0

    def _on_close(self, event: "Event") -> None:
        with self._lock:
            self._open.pop(event.assoc, None)

    def _on_store(self, event: "Event") -> int:
        """The status of a C-STORE: success only for what is in the spool, or is nothing that it wants."""
        try:
            return self._stored(event)
        except InputError as error:
            self._count("rejected", str(error))
            return NOT_UNDERSTOOD
        except OSError as error:
            self._count("rejected", f"the disk does not take it ({error.strerror})")
            return NO_ROOM

    def _stored(self, event: "Event") -> int:
        path, uid = event.dataset_path, str(event.request.AffectedSOPInstanceUID)
        if event.context.abstract_syntax not in CT_CLASSES:
            return self._count("ignored")
        size, limits = path.stat().st_size, self._limits
        if self._spool.size + size > limits.quota_bytes or self._spool.free < limits.reserve_bytes:
            self._count("rejected", "no room in the spool")
            return NO_ROOM
        header = _header(path)
        if header.sop_class not in CT_CLASSES or header.instance_uid != uid:
            self._count("rejected", "another object than was announced")
            return OTHER_CLASS
        flushed(path)
        is_new = self._spool.add(header.study_uid, uid, path, time.time())
        return SUCCESS if is_new else self._count("duplicates")

    def _count(self, name: str, why: str = "", **facts: object) -> int:
        """Count an event, and log it where there is something to say; gives the status of success."""
        with self._lock:
            self._counts[name] += 1
        if why:
            record(name, level=logging.WARNING, message=why, **facts)
        return SUCCESS


@dataclass
class _Progress:
    """When a peer was heard last, and how many bytes it sent since its last whole message."""

    heard: float
    received: int = 0


def _header(path: Path) -> SliceHeader:
    """The header of a received file; InputError where it holds no image that could be told from others."""
    scan = scan_files([DicomFile(path.parent, path.name)])
    if not scan.headers:
        raise InputError("a data set that is no DICOM image")
    header = scan.headers[0]
    if not (is_uid(header.study_uid) and is_uid(header.instance_uid)):
        raise InputError("a data set without StudyInstanceUID or SOPInstanceUID")
    return header


def _limited(receive: Any, most: int) -> Any:
    """The `recv` of a connection that refuses to read a PDU which is longer than what was agreed on.

    pynetdicom would read up to the 4 GB that the head of a PDU can announce.
    """

    def recv(count: int) -> Any:
        if count > most + PDU_HEAD:
            raise OSError("a PDU is longer than what was agreed on")
        return receive(count)

    return recv


def _cut(association: Any) -> None:
    """Close a connection at once, whoever is reading from it."""
    connection = association.dul.socket
    if connection is not None and connection.socket is not None:
        try:
            connection.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            logger.debug("the connection is gone")
