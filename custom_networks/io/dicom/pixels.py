"""From single DICOM files to Hounsfield units, and to the headers that results need."""

from typing import BinaryIO

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000, UID, JPEGExtended12Bit, JPEGLSNearLossless

from custom_networks.errors import InputError
from custom_networks.io.checks import LOWEST_HU
from custom_networks.io.dicom.header import SliceHeader, quiet_pydicom
from custom_networks.io.dicom.result_header import RESULT_KEYWORDS, result_header

PIXEL_TAGS = """
    SamplesPerPixel PhotometricInterpretation PlanarConfiguration NumberOfFrames Rows Columns BitsAllocated BitsStored
    HighBit PixelRepresentation PixelData
""".split()
LOSSY = (JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000)
# A padding value is believed only where no tissue is: headers declare 0, which is water, and then do not mean it.
TISSUE_HU = (-900, 2500)


def decoder_reason(syntax: UID) -> str:
    """Why a transfer syntax cannot be decoded here: one sentence, or "" if it can."""
    from pydicom.pixels.decoders.base import get_decoder  # not in pydicom 2, which MONAI Label needs: it reads no DICOM

    name = f"Transfer syntax {syntax.name.split(' (')[0]} ({syntax})"
    # Pillow and GDCM, which pydicom would try, fail on 12 bits.
    refused = f"{name} is not supported: export the series uncompressed."
    if syntax == JPEGExtended12Bit:
        return refused
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:  # pydicom: it has no decoder of this syntax at all
        return refused
    return "" if available else f"{name} needs python-gdcm: pip install python-gdcm, or export the series uncompressed."


def read_slice(header: SliceHeader) -> tuple[np.ndarray, Dataset]:
    """Open a file for its pixels in HU by its own slope and intercept, float64 (rows, columns), and its result header.

    Padding is given as -1024 HU. InputError where the pixel data cannot be decoded, or are not one grey slice of the
    declared size.
    """
    stored, kept = _stored_pixels(header)
    if stored.shape != (header.rows, header.columns):
        raise InputError(
            f"{header.file} holds pixels of shape {stored.shape}, one grey slice is needed: export it again."
        )
    hu = stored.astype(np.float64) * header.slope + header.intercept  # float64: exact for whole numbers
    if header.padding is not None:
        # Written as unsigned in a signed image, it means what the same bits mean as signed: 63536 is -2000.
        bits, unsigned = 8 * stored.dtype.itemsize, f"u{stored.dtype.itemsize}"
        padding = int(np.array(header.padding % 2**bits, unsigned).view(stored.dtype))
        if not TISSUE_HU[0] <= padding * header.slope + header.intercept <= TISSUE_HU[1]:
            hu[stored == padding] = LOWEST_HU
    return hu, kept


def read_result_header(header: SliceHeader) -> Dataset:
    """Open a file for its result header alone; InputError where it is no DICOM file any more."""
    with _opened(header) as stream, quiet_pydicom():
        dataset = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=list(RESULT_KEYWORDS), force=True)
        return result_header(dataset)


def is_same_image(one: SliceHeader, other: SliceHeader) -> bool:
    """Whether two files are equal or hold the same picture, in any transfer syntax; False if one is undecodable."""
    try:
        return file_bytes(one) == file_bytes(other) or np.array_equal(read_slice(one)[0], read_slice(other)[0])
    except InputError:
        return False


def file_bytes(header: SliceHeader) -> bytes:
    """The whole file of a slice; InputError where it is no DICOM file any more."""
    with _opened(header) as stream:
        return stream.read()


def _opened(header: SliceHeader) -> BinaryIO:
    stream = header.file.open()
    if stream is None:
        raise InputError(f"{header.file} has changed and is no DICOM file any more: export the series again.")
    return stream


def _stored_pixels(header: SliceHeader) -> tuple[np.ndarray, Dataset]:
    """The stored values of one file, (rows, columns), and its result header."""
    with _opened(header) as stream, quiet_pydicom():
        try:
            dataset = pydicom.dcmread(stream, specific_tags=[*PIXEL_TAGS, *RESULT_KEYWORDS], force=True)
            if "TransferSyntaxUID" not in dataset.file_meta:
                dataset.file_meta.TransferSyntaxUID = header.transfer_syntax
            pixels: np.ndarray | None = dataset.pixel_array if "PixelData" in dataset else None
        except Exception as error:  # each decoder has its own errors for damaged data
            raise InputError(
                f"{header.file}: the pixel data cannot be decoded as {header.transfer_syntax.name}, the file is "
                "damaged, incomplete or declares the wrong transfer syntax: export the series again."
            ) from error
        if pixels is None:
            raise InputError(f"{header.file} has no pixel data, it is damaged or incomplete: export the series again.")
        return _only_stored_bits(pixels, header), result_header(dataset)


def _only_stored_bits(pixels: np.ndarray, header: SliceHeader) -> np.ndarray:
    """`pixels` without the bits above and below those stored (old overlays lie there), the sign extended."""
    bits = 8 * pixels.dtype.itemsize
    if pixels.dtype.kind not in "iu" or not 0 < header.bits <= header.high_bit + 1 <= bits or header.bits == bits:
        return pixels
    cleared: np.ndarray = (pixels << (bits - 1 - header.high_bit)) >> (bits - header.bits)
    return cleared
