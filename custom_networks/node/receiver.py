"""The C-ECHO and C-STORE SCP, which acknowledges an image once it is in the spool and flushed to disk.

Peers are not trusted. The address is checked before anything is read, and the AE titles before an association is
accepted. PDU and data set sizes, the number of associations and idle times are limited. Text from a peer is never used
as a file name or logged; CVE-2026-56445 shows what can happen to a server that takes file names from data sets.
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
from custom_networks.node.spool import Spool, flush_file

# Status codes: PS3.4 B.2.3 and PS3.7 C.5.
SUCCESS, NO_ROOM, OTHER_CLASS, NOT_UNDERSTOOD = 0x0000, 0xA700, 0xA900, 0xC000
TO_ASSOCIATE = 10.0  # seconds within which a connection must request an association
CT_CLASSES = (CTImageStorage, *ENHANCED_CT)


class Receiver:
    """Receives images from `start` to `stop`.

    Args:
        spool: the spool that images are added to.
        aet: the node's AE title; peers must use it as the called AE title.
        allowed: peers that may send.
        tls: TLS context, or None for unencrypted connections.
        limits: resource limits.
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
        """The port that the receiver listens on, once it has started."""
        return int(self._server.socket.getsockname()[1])

    def start(self, host: str, port: int) -> None:
        """Start to listen on an address; raises UsageError if that fails."""
        from pynetdicom import events as evt

        handlers = [*self._guard.handlers(), (evt.EVT_C_STORE, self._on_store)]
        # pynetdicom streams data sets to temporary files. On the spool's disk they can be renamed into the spool.
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
        """Stop listening and close all connections; peers will resend images that were not acknowledged."""
        if self._server:
            self._server.shutdown()
            self._guard.close_all()
        tempfile.tempdir = self._earlier_tempdir

    def counts(self) -> dict[str, int]:
        """Return counts of this run: duplicates, ignored objects, rejections and connections cut off."""
        return {name: self._tally[name] for name in ("duplicates", "ignored", "rejected", "cut_off")}

    def clean_up(self) -> None:
        """Close idle connections, and remove old partial files of broken connections."""
        self._guard.cut_off_idle(self._spool.part)

    def _entity(self) -> Any:
        """Return the pynetdicom application entity with its limits and presentation contexts."""
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
        """Store the image of a C-STORE request and return the status.

        Success means that the image is in the spool, or was ignored because it is not CT.
        """
        try:
            return self._stored(event)
        except InputError as error:
            self._tally.add("rejected", str(error))
            return NOT_UNDERSTOOD
        except OSError as error:
            self._tally.add("rejected", f"image cannot be written ({error.strerror})")
            return NO_ROOM

    def _stored(self, event: Any) -> int:
        path, uid = event.dataset_path, str(event.request.AffectedSOPInstanceUID)
        if event.context.abstract_syntax not in CT_CLASSES:
            self._tally.add("ignored")
            return SUCCESS
        if path.stat().st_size > self._limits.object_bytes:  # it had arrived when the guard closed the connection
            self._tally.add("rejected", "data set too large")
            return NO_ROOM
        if not self._has_room(path.stat().st_size):
            self._tally.add("rejected", "no room in the spool")
            return NO_ROOM
        header = _header(path)
        if header.sop_class not in CT_CLASSES or header.instance_uid != uid:
            self._tally.add("rejected", "SOP class or UID differs from the request")
            return OTHER_CLASS
        flush_file(path)
        if not self._spool.add(header.study_uid, uid, path, time.time()):
            self._tally.add("duplicates")
        return SUCCESS

    def _has_room(self, size: int) -> bool:
        """Make room for an image of `size` bytes by removing images that are no longer needed; False if that fails."""
        spool, limits = self._spool, self._limits
        most = min(limits.quota_bytes, spool.size + spool.free - limits.reserve_bytes)
        if spool.size + size > most:
            for key in spool.drop(0.0, most - size):
                record("images removed", study=key)
        return spool.size + size <= most


def _header(path: Path) -> SliceHeader:
    """Return the header of a received file; raises InputError if it is not an image or lacks a valid UID."""
    scan = scan_files([DicomFile(path.parent, path.name)])
    if not scan.headers:
        raise InputError("not a DICOM image")
    header = scan.headers[0]
    if not (is_uid(header.study_uid) and is_uid(header.instance_uid)):
        raise InputError("no valid StudyInstanceUID or SOPInstanceUID")
    return header
