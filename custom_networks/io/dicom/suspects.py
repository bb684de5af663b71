"""Detect unreadable files that may be lost slices.

Interrupted downloads, dangling links, disk errors and git-lfs pointers leave files whose bytes do not look like DICOM.
If these were skipped silently, a part of the liver could be missing. They are recognised by names that resemble those
of the slices beside them, or by a suffix used for DICOM.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from custom_networks.io.dicom.files import DicomFile
from custom_networks.io.dicom.header import SliceHeader

ENDINGS = (".dcm", ".dicom", ".dic", ".ima")
# Suffixes that programs add to the names of incomplete or compressed files.
UNFINISHED = (".gz", ".part", ".partial", ".crdownload", ".download", ".tmp")


@dataclass(frozen=True)
class Unread:
    """A file that was not recognised as DICOM, by its first bytes or (if it has no preamble) by its header.

    Attributes:
        file: the file.
        marked: whether it begins almost like a DICOM file, see `nearly_dicom`.
    """

    file: DicomFile
    marked: bool = False

    @property
    def name(self) -> str:
        """Path relative to the source, without a suffix in `UNFINISHED`."""
        path = self.file.path
        return str(path.with_suffix("") if path.suffix.lower() in UNFINISHED else path)

    @property
    def seems_dicom(self) -> bool:
        """Whether the suffix or the first bytes suggest DICOM."""
        return self.marked or PurePosixPath(self.name).suffix.lower() in ENDINGS


def nearly_dicom(start: bytes) -> bool:
    """Whether the first 132 bytes of a file are a preamble followed by a damaged "DICM"."""
    mark = start[128:132]
    letters = sum(found == right for found, right in zip(mark.upper(), b"DICM"))
    return letters >= 2 or (len(mark) == 4 and not any(start[:128]) and any(mark))


def suspects_of(unread: Iterable[Unread], headers: Sequence[SliceHeader]) -> tuple[Unread, ...]:
    """Return the unread files that may be images, judging by suffix, first bytes, or a name similar to an image's."""
    names = {header.file.name for header in headers}
    beside = {(header.file.folder, _pattern(header.file.path.name)) for header in headers}
    paths = {_pattern(name) for name in names}

    def is_suspect(one: Unread) -> bool:
        pattern, path = _pattern(PurePosixPath(one.name).name), _pattern(one.name)
        is_similar = ("#" in pattern and (one.file.folder, pattern) in beside) or ("#" in path and path in paths)
        return one.name not in names and (one.seems_dicom or is_similar)

    return tuple(sorted(filter(is_suspect, unread), key=lambda one: one.file.name))


def may_be_slices(suspects: Iterable[Unread], slices: Sequence[SliceHeader]) -> list[DicomFile]:
    """Return the suspects that are probably slices of a series.

    They have similar names and are in the same folder as its slices, or in any folder if the slices are spread over
    several. If the slices' names have nothing in common, a DICOM suffix or a damaged preamble is sufficient.
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
    """Replace the numbers in a name by "#", to find the pattern that the slices of an export usually share."""
    numbers = re.sub(r"[0-9a-f]*\d[0-9a-f]*", "#", name.lower())
    return re.sub(r"#([._-]*#)+", "#", numbers)
