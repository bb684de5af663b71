"""A case whose volume is already in memory: read by another thread, or on another machine."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from custom_networks.io.case import Case, State
from custom_networks.io.volume import Volume

KNOWN = ("identity", "content", "geometry", "place", "voxels")


@dataclass(frozen=True, eq=False)
class ReadCase(Case):
    """A case that `read_now` has read; it can be sent to a machine that has no access to the input.

    Attributes:
        volume: what was read.
        known: the case's properties named in `KNOWN`, as they were when it was read.
        at_reading: the state of its files before they were read, see `Case.state`.
        seconds: how long reading took.
    """

    volume: Volume = field(kw_only=True, repr=False)
    known: Mapping[str, Any] = field(kw_only=True, repr=False)
    at_reading: State = field(kw_only=True, repr=False)
    seconds: float = field(kw_only=True)

    def read(self) -> Volume:
        """The volume."""
        return self.volume

    def state(self) -> State:
        """See `Case.state`."""
        return self.at_reading

    @property
    def identity(self) -> str:
        """See `Case.identity`."""
        return str(self.known["identity"])

    @property
    def content(self) -> str:
        """See `Case.content`."""
        return str(self.known["content"])

    @property
    def geometry(self) -> str:
        """See `Case.geometry`."""
        return str(self.known["geometry"])

    @property
    def place(self) -> str:
        """See `Case.place`."""
        return str(self.known["place"])

    @property
    def voxels(self) -> int:
        """See `Case.voxels`."""
        return int(self.known["voxels"])


def read_now(case: Case) -> ReadCase:
    """Read a case together with the digests that identify it; raises the errors of `Case.read`."""
    started, state = time.perf_counter(), case.state()
    volume = case.read()
    known = {name: getattr(case, name) for name in KNOWN}
    return ReadCase(
        *(case.name, case.source, case.notes, case.series),
        allow_large=case.allow_large,
        volume=volume,
        known=known,
        at_reading=state,
        seconds=time.perf_counter() - started,
    )
