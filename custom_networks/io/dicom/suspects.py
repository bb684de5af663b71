"""Files that cannot be read and may be slices: passed over in silence, they would cut a piece off the liver.

A download that broke off, a dangling link, a disk that returned zeros or a pointer of git-lfs leave files that nothing
in them calls DICOM. Their names still do: they are called like the slices beside them, or have an ending of DICOM.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from custom_networks.io.dicom.files import DicomFile
from custom_networks.io.dicom.header import SliceHeader

ENDINGS = (".dcm", ".dicom", ".dic", ".ima")
# What programs add to the name of a file that is not whole yet, or is compressed.
UNFINISHED = (".gz", ".part", ".partial", ".crdownload", ".download", ".tmp")


@dataclass(frozen=True)
class Unread:
    """A file that is not DICOM, as far as its first bytes say; `marked`: they are nearly those of DICOM."""

    file: DicomFile
    marked: bool = False

    @property
    def name(self) -> str:
        """Its name below the source, without what says that it is not whole."""
        path = self.file.path
        return str(path.with_suffix("") if path.suffix.lower() in UNFINISHED else path)

    @property
    def seems_dicom(self) -> bool:
        """Whether its ending or its first bytes are those of DICOM."""
        return self.marked or PurePosixPath(self.name).suffix.lower() in ENDINGS


def nearly_dicom(start: bytes) -> bool:
    """Whether the first 132 bytes of a file are nearly those of DICOM: a mark that is damaged after its preamble."""
    mark = start[128:132]
    letters = sum(found == right for found, right in zip(mark.upper(), b"DICM"))
    return letters >= 2 or (len(mark) == 4 and not any(start[:128]) and any(mark))


def suspects_of(unread: Iterable[Unread], headers: Sequence[SliceHeader]) -> tuple[Unread, ...]:
    """Those of the unread files that may be images: by ending, first bytes, or a name like that of an image."""
    names = {header.file.name for header in headers}
    beside = {(header.file.folder, _pattern(header.file.path.name)) for header in headers}
    paths = {_pattern(name) for name in names}

    def is_suspect(one: Unread) -> bool:
        pattern, path = _pattern(PurePosixPath(one.name).name), _pattern(one.name)
        is_called_alike = ("#" in pattern and (one.file.folder, pattern) in beside) or ("#" in path and path in paths)
        return one.name not in names and (one.seems_dicom or is_called_alike)

    return tuple(sorted(filter(is_suspect, unread), key=lambda one: one.file.name))


def may_be_slices(suspects: Iterable[Unread], slices: Sequence[SliceHeader]) -> list[DicomFile]:
    """The suspects that are likely slices of a series: they lie beside its slices and are called like them.

    Where the slices' names have nothing in common, what has the ending or the first bytes of DICOM is one. Where they
    are spread over folders, another folder called like those counts as beside.
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
    """A name with "#" for its numbers: slices of one export, and they alone, mostly have one pattern."""
    numbers = re.sub(r"[0-9a-f]*\d[0-9a-f]*", "#", name.lower())
    return re.sub(r"#([._-]*#)+", "#", numbers)
