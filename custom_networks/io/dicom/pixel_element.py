"""The pixel data element of a DICOM file, looked at without decoding it (PS3.5 7.1, 8 and A.4)."""

import os
import struct
from typing import BinaryIO

from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
PIXEL_DATA, ITEM, END_OF_ITEMS = (0x7FE0, 0x0010), (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)
UNDEFINED = 0xFFFFFFFF
MISSING = "have no pixel data"
SHORT = "are truncated or damaged, their pixel data end too early"
MISMATCH = "hold pixel data that do not match the declared transfer syntax"
# How the first fragment of each family of syntaxes begins: SOI of JPEG and JPEG-LS; SOC of JPEG 2000, or its file box.
FIRST_BYTES = (
    (("1.2.840.10008.1.2.4.5", "1.2.840.10008.1.2.4.7", "1.2.840.10008.1.2.4.8"), (b"\xff\xd8",)),
    (("1.2.840.10008.1.2.4.9",), (b"\xff\x4f", b"\x00\x00")),
)


def pixel_fault(stream: BinaryIO, syntax: UID, slice_bytes: int) -> str:
    """What is wrong with the pixel data element at which `stream` stands: a predicate for "these files", or "".

    `slice_bytes` is what one slice has at least; struct.error where the file ends within the head of an element.
    """
    if syntax == DeflatedExplicitVRLittleEndian or syntax.is_private or not syntax.is_transfer_syntax:
        return ""  # deflated bytes, which only decoding shows to be wrong, or a syntax that is refused by its name
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    head = stream.read(8)
    if len(head) < 8 or struct.unpack(f"{order}HH", head[:4]) != PIXEL_DATA:
        return MISSING
    explicit = syntax != ImplicitVRLittleEndian and head[4:6].isalpha()
    (length,) = struct.unpack(f"{order}I", stream.read(4) if explicit else head[4:])
    if (length == UNDEFINED) == (syntax in NATIVE):
        return MISMATCH
    here = stream.tell()
    left = stream.seek(0, os.SEEK_END) - here
    stream.seek(here)
    if length == UNDEFINED:
        return _fragments_fault(stream, syntax, left)
    return SHORT if left < length or length < slice_bytes else ""


def _fragments_fault(stream: BinaryIO, syntax: UID, left: int) -> str:
    """Items that do not follow each other up to the delimiter, or that begin as another syntax does."""
    for number in range(left // 8 + 1):
        head = stream.read(8)
        if len(head) < 8:
            return SHORT
        group, element, length = struct.unpack("<HHI", head)
        if (group, element) == END_OF_ITEMS:
            return "" if number > 1 else SHORT
        if (group, element) != ITEM:
            return MISMATCH
        left -= 8 + length
        if left < 0:
            return SHORT
        start = stream.read(min(length, 2))
        if number == 1 and any(syntax.startswith(family) and start not in begin for family, begin in FIRST_BYTES):
            return MISMATCH
        stream.seek(length - len(start), os.SEEK_CUR)
    return SHORT
