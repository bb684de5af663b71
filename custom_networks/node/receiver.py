"""The C-ECHO and C-STORE SCP: an image is acknowledged once it is in the spool, on disk, under a name of our own.

Nothing that a peer says is trusted. Its address is checked before it may speak, its AE titles before an association is
made. The size of a PDU and of a data set, the number of associations and the time of silence are limited. No text from
a peer becomes a file name or a line in the log; CVE-2026-56445 shows what happens to a server that takes names from
data sets.
"""

import ssl
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydicom.uid import UID, CTImageStorage

from custom_networks.errors import InputError, UsageError
from custom_networks.io.dicom.enhanced import ENHANCED_CT
from custom_networks.io.dicom.files import DicomFile
from custom_networks.io.dicom.header import SliceHeader, is_uid
from custom_networks.io.dicom.listing import scan_files
from custom_networks.io.dicom.pixels import decoder_reason
from custom_networks.node.guard import Guard, Limits
from custom_networks.node.log import Tally, record
from custom_networks.node.peers import ANY, Caller
from custom_networks.node.spool import Spool, flushed

# PS3.4 B.2.3, and PS3.7 C.5.
SUCCESS, NO_ROOM, OTHER_CLASS, NOT_UNDERSTOOD = 0x0000, 0xA700, 0xA900, 0xC000
TO_ASSOCIATE = 10.0  # seconds that a connection has to ask for an association
CT_CLASSES = (CTImageStorage, *ENHANCED_CT)


class Receiver:
    """Listens from `start` to `stop`.

    Args:
        spool: where images go.
        aet: the node's AE title, which peers must use to call it.
        allowed: who may send.
        tls: TLS context to listen with, None for plain connections.
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
        self._tally = Tally()
        self._guard = Guard(self._allowed, limits, self._tally)
        self._server: Any = None
        self._earlier_tempdir: str | None = None

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.socket.getsockname()[1])

    def start(self, host: str, port: int) -> None:
        """Listen on an address; UsageError if that is not possible."""
        from pynetdicom import events as evt

        handlers = [*self._guard.handlers(), (evt.EVT_C_STORE, self._on_store)]
        # pynetdicom streams data sets to temporary files, which must be on the spool's disk to be renamed into it.
        self._earlier_tempdir, tempfile.tempdir = tempfile.tempdir, str(self._spool.part)
        try:
            self._server = self._entity().start_server(
                (host, port), block=False, evt_handlers=handlers, ssl_context=self._tls
            )
        except OSError as error:
            raise UsageError(
                f"Cannot listen on {host}:{port} ({error.strerror}): give another --host or --port."
            ) from error

    def stop(self) -> None:
        """Close all connections; peers send again what was not acknowledged."""
        if self._server:
            self._server.shutdown()
            self._guard.close_all()
        tempfile.tempdir = self._earlier_tempdir

    def counts(self) -> dict[str, int]:
        """What this run received besides new images, and what it turned away."""
        return {name: self._tally[name] for name in ("duplicates", "ignored", "rejected", "cut_off")}

    def keep_house(self) -> None:
        """Close connections that have been silent for too long, and remove what broken ones left."""
        self._guard.cut_off_idle(self._spool.part)

    def _entity(self) -> Any:
        """The application entity and the contexts that it accepts."""
        from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, _config
        from pynetdicom.presentation import VerificationPresentationContexts

        _config.STORE_RECV_CHUNKED_DATASET = True
        _config.LOG_HANDLER_LEVEL = "none"
        entity, limits = AE(self._aet), self._limits
        entity.maximum_associations, entity.maximum_pdu_size = limits.associations, limits.pdu_bytes
        entity.dimse_timeout = entity.network_timeout = limits.silent_seconds
        entity.acse_timeout = min(TO_ASSOCIATE, limits.silent_seconds)
        entity.require_called_aet = True
        titles = {peer.aet for peer in self._allowed}
        entity.require_calling_aet = [] if ANY in titles else sorted(titles)
        readable = [syntax for syntax in ALL_TRANSFER_SYNTAXES if not decoder_reason(UID(syntax))]
        for context in (*VerificationPresentationContexts, *AllStoragePresentationContexts):
            is_ct = context.abstract_syntax in CT_CLASSES
            entity.add_supported_context(str(context.abstract_syntax), readable if is_ct else ALL_TRANSFER_SYNTAXES)
        return entity

    def _on_store(self, event: Any) -> int:
        """The status of a C-STORE: success only for what is in the spool or is not wanted at all."""
        try:
            return self._stored(event)
        except InputError as error:
            self._tally.add("rejected", str(error))
            return NOT_UNDERSTOOD
        except OSError as error:
            self._tally.add("rejected", f"it cannot be written ({error.strerror})")
            return NO_ROOM

    def _stored(self, event: Any) -> int:
        path, uid = event.dataset_path, str(event.request.AffectedSOPInstanceUID)
        if event.context.abstract_syntax not in CT_CLASSES:
            self._tally.add("ignored")
            return SUCCESS
        if not self._has_room(path.stat().st_size):
            self._tally.add("rejected", "no room in the spool")
            return NO_ROOM
        header = _header(path)
        if header.sop_class not in CT_CLASSES or header.instance_uid != uid:
            self._tally.add("rejected", "not the object that was announced")
            return OTHER_CLASS
        flushed(path)
        if not self._spool.add(header.study_uid, uid, path, time.time()):
            self._tally.add("duplicates")
        return SUCCESS

    def _has_room(self, size: int) -> bool:
        """Whether an image of `size` bytes may be kept, after the oldest ones that nobody needs were removed for it."""
        spool, limits = self._spool, self._limits
        most = min(limits.quota_bytes, spool.size + spool.free - limits.reserve_bytes)
        if spool.size + size > most:
            for key in spool.drop(0.0, most - size):
                record("images removed", study=key)
        return spool.size + size <= most


def _header(path: Path) -> SliceHeader:
    """The header of a received file; InputError if it is not an image, or has no identity."""
    scan = scan_files([DicomFile(path.parent, path.name)])
    if not scan.headers:
        raise InputError("not a DICOM image")
    header = scan.headers[0]
    if not (is_uid(header.study_uid) and is_uid(header.instance_uid)):
        raise InputError("no valid StudyInstanceUID or SOPInstanceUID")
    return header
