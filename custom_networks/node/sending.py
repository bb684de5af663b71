"""Results go to their destinations by C-STORE, the same objects each time, until each destination has them all."""

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

LONGEST_PAUSE = 600.0  # seconds between tries, doubled each time
CONNECT_SECONDS, ANSWER_SECONDS, SILENT_SECONDS = 15.0, 120.0, 60.0
SUCCESS, WARNINGS = 0x0000, (0x0001, 0x0107, 0x0116, *range(0xB000, 0xC000))  # PS3.7 annex C: stored all the same


class NotSent(Exception):
    """Why a destination has not taken a result, without what it said itself."""


class NotReached(NotSent):
    """The destination does not answer at all."""


class Pauses:
    """How long what failed is left alone: twice as long after each failure.

    Args:
        first: seconds after the first failure.
    """

    def __init__(self, first: float) -> None:
        self._first = first
        self._until: dict[object, tuple[float, float]] = {}

    def is_on(self, what: object) -> bool:
        """Whether it is to be left alone."""
        return time.monotonic() < self._until.get(what, (0.0, 0.0))[0]

    def begin(self, what: object) -> float:
        """It failed: how long it is left alone now, seconds."""
        seconds = min(2 * self._until[what][1], LONGEST_PAUSE) if what in self._until else self._first
        self._until[what] = (time.monotonic() + seconds, seconds)
        return seconds

    def end(self, *these: object) -> None:
        """They succeeded."""
        for what in these:
            self._until.pop(what, None)


class Sender:
    """Sends what is due to one destination.

    Args:
        spool: where it stands what is due.
        output: the folder of results.
        aet: the node's own AE title.
        to: the destination.
        tls: in which the connection is made, None for none.
        first_pause: seconds until the second try.
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
        self._pauses = Pauses(first_pause)

    def send_due(self) -> int:
        """Send what is due; how many versions the destination has got.

        A destination that does not answer is left alone for a while; one that refuses a result is asked for the others
        all the same.
        """
        sent = 0
        for key, version in self._spool.unsent(str(self._to)):
            one = (key, version.number)
            if self._pauses.is_on(self._to):
                break
            if self._pauses.is_on(one):
                continue
            try:
                self._send([self._output / key / str(version.number) / name for name in version.files])
            except NotSent as error:
                pause = self._pauses.begin(self._to if isinstance(error, NotReached) else one)
                self._say("unsent", key, version, logging.WARNING, error=str(error), next_try_s=pause)
                continue
            self._spool.delivered(key, version.number, str(self._to))
            self._pauses.end(self._to, one)
            self._say("sent", key, version, logging.INFO)
            sent += 1
        return sent

    def _send(self, paths: Sequence[Path]) -> None:
        """Send the files over an association of their own; NotSent where not all were taken."""
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
        except OSError as error:  # its name is not known
            raise NotReached(f"no connection ({error.strerror})") from error
        if not association.is_established:
            raise NotReached("rejected" if association.is_rejected else "no association")
        try:
            for dataset in datasets:
                _store(association, dataset)
        finally:
            if association.is_established:
                association.release()

    def _say(self, event: str, key: str, version: Version, level: int, **facts: object) -> None:
        record(event, level=level, study=key, version=version.number, to=str(self._to), **facts)


def _propose(entity: Any, dataset: Any) -> None:
    """Propose a data set's own transfer syntax, and the one that every node must take, each on its own."""
    from pydicom.uid import ImplicitVRLittleEndian

    for syntax in (dataset.file_meta.TransferSyntaxUID, ImplicitVRLittleEndian):
        entity.add_requested_context(dataset.SOPClassUID, syntax)


def _store(association: Any, dataset: Any) -> None:
    """Send one object by C-STORE; NotSent if it was not stored, NotReached if there is no answer."""
    try:
        status = association.send_c_store(dataset)
    except RuntimeError as error:  # pynetdicom: the association was closed
        raise NotReached("the association was closed") from error
    except (ValueError, AttributeError) as error:  # context not accepted
        raise NotSent(f"the destination does not accept the SOP class of a result ({type(error).__name__})") from error
    answer = status.get("Status") if status else None
    if answer is None:
        raise NotReached("no answer")
    if answer != SUCCESS and answer not in WARNINGS:
        raise NotSent(f"status 0x{answer:04X}")
