"""Unreadable files that may be slices: if they were skipped silently, a piece of the liver could be missing.

Interrupted downloads, dangling links, disk errors and git-lfs pointers leave files whose bytes do not look like DICOM.
Their names still give them away: they resemble those of the slices beside them, or have an ending used for DICOM.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from custom_networks.io.dicom.files import DicomFile
from custom_networks.io.dicom.header import SliceHeader

ENDINGS = (".dcm", ".dicom", ".dic", ".ima")
# Endings that programs add to the names of incomplete or compressed files.
UNFINISHED = (".gz", ".part", ".partial", ".crdownload", ".download", ".tmp")


@dataclass(frozen=True)
class Unread:
    """A file that is not DICOM according to its first bytes; `marked` if these are nearly those of DICOM."""

    file: DicomFile
    marked: bool = False

    @property
    def name(self) -> str:
        """Its path below the source, without an ending in `UNFINISHED`."""
        path = self.file.path
        return str(path.with_suffix("") if path.suffix.lower() in UNFINISHED else path)

    @property
    def seems_dicom(self) -> bool:
        """Whether its ending or its first bytes suggest DICOM."""
        return self.marked or PurePosixPath(self.name).suffix.lower() in ENDINGS


def nearly_dicom(start: bytes) -> bool:
    """Whether the first 132 bytes of a file are nearly those of DICOM: a preamble followed by a damaged "DICM"."""
    mark = start[128:132]
    letters = sum(found == right for found, right in zip(mark.upper(), b"DICM"))
    return letters >= 2 or (len(mark) == 4 and not any(start[:128]) and any(mark))


def suspects_of(unread: Iterable[Unread], headers: Sequence[SliceHeader]) -> tuple[Unread, ...]:
    """The unread files that may be images, judged by ending, first bytes, or a name that resembles an image's."""
    names = {header.file.name for header in headers}
    beside = {(header.file.folder, _pattern(header.file.path.name)) for header in headers}
    paths = {_pattern(name) for name in names}

    def is_suspect(one: Unread) -> bool:
        pattern, path = _pattern(PurePosixPath(one.name).name), _pattern(one.name)
        is_called_alike = ("#" in pattern and (one.file.folder, pattern) in beside) or ("#" in path and path in paths)
        return one.name not in names and (one.seems_dicom or is_called_alike)

    return tuple(sorted(filter(is_suspect, unread), key=lambda one: one.file.name))


def may_be_slices(suspects: Iterable[Unread], slices: Sequence[SliceHeader]) -> list[DicomFile]:
    """The suspects that are probably slices of a series: they lie beside its slices and have similar names.

    If the slices' names have nothing in common, a DICOM ending or nearly DICOM first bytes are enough. If the slices
    are spread over several folders, files in other folders with similar names count, too.
    """
    folders = {header.file.folder for header in slices}
    names = {_pattern(header.file.path.name) for header in slices}
    paths = {_pattern(header.file.name) for header in slices}
    nothing_in_common = len(names) > len(slices) / 2

    def is_likely(one: Unread) -> bool:
        pattern = _pattern(PurePosixPath(one.name).name)
        if one.file.folder not in folders:
            return len(folders) > 1 and "#" in _pattern(one.name) and _pattern(one.name) in paths
        return ("#" in pattern and pattern in names) or (one.seems_dicom and nothing_in_common)

    return [one.file for one in suspects if is_likely(one)]


def _pattern(name: str) -> str:
    """A name with its numbers replaced by "#": the slices of one export usually share a pattern of their own."""
    numbers = re.sub(r"[0-9a-f]*\d[0-9a-f]*", "#", name.lower())
    return re.sub(r"#([._-]*#)+", "#", numbers)
