"""Check, without decoding, that the pixel data element of a file is complete and matches the header.

Decoders trust the size stated in a compressed frame, so that 13 KB of JPEG 2000 can request 10 GB. Therefore that size
is compared with Rows and Columns before anything is decoded.
"""

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO

from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
PIXEL_DATA, ITEM, END_OF_ITEMS = (0x7FE0, 0x0010), (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)
UNDEFINED = 0xFFFFFFFF
MISSING = "have no pixel data"
SHORT = "are truncated or damaged (their pixel data end too early)"
EXCESS = "hold pixel data of more frames than NumberOfFrames"
LONG = "hold more pixel data than Rows, Columns and BitsAllocated allow"
MISMATCH = "hold pixel data that do not match the declared transfer syntax"
OTHER_SIZE = "hold a compressed frame of another size than Rows and Columns"
JPEG_FAMILY = ("1.2.840.10008.1.2.4.5", "1.2.840.10008.1.2.4.7", "1.2.840.10008.1.2.4.8")
JPEG_2000_FAMILY = ("1.2.840.10008.1.2.4.9",)
# First bytes of a frame by family of syntaxes: SOI of JPEG and JPEG-LS; SOC of JPEG 2000, or its file box.
FIRST_BYTES = ((JPEG_FAMILY, (b"\xff\xd8",)), (JPEG_2000_FAMILY, (b"\xff\x4f", b"\x00\x00")))
# JPEG markers followed by the frame size: SOF0 to SOF15 except DHT, JPG and DAC, and SOF55 of JPEG-LS.
FRAME_MARKERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
# Compression can make noise a little larger, and tables and comments are added; RLE expands up to 64 times.
LARGEST_CODED = 2
CODED_EXTRA = 1 << 20
# A shorter frame that states no size is considered truncated rather than of another format.
SMALLEST_CODED = 32
# Maximum number of segments or boxes before the one with the frame size.
MOST_PARTS = 100


@dataclass(frozen=True)
class Expected:
    """Size of the pixel data according to the header.

    Attributes:
        rows: rows of a frame.
        columns: columns of a frame.
        row_bytes: bytes of a row, uncompressed.
        frames: number of frames.
    """

    rows: int
    columns: int
    row_bytes: int
    frames: int = 1

    @property
    def all_bytes(self) -> int:
        """Bytes of all frames, uncompressed."""
        return self.rows * self.row_bytes * self.frames


def pixel_fault(stream: BinaryIO, syntax: UID, expected: Expected) -> tuple[str, int]:
    """Check the pixel data element at the current position of `stream` (PS3.5 7.1, 8 and A.4).

    With an unknown or private transfer syntax, nothing is checked.

    Returns:
        The fault as a phrase, "" if there is none, and the offset where the element ends, 0 if unknown.

    Raises:
        struct.error: the file ends within the element's header.
    """
    if syntax.is_private or not syntax.is_transfer_syntax:
        return "", 0  # refused elsewhere
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    head = stream.read(8)
    if len(head) < 8 or struct.unpack(f"{order}HH", head[:4]) != PIXEL_DATA:
        return MISSING, 0
    explicit = syntax != ImplicitVRLittleEndian and head[4:6].isalpha()
    (length,) = struct.unpack(f"{order}I", stream.read(4) if explicit else head[4:])
    if (length == UNDEFINED) == (syntax in NATIVE):
        return MISMATCH, 0
    here = stream.tell()
    left = stream.seek(0, os.SEEK_END) - here
    stream.seek(here)
    if length == UNDEFINED:
        return _fragments_fault(stream, syntax, left, expected), stream.tell()
    if left < length or length < expected.all_bytes:
        return SHORT, 0
    if expected.frames > 1:
        return EXCESS if length > expected.all_bytes + 1 else "", here + length
    # Less than a row of extra bytes may be padding, but a whole extra row is not.
    return LONG if length >= expected.all_bytes + max(expected.row_bytes, 2) else "", here + length


def _fragments_fault(stream: BinaryIO, syntax: UID, left: int, expected: Expected) -> str:
    """Check encapsulated pixel data: its items up to the delimiter, and that frames match syntax and header.

    The first item is the offset table; each frame consists of one or more fragments. Returns the fault, or "".
    """
    most = LARGEST_CODED * expected.all_bytes + CODED_EXTRA
    for number in range(left // 8 + 1):
        head = stream.read(8)
        if len(head) < 8:
            return SHORT
        group, element, length = struct.unpack("<HHI", head)
        if (group, element) == END_OF_ITEMS:
            return "" if number > expected.frames else SHORT
        if (group, element) != ITEM:
            return MISMATCH
        left -= 8 + length
        most -= length
        if left < 0 or most < 0:
            return SHORT if left < 0 else LONG
        after = stream.tell() + length
        fault = _frame_fault(stream, syntax, length, expected, number == 1) if number else ""
        if fault:
            return fault
        stream.seek(after)
    return SHORT


def _frame_fault(stream: BinaryIO, syntax: UID, length: int, expected: Expected, first: bool) -> str:
    """Check the fragment at the current position of `stream`; later fragments may continue a frame.

    Returns the fault, or "".
    """
    start = stream.read(min(length, 2))
    for family, begin in FIRST_BYTES:
        if not syntax.startswith(family):
            continue
        if start not in begin:
            return MISMATCH if first else ""
        size = _jpeg_size(stream) if family is JPEG_FAMILY else _jpeg_2000_size(stream, boxed=start == b"\x00\x00")
        if size is None:
            return MISMATCH if first and length >= SMALLEST_CODED else ""
        return OTHER_SIZE if size != (expected.rows, expected.columns) else ""
    return ""


def _jpeg_size(stream: BinaryIO) -> tuple[int, int] | None:
    """Read rows and columns of a JPEG or JPEG-LS frame after its SOI marker (ITU T.81 B.2.2); None if not found."""
    for _ in range(MOST_PARTS):
        head = stream.read(4)
        if len(head) < 4 or head[0] != 0xFF:
            return None
        marker, (length,) = head[1], struct.unpack(">H", head[2:])
        if marker == 0xFF:  # fill bytes may precede a marker
            stream.seek(-3, os.SEEK_CUR)
        elif marker in FRAME_MARKERS:
            sizes = stream.read(5)
            return struct.unpack(">xHH", sizes) if len(sizes) == 5 else None
        elif length < 2:
            return None
        else:
            stream.seek(length - 2, os.SEEK_CUR)
    return None


def _jpeg_2000_size(stream: BinaryIO, boxed: bool) -> tuple[int, int] | None:
    """Read rows and columns of a JPEG 2000 frame after its first two bytes (ITU T.800 A.5.1); None if not found.

    With `boxed`, the boxes of a JP2 file around the frame are skipped.
    """
    if boxed:
        stream.seek(-2, os.SEEK_CUR)
        for _ in range(MOST_PARTS):
            head = stream.read(8)
            length, kind = struct.unpack(">I4s", head) if len(head) == 8 else (0, b"")
            if length < 8 or kind == b"jp2c":
                break
            stream.seek(length - 8, os.SEEK_CUR)
        stream.seek(2, os.SEEK_CUR)  # SOC
    head = stream.read(22)
    if len(head) < 22 or head[:2] != b"\xff\x51":
        return None
    right, bottom, left, top = struct.unpack(">6xIIII", head)
    return bottom - top, right - left
