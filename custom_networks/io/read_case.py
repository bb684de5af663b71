"""A case whose volume has already been read, by another thread or on another machine."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from custom_networks.io.case import Case, State
from custom_networks.io.volume import Volume

KNOWN = ("identity", "content", "geometry", "place", "voxels")


@dataclass(frozen=True, eq=False)
class ReadCase(Case):
    """A case with its volume, from `read_now`; it can be sent to a machine without access to the input.

    Attributes:
        volume: the volume, in HU.
        known: values of the properties in `KNOWN`, determined when the case was read.
        at_reading: `Case.state` immediately before reading.
        seconds: how long reading took.
    """

    volume: Volume = field(kw_only=True, repr=False)
    known: Mapping[str, Any] = field(kw_only=True, repr=False)
    at_reading: State = field(kw_only=True, repr=False)
    seconds: float = field(kw_only=True)

    def read(self) -> Volume:
        """Return the volume."""
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
    """Read a case and determine its digests; raises the same errors as `Case.read`."""
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
