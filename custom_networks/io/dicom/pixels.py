"""Read DICOM slices (single files, or frames of an enhanced CT) in Hounsfield units, and their result headers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import BinaryIO, NamedTuple

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import JPEG2000, UID, JPEGExtended12Bit, JPEGLSNearLossless, RLELossless

from custom_networks.errors import InputError
from custom_networks.io.checks import LOWEST_HU
from custom_networks.io.dicom.enhanced import ENHANCED_TAGS, Frames, frame_views
from custom_networks.io.dicom.files import DicomFile
from custom_networks.io.dicom.header import SliceHeader, quiet_pydicom
from custom_networks.io.dicom.pixel_element import NATIVE
from custom_networks.io.dicom.result_header import RESULT_KEYWORDS, result_header

PIXEL_TAGS = """
    SamplesPerPixel PhotometricInterpretation PlanarConfiguration NumberOfFrames Rows Columns BitsAllocated BitsStored
    HighBit PixelRepresentation PixelData
""".split()
# OverlayBitPosition of overlay planes stored in unused bits of the pixels (PS3.3 C.9.2, retired).
OVERLAY_BITS = [Tag(0x6000 + 2 * plane, 0x0102) for plane in range(16)]
# No CT has larger slices; decoding one of this size takes less than 1 GB.
MOST_PIXELS = 8192 * 8192
LOSSY = (JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000)
# A padding value in this range is ignored: some headers declare 0, which is water, without using it as padding.
TISSUE_HU = (-900, 2500)


def decoder_reason(syntax: UID) -> str:
    """Return a sentence that says why a transfer syntax cannot be decoded on this machine, or "" if it can."""
    from pydicom.pixels.decoders.base import get_decoder  # not in pydicom 2, which MONAI Label requires

    # An unknown syntax is not quoted, because the element could contain any text.
    known = syntax.is_transfer_syntax and not syntax.is_private
    name = f"Transfer syntax {syntax.name.split(' (')[0]} ({syntax})" if known else "An unknown transfer syntax"
    # Pillow and GDCM, which pydicom would use, fail for 12 bits.
    refused = f"{name} is not supported: export the series uncompressed."
    if syntax == JPEGExtended12Bit:
        return refused
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:  # pydicom has no decoder for this syntax at all
        return refused
    return "" if available else f"{name} needs python-gdcm: pip install python-gdcm, or export the series uncompressed."


class ReadSlice(NamedTuple):
    """A slice that has been read.

    Attributes:
        hu: (rows, columns) float64, HU.
        header: the attributes of the slice that DICOM results need.
        note: a clause about unusual pixels, without a period, or "".
    """

    hu: np.ndarray
    header: Dataset
    note: str


def read_slices(headers: Sequence[SliceHeader]) -> Iterator[ReadSlice]:
    """Yield the slices in the given order; a multi-frame file is parsed once for consecutive frames."""
    frames: Frames | None = None
    opened: DicomFile | None = None
    for header in headers:
        if header.frame and header.file != opened:
            frames, opened = _frames_of(header), header.file
        yield read_slice(header, frames if header.frame else None)


def read_slice(header: SliceHeader, frames: Frames | None = None) -> ReadSlice:
    """Read the pixels of a slice in HU, using its own slope and intercept, and its result header.

    Padding becomes -1024 HU. For a frame of an enhanced CT, `frames` is its parsed file; if None, the file is parsed.

    Raises:
        InputError: the pixel data cannot be decoded, are not one grey slice of the declared size, or contain values
            that do not fit into BitsStored.
    """
    cells, overlays, kept = _stored_cells(header, frames)
    if cells.shape != (header.rows, header.columns):
        size = " x ".join(map(str, cells.shape))
        raise InputError(
            f"{header.file} holds pixels of shape {size}, but one grey slice of {header.rows} x {header.columns} is "
            "needed: export the series again."
        )
    padded = np.zeros(cells.shape, bool)
    stored = _only_stored_bits(cells, header)
    if header.padding is not None:
        # For signed pixels, an unsigned padding value is reinterpreted as signed: 63536 is -2000.
        bits, unsigned = 8 * stored.dtype.itemsize, f"u{stored.dtype.itemsize}"
        padding = int(np.array(header.padding % 2**bits, unsigned).view(stored.dtype))
        if not TISSUE_HU[0] <= padding * header.slope + header.intercept <= TISSUE_HU[1]:
            padded = (stored == padding) | (cells == padding)
    note = _unused_bits_note(cells[~padded], overlays, header)
    hu = stored.astype(np.float64) * header.slope + header.intercept  # float64: exact for whole numbers
    hu[padded] = LOWEST_HU
    return ReadSlice(hu, kept, note)


def read_result_headers(headers: Sequence[SliceHeader]) -> Iterator[Dataset]:
    """Yield the result header of each slice without reading pixels; raises InputError if a file is no longer DICOM."""
    views: list[Dataset] = []
    opened: DicomFile | None = None
    for header in headers:
        if header.frame == 0 or header.file != opened:
            with _opened(header) as stream, quiet_pydicom():
                tags = [*RESULT_KEYWORDS, *ENHANCED_TAGS]
                dataset = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=[*tags], force=True)
            views = frame_views(dataset) if header.frame else [dataset]
            opened = header.file
        yield _result_header(views[max(header.frame - 1, 0)], header)


def _result_header(dataset: Dataset, header: SliceHeader) -> Dataset:
    """Return the result header of a slice; for a frame of an enhanced CT, it includes the frame's number."""
    with quiet_pydicom():
        kept = result_header(dataset)
    if header.frame:
        kept.ReferencedFrameNumber = header.frame
    return kept


def is_same_image(one: SliceHeader, other: SliceHeader) -> bool:
    """Whether two files contain the same image, in any transfer syntax; False if one cannot be decoded."""
    try:
        return file_bytes(one) == file_bytes(other) or np.array_equal(read_slice(one).hu, read_slice(other).hu)
    except InputError:
        return False


def are_same_frames(ones: Sequence[SliceHeader], others: Sequence[SliceHeader]) -> bool:
    """Whether two files contain the same frames at the same positions; False if one cannot be decoded."""
    if [s.position for s in ones] != [s.position for s in others]:
        return False
    try:
        pairs = zip(read_slices(ones), read_slices(others))
        return file_bytes(ones[0]) == file_bytes(others[0]) or all(np.array_equal(a[0], b[0]) for a, b in pairs)
    except InputError:
        return False


def file_bytes(header: SliceHeader) -> bytes:
    """Return a slice's file up to the end of its pixel data; raises InputError if it is no longer DICOM."""
    with _opened(header) as stream:
        return stream.read()


def _opened(header: SliceHeader) -> BinaryIO:
    """Read a slice's file into memory up to the end of its pixel data, since gigabytes of zeros may follow."""
    stream = header.file.open()
    if stream is None:
        raise InputError(f"{header.file} has changed and is no longer a DICOM file: export the series again.")
    with stream:
        return BytesIO(stream.read(header.pixel_end or -1))


def _stored_cells(header: SliceHeader, frames: Frames | None) -> tuple[np.ndarray, int, Dataset]:
    """Decode the pixel cells of a slice, and read its result header.

    Returns:
        The cells (rows, columns) including unused bits, a bit mask of overlays, and the header.

    Raises:
        InputError: the cells are missing, too many, or cannot be decoded.
    """
    if header.rows * header.columns > MOST_PIXELS:
        raise InputError(
            f"{header.file} has {header.columns} x {header.rows} pixels, more than any CT image has: give the original "
            "series."
        )
    frames = frames or (_frames_of(header) if header.frame else None)
    with _decoding(header):
        dataset = frames.classic(header.frame) if frames else _parsed(header)
        if header.transfer_syntax in (*NATIVE, RLELossless):
            dataset.BitsStored = dataset.BitsAllocated  # pydicom would clear the upper bits, whatever HighBit says
        pixels: np.ndarray | None = dataset.pixel_array if "PixelData" in dataset else None
        overlays = sum({1 << int(dataset[tag].value) for tag in OVERLAY_BITS if tag in dataset})
    if pixels is None:
        raise InputError(f"{header.file} is damaged or incomplete (it has no pixel data): export the series again.")
    native = pixels.dtype.newbyteorder("=")
    return pixels.astype(native, copy=False), overlays, _result_header(dataset, header)


@contextmanager
def _decoding(header: SliceHeader) -> Iterator[None]:
    """Convert errors in parsing and decoding to InputErrors that name the file."""
    try:
        with quiet_pydicom():
            yield
    except InputError:
        raise
    except Exception as error:  # each decoder has its own errors for damaged data
        raise InputError(
            f"{header.file}: the pixel data cannot be decoded as {header.transfer_syntax.name}; the file is "
            "damaged, incomplete or declares the wrong transfer syntax: export the series again."
        ) from error


def _parsed(header: SliceHeader) -> Dataset:
    """Parse the attributes of a file that are needed for its pixels and for results.

    If the file does not declare its transfer syntax, it is set to the syntax detected for `header`.
    """
    with _opened(header) as stream:
        keywords = (*PIXEL_TAGS, *RESULT_KEYWORDS, *ENHANCED_TAGS * (header.frame > 0))
        dataset = pydicom.dcmread(stream, specific_tags=[*map(Tag, keywords), *OVERLAY_BITS], force=True)
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = header.transfer_syntax
    return dataset


def _frames_of(header: SliceHeader) -> Frames:
    """Parse the file that contains a frame; raises InputError if that fails."""
    with _decoding(header):
        return Frames(_parsed(header))


def _only_stored_bits(cells: np.ndarray, header: SliceHeader) -> np.ndarray:
    """Return the values in pixel cells: the stored bits (PS3.5 8.1.1), sign-extended for signed cells."""
    bits = 8 * cells.dtype.itemsize
    if cells.dtype.kind not in "iu" or not 0 < header.bits < bits:
        return cells
    cleared: np.ndarray = (cells << (bits - 1 - header.top_bit)) >> (bits - header.bits)
    return cleared


def _unused_bits_note(cells: np.ndarray, overlays: int, header: SliceHeader) -> str:
    """Return a note if pixel cells (n,) have bits set above the stored ones that are not declared `overlays`, else "".

    Such bits are usually undeclared old overlays, which are cleared. If they are part of the values, these exceed
    BitsStored, and clearing would make them wrap around. That is assumed for unsigned cells if the bit next to the
    stored ones is set, and for signed cells if only some values are sign-extended.

    Raises:
        InputError: values exceed BitsStored.
    """
    bits = 8 * cells.dtype.itemsize
    if cells.dtype.kind not in "iu" or not 0 < header.bits < bits or header.top_bit == bits - 1:
        return ""
    raw = cells.view(f"u{cells.dtype.itemsize}")
    unused = ((1 << bits) - (2 << header.top_bit)) & ~overlays
    above = raw & unused
    if cells.dtype.kind == "i":
        negative = (raw >> header.top_bit) & 1 == 1
        extended = negative & (above == unused)
        beyond = ~extended & (negative | (above != 0)) if extended.any() else ~negative & (above != 0)
        wraps = bool(extended.any() and beyond.any())
    else:
        beyond = above != 0
        wraps = bool((above & (2 << header.top_bit)).any())
    if wraps:
        raise InputError(
            f"{header.file} holds values that do not fit into the {header.bits} bits of BitsStored: correct the header "
            "or export the series again."
        )
    if not beyond.any():
        return ""
    return f"Pixels have bits set above the {header.bits} of BitsStored, which were taken for old overlays and cleared"
