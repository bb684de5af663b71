"""What each DICOM file says it is, without its pixels and without anything that names a patient."""

from __future__ import annotations

import hashlib
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
import pydicom
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from custom_networks.io.dicom.files import DicomFile
from custom_networks.io.dicom.pixel_element import PixelShape, pixel_fault

# PixelRepresentation tells pydicom the VR of PixelPaddingValue where the file does not.
HEADER_TAGS = """
    SOPClassUID SOPInstanceUID PatientID PatientName PatientBirthDate StudyInstanceUID SeriesInstanceUID SeriesNumber
    SeriesDescription ProtocolName ContrastBolusAgent FrameOfReferenceUID Modality ImageType AcquisitionNumber
    NumberOfFrames SamplesPerPixel Rows Columns BitsAllocated BitsStored HighBit PixelRepresentation PixelPaddingValue
    PixelSpacing ImageOrientationPatient ImagePositionPatient RescaleSlope RescaleIntercept RescaleType
    LossyImageCompression
""".split()
NAN = float("nan")


@dataclass(frozen=True)
class SliceHeader:
    """The technical part of one file's header; lengths in mm, LPS; NaN, 0 or "" where the file does not say it.

    `axes` is (2, 3), the unit vectors along a row and along a column; `spacing` between rows, then between columns.
    `patient` is a digest that tells patients apart and names none. `pixel_fault` says what is wrong with the pixel
    data as far as that is seen without decoding them, "" if nothing.
    """

    file: DicomFile
    modality: str
    sop_class: str
    instance_uid: str
    own_instance_uid: bool
    patient: str = field(repr=False)
    study_uid: str
    series_uid: str
    series_number: int
    description: str = field(repr=False)
    protocol: str = field(repr=False)
    contrast: bool
    frame_uid: str
    transfer_syntax: UID
    image_type: tuple[str, ...]
    acquisition: int | None
    frames: int
    samples: int
    rows: int
    columns: int
    bits_allocated: int
    bits: int
    high_bit: int
    padding: int | None
    spacing: tuple[float, ...]
    axes: np.ndarray
    position: tuple[float, ...]
    slope: float
    intercept: float
    rescale_type: str
    lossy: bool
    pixel_fault: str

    @property
    def placed(self) -> bool:
        """Whether it has a position, a pixel spacing, and an orientation of two vectors at a right angle."""
        right_angle = abs(float(self.axes[0] @ self.axes[1])) < 1e-2
        return bool(np.isfinite(self.position).all()) and min(self.spacing) > 0 and right_angle


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Without pydicom's warnings, which quote values of the file; what matters is refused in our own words."""
    log = logging.getLogger("pydicom")
    before = log.disabled
    log.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.disabled = before


def read_header(file: DicomFile, stream: BinaryIO) -> SliceHeader | None:
    """Parse one header; None for what pydicom cannot make sense of."""
    try:
        dataset = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=[*HEADER_TAGS], force=True)
        return _slice_header(file, dataset, stream)
    except Exception:  # pydicom has no common error for bytes that are not what they say
        return None


def _slice_header(file: DicomFile, dataset: pydicom.Dataset, stream: BinaryIO) -> SliceHeader:
    meta = dataset.file_meta
    orientation = np.reshape(_numbers(dataset, "ImageOrientationPatient", 6), (2, 3))
    bits_allocated, bits = _whole(dataset, "BitsAllocated") or 16, _whole(dataset, "BitsStored") or 0
    shape = PixelShape(_whole(dataset, "Rows") or 0, _whole(dataset, "Columns") or 0, bits_allocated)
    syntax = _transfer_syntax(dataset)
    return SliceHeader(
        file=file,
        modality=_modality(str(dataset.get("Modality") or "").strip()),
        sop_class=_uid(dataset.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID")),
        instance_uid=_uid(dataset.get("SOPInstanceUID") or meta.get("MediaStorageSOPInstanceUID")),
        own_instance_uid=bool(dataset.get("SOPInstanceUID")),
        patient=_patient(dataset),
        study_uid=_uid(dataset.get("StudyInstanceUID")),
        series_uid=_uid(dataset.get("SeriesInstanceUID")),
        series_number=_whole(dataset, "SeriesNumber") or 0,
        description=str(dataset.get("SeriesDescription") or "").strip(),
        protocol=str(dataset.get("ProtocolName") or "").strip(),
        contrast=bool(dataset.get("ContrastBolusAgent")),
        frame_uid=_uid(dataset.get("FrameOfReferenceUID")),
        transfer_syntax=syntax,
        image_type=tuple(str(value).strip().upper() for value in _values(dataset.get("ImageType"))),
        acquisition=_whole(dataset, "AcquisitionNumber"),
        frames=_whole(dataset, "NumberOfFrames") or 1,
        samples=_whole(dataset, "SamplesPerPixel") or 1,
        rows=shape.rows,
        columns=shape.columns,
        bits_allocated=bits_allocated,
        bits=bits,
        high_bit=bits - 1 if (high := _whole(dataset, "HighBit")) is None else high,
        padding=_whole(dataset, "PixelPaddingValue"),
        spacing=_numbers(dataset, "PixelSpacing", 2),
        axes=orientation / np.maximum(np.linalg.norm(orientation, axis=1, keepdims=True), 1e-9),
        position=_numbers(dataset, "ImagePositionPatient", 3),
        slope=_numbers(dataset, "RescaleSlope", 1)[0],
        intercept=_numbers(dataset, "RescaleIntercept", 1)[0],
        rescale_type=str(dataset.get("RescaleType") or "").upper(),
        lossy=str(dataset.get("LossyImageCompression") or "") == "01",
        pixel_fault=pixel_fault(stream, syntax, shape),
    )


def _transfer_syntax(dataset: pydicom.Dataset) -> UID:
    """The declared one; where the file has no meta information, what pydicom found the data set to be written in."""
    declared = _uid(dataset.file_meta.get("TransferSyntaxUID"))
    if declared:
        return UID(declared)
    implicit, _ = dataset.original_encoding
    return UID(ImplicitVRLittleEndian if implicit or implicit is None else ExplicitVRLittleEndian)


def _patient(dataset: pydicom.Dataset) -> str:
    """A digest that is equal for one patient's images and tells two patients apart; "" where nothing names one.

    PatientID counts where there is one, else PatientName, which is often spelled in several ways; each with the date
    of birth, since two hospitals give the same ID to different people.
    """
    name, number = (re.sub(r"\W", "", str(dataset.get(k) or "")).upper() for k in ("PatientName", "PatientID"))
    birth = str(dataset.get("PatientBirthDate") or "").strip()
    if not (number or name):
        return ""
    return hashlib.sha256(f"{number or '^' + name}/{birth}".encode()).hexdigest()


def _modality(text: str) -> str:
    """A modality as the standard writes it; in a damaged header the text can run on into the patient's name."""
    return text if re.fullmatch("|[A-Z]{2,10}", text) else "unknown"


def _uid(value: object) -> str:
    """A UID as text, without anything that no UID holds."""
    return re.sub(r"[^0-9.]", "", str(value or ""))[:64]


def _whole(dataset: pydicom.Dataset, keyword: str) -> int | None:
    """A whole number, None where the element is absent, empty or holds anything else."""
    try:
        return int(str(dataset.get(keyword)))
    except (TypeError, ValueError):
        return None


def _values(value: object) -> Sequence[object]:
    """The values of an element of any multiplicity."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)  # type: ignore[arg-type]


def _numbers(dataset: pydicom.Dataset, keyword: str, count: int) -> tuple[float, ...]:
    """`count` numbers of one element; all NaN where it is absent or holds anything else."""
    try:
        value = dataset.get(keyword)
        numbers = tuple(float(part) for part in (value if isinstance(value, Sequence) else (value,)))
    except (TypeError, ValueError):
        numbers = ()
    return numbers if len(numbers) == count and bool(np.isfinite(numbers).all()) else (NAN,) * count
