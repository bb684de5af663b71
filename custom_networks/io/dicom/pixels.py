"""From the pixel data of single DICOM files to Hounsfield units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pydicom
from pydicom.uid import JPEG2000, UID, JPEGExtended12Bit, JPEGLSNearLossless

from custom_networks.errors import InputError
from custom_networks.io.checks import LOWEST_HU
from custom_networks.io.dicom.header import SliceHeader, quiet_pydicom
from custom_networks.io.slabs import SLAB_SLICES

PIXEL_TAGS = [
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelData",
]
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


def hounsfield_slabs(slices: Sequence[SliceHeader]) -> Iterator[np.ndarray]:
    """Yield a few slices at a time in HU, (columns, rows, n)."""
    for start in range(0, len(slices), SLAB_SLICES):
        slab = np.stack([hounsfield_slice(header) for header in slices[start : start + SLAB_SLICES]])
        yield slab.transpose(2, 1, 0)


def hounsfield_slice(header: SliceHeader) -> np.ndarray:
    """The pixels of one file in HU by its own slope and intercept, float64 (rows, columns); padding as -1024 HU.

    Raises:
        InputError: the pixel data cannot be decoded, or are not one grey slice of the declared size.
    """
    stored = _stored_pixels(header)
    if stored.shape != (header.rows, header.columns):
        raise InputError(
            f"{header.file} holds pixels of shape {stored.shape}, one grey slice is needed: export it again."
        )
    hu = stored.astype(np.float64) * header.slope + header.intercept  # float64: exact for whole numbers
    padding = _padding_value(header, stored.dtype)
    if padding is not None:
        hu[stored == padding] = LOWEST_HU
    return hu


def is_same_image(one: SliceHeader, other: SliceHeader) -> bool:
    """Whether two files are equal or hold the same picture, in any transfer syntax; False if one is undecodable."""
    with one.file.open() as first, other.file.open() as second:
        if first.read() == second.read():
            return True
    try:
        return np.array_equal(hounsfield_slice(one), hounsfield_slice(other))
    except InputError:
        return False


def _padding_value(header: SliceHeader, dtype: np.dtype) -> int | None:
    """The stored value that stands for "no image here" (PS3.3 C.7.5.1.1.2), None if there is none to believe in.

    Written as unsigned in a signed image it means what the same bits mean as signed: 63536 is -2000.
    """
    if header.padding is None:
        return None
    value = int(np.array(header.padding % 2 ** (8 * dtype.itemsize), f"u{dtype.itemsize}").view(dtype))
    hu = value * header.slope + header.intercept
    return None if TISSUE_HU[0] <= hu <= TISSUE_HU[1] else value


def _stored_pixels(header: SliceHeader) -> np.ndarray:
    """The stored values of one file, (rows, columns); names of patients are not even parsed."""
    with header.file.open() as stream, quiet_pydicom():
        try:
            dataset = pydicom.dcmread(stream, specific_tags=list(PIXEL_TAGS), force=True)
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
    return _only_stored_bits(pixels, header)


def _only_stored_bits(pixels: np.ndarray, header: SliceHeader) -> np.ndarray:
    """`pixels` without the bits above and below those stored (old overlays lie there), the sign extended."""
    bits = 8 * pixels.dtype.itemsize
    if pixels.dtype.kind not in "iu" or not 0 < header.bits <= header.high_bit + 1 <= bits or header.bits == bits:
        return pixels
    cleared: np.ndarray = (pixels << (bits - 1 - header.high_bit)) >> (bits - header.bits)
    return cleared
