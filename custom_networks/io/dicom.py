"""A folder that holds one regular axial CT series becomes a volume; anything irregular is refused with every reason.

ITK's and MONAI's readers average uneven steps, drop shear, merge series and believe SpacingBetweenSlices, all silently;
so positions are taken from ImagePositionPatient alone (DICOM PS3.3 C.7.6.2) and checked here.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import JPEG2000, JPEGExtended12Bit, JPEGLSNearLossless

from custom_networks.errors import InputError
from custom_networks.io.checks import LOWEST_HU, MIN_SLICES, check_geometry
from custom_networks.io.dicom_geometry import normal_of, orientation_reasons, series_affine, stack_reasons
from custom_networks.io.dicom_header import SliceHeader, object_reasons, read_headers, without_copies
from custom_networks.io.slabs import SLAB_SLICES, collect_slabs
from custom_networks.io.volume import Volume

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


def read_dicom_series(folder: Path) -> Volume:
    """Read the DICOM files directly in `folder` as one volume in HU, padding below -1024 HU set to -1024.

    Axes: i along the columns, j along the rows, k along the slice normal, ascending; the affine is RAS+ in mm.

    Raises:
        InputError: no DICOM image, or not exactly one regular axial CT series whose pixels can all be decoded.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's quote values of the file; what matters is refused below
        slices, notes = without_copies(read_headers(folder))
        _refuse(folder, object_reasons(slices))
        slices = _sorted_along_normal(slices)
        _refuse(folder, _series_reasons(slices))
        return _read_regular_series(folder, slices, notes + _series_notes(slices))


def _read_regular_series(folder: Path, slices: Sequence[SliceHeader], notes: tuple[str, ...]) -> Volume:
    """Decode checked and sorted slices."""
    affine = series_affine(np.array([s.position for s in slices]), slices[0].axes, slices[0].spacing)
    shape = (slices[0].columns, slices[0].rows, len(slices))
    notes += check_geometry(shape, affine, folder)
    whole = all(s.slope.is_integer() and s.intercept.is_integer() for s in slices)
    array = collect_slabs(_hounsfield_slabs(slices), shape, whole_numbers=whole, lowest=LOWEST_HU, source=folder)
    return Volume(array, affine, notes, source=folder)


def _refuse(folder: Path, reasons: Sequence[str]) -> None:
    """Raise all reasons as one line, if there are any."""
    if reasons:
        raise InputError(f"{folder} is not one regular axial CT series. " + " ".join(reasons))


def _sorted_along_normal(slices: Sequence[SliceHeader]) -> list[SliceHeader]:
    """By position along the slice normal: neither file names nor InstanceNumber tell where a slice lies."""
    normal = normal_of(slices[0].axes)
    return sorted(slices, key=lambda s: float(np.dot(s.position, normal)))


def _series_reasons(slices: Sequence[SliceHeader]) -> list[str]:
    """All that is irregular about the slices of one series, sorted along their normal."""
    few = len(slices) < MIN_SLICES
    count = f"{len(slices)} slice{'s' * (len(slices) != 1)}"
    reasons = [f"It holds {count}, at least {MIN_SLICES} are needed: give the whole series."] * few
    reasons += _uniformity_reasons(slices) + _decoder_reasons(slices)
    oriented = orientation_reasons([s.axes for s in slices])
    stacked = [] if oriented else stack_reasons(np.array([s.position for s in slices]), slices[0].axes)
    return reasons + oriented + stacked + (_acquisition_reasons(slices) if stacked else [])


def _uniformity_reasons(slices: Sequence[SliceHeader]) -> list[str]:
    """Why slices cannot share one grid: other matrix, other pixel spacing, one UID for several slices."""
    reasons = []
    matrices = Counter((s.columns, s.rows) for s in slices)
    if len(matrices) > 1:
        named = ", ".join(f"{columns} x {rows} ({n})" for (columns, rows), n in matrices.most_common(4))
        reasons.append(f"Its slices differ in size: {named}; export one reconstruction.")
    spacings = np.array([s.spacing for s in slices])
    if np.ptp(spacings, axis=0).max() > 1e-4:
        reasons.append(f"Its pixel spacing differs between slices ({spacings.min():g} to {spacings.max():g} mm).")
    uids = Counter(s.instance_uid for s in slices if s.instance_uid)
    repeated = [uid for uid, n in uids.items() if n > 1]
    if repeated:
        reasons.append(f"SOPInstanceUID {repeated[0]} names slices at different positions: export the series again.")
    return reasons


def _decoder_reasons(slices: Sequence[SliceHeader]) -> list[str]:
    """One sentence for each transfer syntax that cannot be decoded here."""
    from pydicom.pixels.decoders.base import get_decoder  # not in pydicom 2, which MONAI Label needs: it reads no DICOM

    reasons = []
    for syntax in {s.transfer_syntax for s in slices}:
        name = f"Transfer syntax {syntax.name.split(' (')[0]} ({syntax})"
        try:
            available = get_decoder(syntax).is_available
        except NotImplementedError:
            reasons.append(f"{name} is not supported: export the series uncompressed.")
            continue
        if not available:
            reasons.append(f"{name} needs python-gdcm: pip install python-gdcm, or export the series uncompressed.")
    return reasons


def _acquisition_reasons(slices: Sequence[SliceHeader]) -> list[str]:
    """Several acquisitions under one SeriesInstanceUID: what most often lies behind uneven or double positions."""
    numbers = sorted({s.acquisition for s in slices if s.acquisition is not None})
    if len(numbers) < 2:
        return []
    named = ", ".join(map(str, numbers[:6])) + ", ..." * (len(numbers) > 6)
    return [f"{len(numbers)} acquisitions (AcquisitionNumber {named}) share one series: export each on its own."]


def _series_notes(slices: Sequence[SliceHeader]) -> tuple[str, ...]:
    """What was accepted although it is not as the standard wants it, or costs quality."""
    frames = len({s.frame_uid for s in slices})
    return (
        *["The series has no SeriesInstanceUID: all slices were taken as one series."] * (not slices[0].series_uid),
        *[f"FrameOfReferenceUID differs between slices ({frames}): they were taken as one frame."] * (frames > 1),
        *["The pixels were compressed with loss."] * any(s.lossy or s.transfer_syntax in LOSSY for s in slices),
    )


def _hounsfield_slabs(slices: Sequence[SliceHeader]) -> Iterator[np.ndarray]:
    """Yield a few slices at a time in HU, (columns, rows, n)."""
    for start in range(0, len(slices), SLAB_SLICES):
        slab = np.stack([_hounsfield_slice(header) for header in slices[start : start + SLAB_SLICES]])
        yield slab.transpose(2, 1, 0)


def _hounsfield_slice(header: SliceHeader) -> np.ndarray:
    """The pixels of one file in HU by its own slope and intercept, (rows, columns)."""
    stored = _stored_pixels(header)
    if stored.shape != (header.rows, header.columns):
        raise InputError(
            f"{header.path} holds pixels of shape {stored.shape}, one grey slice is needed: export it again."
        )
    return stored.astype(np.float64) * header.slope + header.intercept  # float64: exact for whole numbers


def _stored_pixels(header: SliceHeader) -> np.ndarray:
    """The stored values of one file, (rows, columns); names of patients are not even parsed."""
    try:
        dataset = pydicom.dcmread(header.path, specific_tags=list(PIXEL_TAGS))
        pixels: np.ndarray | None = dataset.pixel_array if "PixelData" in dataset else None
    except Exception as error:  # each decoder has its own errors for damaged data
        raise InputError(
            f"{header.path}: the pixel data cannot be decoded as {header.transfer_syntax.name}, the file is damaged, "
            "incomplete or declares the wrong transfer syntax: export the series again."
        ) from error
    if pixels is None:
        raise InputError(f"{header.path} has no pixel data, it is damaged or incomplete: export the series again.")
    return pixels
