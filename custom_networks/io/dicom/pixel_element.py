"""The pixel data element of a DICOM file, looked at without decoding it (PS3.5 7.1, 8 and A.4)."""

from __future__ import annotations

import os
import struct
from typing import BinaryIO, NamedTuple

from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
PIXEL_DATA = (0x7FE0, 0x0010)
ITEM, END_OF_ITEMS = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)
UNDEFINED = 0xFFFFFFFF
MISSING = "have no pixel data"
SHORT = "are truncated or damaged, their pixel data end too early"
MISMATCH = "hold pixel data that do not match the declared transfer syntax"
# How the first fragment of each family of syntaxes begins: SOI of JPEG and JPEG-LS; SOC of JPEG 2000, or its file box.
JPEG_FAMILY, JPEG_START = ("1.2.840.10008.1.2.4.5", "1.2.840.10008.1.2.4.7", "1.2.840.10008.1.2.4.8"), (b"\xff\xd8",)
JPEG_2000_FAMILY, JPEG_2000_START = ("1.2.840.10008.1.2.4.9",), (b"\xff\x4f", b"\x00\x00")


class PixelShape(NamedTuple):
    """Size of one slice of one sample a pixel."""

    rows: int
    columns: int
    bits_allocated: int


def pixel_fault(stream: BinaryIO, syntax: UID, shape: PixelShape) -> str:
    """What is wrong with the pixel data element at which `stream` stands: a predicate for "these files", or "".

    Raises:
        struct.error: the file ends within the head of an element.
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
    return _fragments_fault(stream, syntax) if length == UNDEFINED else _native_fault(stream, length, shape)


def _native_fault(stream: BinaryIO, length: int, shape: PixelShape) -> str:
    """Fewer bytes than the element declares, or than one slice has."""
    one_slice = shape.rows * shape.columns * shape.bits_allocated // 8
    return SHORT if _bytes_left(stream) < length or length < one_slice else ""


def _bytes_left(stream: BinaryIO) -> int:
    here = stream.tell()
    end = stream.seek(0, os.SEEK_END)
    stream.seek(here)
    return end - here


def _fragments_fault(stream: BinaryIO, syntax: UID) -> str:
    """Items that do not follow each other up to the delimiter, or that begin as another syntax does."""
    left = _bytes_left(stream)
    for number in range(left // 8 + 1):
        head = stream.read(8)
        left -= 8
        if len(head) < 8:
            return SHORT
        group, element, length = struct.unpack("<HHI", head)
        if (group, element) == END_OF_ITEMS:
            return "" if number > 1 else SHORT
        if (group, element) != ITEM:
            return MISMATCH
        left -= length
        if left < 0:
            return SHORT
        start = stream.read(min(length, 2))
        if number == 1 and not _starts_as(syntax, start):
            return MISMATCH
        stream.seek(length - len(start), os.SEEK_CUR)
    return SHORT


def _starts_as(syntax: UID, start: bytes) -> bool:
    """Whether a first fragment can be of this transfer syntax."""
    if syntax.startswith(JPEG_FAMILY):
        return start in JPEG_START
    return start in JPEG_2000_START if syntax.startswith(JPEG_2000_FAMILY) else True
