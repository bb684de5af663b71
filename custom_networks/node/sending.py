"""Send results to their destinations by C-STORE, with retries until each destination has them."""

import logging
import ssl
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from custom_networks.node.log import record
from custom_networks.node.peers import Destination
from custom_networks.node.settings import FIRST_PAUSE
from custom_networks.node.spool import Spool
from custom_networks.node.study import Version

LONGEST_PAUSE = 600.0  # seconds; the pause between attempts doubles up to this
CONNECT_SECONDS, ANSWER_SECONDS, SILENT_SECONDS = 15.0, 120.0, 60.0
SUCCESS, WARNINGS = 0x0000, (0x0001, 0x0107, 0x0116, *range(0xB000, 0xC000))  # PS3.7 annex C: the object was stored


class NotSent(Exception):
    """A result could not be read or was not stored; the message never quotes text from the destination."""


class NotReached(NotSent):
    """The destination could not be reached, or the association failed or was lost."""


class Backoff:
    """Exponential backoff: how long each item must wait after failures before it is tried again.

    Args:
        first: pause after the first failure, in seconds; doubled after each further one, up to `LONGEST_PAUSE`.
    """

    def __init__(self, first: float) -> None:
        self._first = first
        self._until: dict[object, tuple[float, float]] = {}

    def is_active(self, item: object) -> bool:
        """Whether an item must still wait."""
        return time.monotonic() < self._until.get(item, (0.0, 0.0))[0]

    def start(self, item: object) -> float:
        """Start the pause of an item that failed, and return its length in seconds."""
        seconds = min(2 * self._until[item][1], LONGEST_PAUSE) if item in self._until else self._first
        self._until[item] = (time.monotonic() + seconds, seconds)
        return seconds

    def clear(self, *items: object) -> None:
        """Forget the failures of items that succeeded."""
        for item in items:
            self._until.pop(item, None)


class Sender:
    """Sends results to one destination.

    Args:
        spool: the spool, which records the versions that have not been sent.
        output: the folder of results.
        aet: the node's AE title.
        to: the destination.
        tls: TLS context, or None for unencrypted connections.
        first_pause: seconds before the first retry.
    """

    def __init__(
        self,
        spool: Spool,
        output: Path,
        aet: str,
        to: Destination,
        tls: ssl.SSLContext | None = None,
        first_pause: float = FIRST_PAUSE,
    ) -> None:
        self._spool, self._output, self._aet, self._to, self._tls = spool, output, aet, to, tls
        self._backoff = Backoff(first_pause)

    def send_due(self) -> int:
        """Send all results that are due, and return the number of versions sent.

        If the destination cannot be reached, all sending to it pauses. If it refuses a result, only the version with
        this result is retried later.
        """
        sent = 0
        for key, version in self._spool.unsent(str(self._to)):
            one = (key, version.number)
            if self._backoff.is_active(self._to):
                break
            if self._backoff.is_active(one):
                continue
            try:
                self._send([self._output / key / str(version.number) / name for name in version.files])
            except NotSent as error:
                pause = self._backoff.start(self._to if isinstance(error, NotReached) else one)
                self._log("unsent", key, version, logging.WARNING, error=str(error), next_try_s=pause)
                continue
            self._spool.mark_sent(key, version.number, str(self._to))
            self._backoff.clear(self._to, one)
            self._log("sent", key, version, logging.INFO)
            sent += 1
        return sent

    def _send(self, paths: Sequence[Path]) -> None:
        """Send the files in one association; raises NotSent if one cannot be read or is not stored."""
        from pydicom import dcmread
        from pydicom.errors import InvalidDicomError
        from pynetdicom import AE

        try:
            datasets = [dcmread(path) for path in paths]
        except (OSError, InvalidDicomError) as error:
            raise NotSent(f"results cannot be read ({type(error).__name__})") from error
        entity = AE(self._aet)
        for dataset in datasets:
            _propose(entity, dataset)
        entity.connection_timeout, entity.acse_timeout = CONNECT_SECONDS, ANSWER_SECONDS
        entity.dimse_timeout, entity.network_timeout = ANSWER_SECONDS, SILENT_SECONDS
        tls = (self._tls, self._to.host) if self._tls else None
        try:
            association = entity.associate(self._to.host, self._to.port, ae_title=self._to.aet, tls_args=tls)
        except OSError as error:  # such as a name that cannot be resolved
            raise NotReached(f"no connection ({error.strerror})") from error
        if not association.is_established:
            raise NotReached("rejected" if association.is_rejected else "no association")
        try:
            for dataset in datasets:
                _store(association, dataset)
        finally:
            if association.is_established:
                association.release()

    def _log(self, event: str, key: str, version: Version, level: int, **facts: object) -> None:
        record(event, level=level, study=key, version=version.number, to=str(self._to), **facts)


def _propose(entity: Any, dataset: Any) -> None:
    """Propose the data set's transfer syntax and Implicit VR Little Endian, each in its own context."""
    from pydicom.uid import ImplicitVRLittleEndian

    for syntax in (dataset.file_meta.TransferSyntaxUID, ImplicitVRLittleEndian):
        entity.add_requested_context(dataset.SOPClassUID, syntax)


def _store(association: Any, dataset: Any) -> None:
    """Send one object by C-STORE; raises NotSent if it was not stored, NotReached if there is no response."""
    try:
        status = association.send_c_store(dataset)
    except RuntimeError as error:  # raised by pynetdicom for a closed association
        raise NotReached("the association was closed") from error
    except (ValueError, AttributeError) as error:  # context not accepted
        raise NotSent(f"the destination does not accept the SOP class of a result ({type(error).__name__})") from error
    answer = status.get("Status") if status else None
    if answer is None:
        raise NotReached("no response")
    if answer != SUCCESS and answer not in WARNINGS:
        raise NotSent(f"status 0x{answer:04X}")
