"""Read the technical part of DICOM headers, without pixels and without text that identifies a patient."""

import hashlib
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import Field, dataclass, field, fields, replace
from functools import partial
from typing import Any, BinaryIO

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from custom_networks.io.dicom.enhanced import ENHANCED_CT, ENHANCED_TAGS, FRAME_KEYWORDS, checked_views
from custom_networks.io.dicom.files import DicomFile
from custom_networks.io.dicom.pixel_element import Expected, pixel_fault

# Attributes, besides the size, that are needed to interpret the pixels (PS3.3 C.7.6.3).
PIXEL_MODULE = ("SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "PixelRepresentation")
NAN = float("nan")  # a single object, so that unknown positions are equal as dictionary keys


# Defined terms of Modality (PS3.3 C.7.3.1.1.1). Other values are never quoted, since they could be a patient's name.
MODALITIES = frozenset("""
    ANN AR ASMT AU BDUS BI BMD CD CF CP CR CS CT CTPROTOCOL DD DF DG DM DMS DOC DS DX EC ECG EEG EMG EOG EPS ES FA FID
    FS GM HC HD IO IOL IVOCT IVUS KER KO LEN LP LS M3D MA MG MR MRPROTOCOL MS NM OAM OCT OP OPF OPM OPR OPT OPTBSV
    OPTENF OPV OSS OT PA PLAN POS PR PT PX REG RESP RF RG RTDOSE RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD RTSEGANN
    RTSTRUCT RWV SEG SM SMR SR SRF ST STAIN TEXTUREMAP TG TD US VA VF XA XAPROTOCOL XC
    """.split())


def uid_text(value: object) -> str:
    """Return a UID as text without padding, otherwise unmodified, so that only identical UIDs are equal."""
    parts = value if isinstance(value, MultiValue) else [value or ""]
    return "\\".join(str(part) for part in parts).strip(" \0")


def is_uid(text: str) -> bool:
    """Whether a text is a valid UID: digits and dots, at most 64 characters (PS3.5 9.1).

    Leading zeros, which the standard forbids, are accepted, because they are common and harmless.
    """
    return len(text) <= 64 and re.fullmatch(r"\d+(\.\d+)*", text) is not None


def _uid(dataset: Dataset, keyword: str) -> str:
    """Return a UID as text; if SOPClassUID or SOPInstanceUID is empty, its copy in the file meta information."""
    return uid_text(dataset.get(keyword) or dataset.file_meta.get(f"MediaStorage{keyword}"))


def _text(dataset: Dataset, keyword: str) -> str:
    return str(dataset.get(keyword) or "").strip()


def _words(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """Return the values of a text element of any multiplicity, in upper case."""
    value = dataset.get(keyword)
    values = () if value is None else (value,) if isinstance(value, str) else tuple(value)
    return tuple(str(word).strip().upper() for word in values)


def _modality(dataset: Dataset, keyword: str) -> str:
    """Return the modality, or "unknown" if it is not a defined term: a damaged header can have a name there."""
    text = _text(dataset, keyword)
    return text if not text or text in MODALITIES else "unknown"


def _whole(dataset: Dataset, keyword: str, empty: int | None = None) -> int | None:
    """Return an integer, or `empty` if the element is missing, empty or not a whole number.

    If `empty` is not None, it also replaces 0.
    """
    try:
        number = int(str(dataset.get(keyword)))
    except (TypeError, ValueError):
        return empty
    return number if empty is None else number or empty


def _numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...]:
    """Return the `count` finite numbers of an element, or NaNs if it is missing or not valid."""
    try:
        value = dataset.get(keyword)
        numbers = tuple(float(part) for part in (value if isinstance(value, Sequence) else (value,)))
    except (TypeError, ValueError):
        numbers = ()
    return numbers if len(numbers) == count and bool(np.isfinite(numbers).all()) else (NAN,) * count


def _number(dataset: Dataset, keyword: str) -> float:
    return _numbers(dataset, keyword, 1)[0]


def _hint(dataset: Dataset, keyword: str) -> float:
    """Return a number that is not essential; NaN if it is missing or not valid, even if pydicom cannot parse it."""
    try:
        return _number(dataset, keyword)
    except Exception:  # pydicom has no common error for values of a wrong type
        return NAN


def _axes(dataset: Dataset, keyword: str) -> np.ndarray:
    """Return the (2, 3) unit vectors of an orientation, or NaNs if it is missing or not valid."""
    axes = np.reshape(_numbers(dataset, keyword, 6), (2, 3))
    return axes / np.maximum(np.linalg.norm(axes, axis=1, keepdims=True), 1e-9)


def _absent(dataset: Dataset, *keywords: str) -> tuple[str, ...]:
    """Return the keywords whose elements are missing or empty."""
    return tuple(keyword for keyword in keywords if dataset.get(keyword) is None)


def _high_bit(dataset: Dataset, keyword: str) -> int | None:
    """Return HighBit or, if it is missing or not a whole number, BitsStored - 1."""
    high = _whole(dataset, keyword)
    return (_whole(dataset, "BitsStored") or 0) - 1 if high is None else high


def _patient(dataset: Dataset, *keywords: str) -> str:
    """Return a digest that identifies a patient, or "" if both PatientID and PatientName are empty.

    It is based on PatientID (PatientName is only a fallback, because spellings vary) and on the date of birth, since
    two hospitals can give the same ID to different people.
    """
    name, number, birth = (_text(dataset, keyword) for keyword in keywords)
    name, number = (re.sub(r"\W", "", text).upper() for text in (name, number))
    return hashlib.sha256(f"{number or '^' + name}/{birth}".encode()).hexdigest() if number or name else ""


def _read_by(read: Callable[..., Any], *keywords: str, **options: Any) -> Any:
    """Declare a dataclass field that is read from the elements with these keywords by the function `read`."""
    return field(repr=False, metadata={"read": partial(read, **options), "keywords": keywords})


@dataclass(frozen=True)
class SliceHeader:
    """The technical part of the header of one file, or of one frame of an enhanced CT.

    Lengths are in mm, coordinates are LPS. Missing values are NaN, None, 0, "" or (), except for `frames` and `samples`
    (1), `bits_allocated` (16) and `high_bit` (BitsStored - 1). Most attributes are named after the DICOM attribute they
    are read from. The others are:

    Attributes:
        pixel_fault: fault of the pixel data that can be found without decoding, as a phrase; "" if there is none.
        pixel_end: offset in the file where the pixel data end, 0 if unknown.
        patient: digest that identifies the patient without naming them.
        absent: keywords of the missing attributes that are needed to interpret the pixels.
        spacing: distance between rows, then between columns.
        axes: (2, 3) unit vectors along a row and along a column.
        frame: frame number in an enhanced CT, counted from 1; 0 for a whole file.
        frame_fault: why the frames of a multi-frame file could not be separated; "" if they could.
    """

    file: DicomFile
    transfer_syntax: UID
    pixel_fault: str
    pixel_end: int
    modality: str = _read_by(_modality, "Modality")
    sop_class: str = _read_by(_uid, "SOPClassUID")
    instance_uid: str = _read_by(_uid, "SOPInstanceUID")
    own_instance_uid: str = _read_by(_text, "SOPInstanceUID")
    patient: str = _read_by(_patient, "PatientName", "PatientID", "PatientBirthDate")
    study_uid: str = _read_by(_uid, "StudyInstanceUID")
    series_uid: str = _read_by(_uid, "SeriesInstanceUID")
    series_number: int = _read_by(_whole, "SeriesNumber", empty=0)
    description: str = _read_by(_text, "SeriesDescription")
    protocol: str = _read_by(_text, "ProtocolName")
    thickness: float = _read_by(_hint, "SliceThickness")
    contrast: str = _read_by(_text, "ContrastBolusAgent")
    height_m: float = _read_by(_hint, "PatientSize")
    weight_kg: float = _read_by(_hint, "PatientWeight")
    frame_uid: str = _read_by(_uid, "FrameOfReferenceUID")
    image_type: tuple[str, ...] = _read_by(_words, "ImageType")
    acquisition: int | None = _read_by(_whole, "AcquisitionNumber")
    instance_number: int | None = _read_by(_whole, "InstanceNumber")
    kernel: tuple[str, ...] = _read_by(_words, "ConvolutionKernel")
    frames: int = _read_by(_whole, "NumberOfFrames", empty=1)
    samples: int = _read_by(_whole, "SamplesPerPixel", empty=1)
    rows: int = _read_by(_whole, "Rows", empty=0)
    columns: int = _read_by(_whole, "Columns", empty=0)
    bits_allocated: int = _read_by(_whole, "BitsAllocated", empty=16)
    photometric: str = _read_by(_text, "PhotometricInterpretation")
    absent: tuple[str, ...] = _read_by(_absent, *PIXEL_MODULE)
    bits: int = _read_by(_whole, "BitsStored", empty=0)
    high_bit: int = _read_by(_high_bit, "HighBit")
    padding: int | None = _read_by(_whole, "PixelPaddingValue")
    spacing: tuple[float, ...] = _read_by(_numbers, "PixelSpacing", count=2)
    axes: np.ndarray = _read_by(_axes, "ImageOrientationPatient")
    position: tuple[float, ...] = _read_by(_numbers, "ImagePositionPatient", count=3)
    slope: float = _read_by(_number, "RescaleSlope")
    intercept: float = _read_by(_number, "RescaleIntercept")
    rescale_type: str = _read_by(_text, "RescaleType")
    lossy: bool = _read_by(lambda dataset, keyword: _text(dataset, keyword) == "01", "LossyImageCompression")
    stack_id: str = _read_by(_text, "StackID")
    phase: int | None = _read_by(_whole, "TemporalPositionIndex")
    frame: int = 0
    frame_fault: str = ""

    @property
    def placed(self) -> bool:
        """Whether position, pixel spacing and an orientation of two perpendicular vectors are known."""
        right_angle = abs(float(self.axes[0] @ self.axes[1])) < 1e-2
        return bool(np.isfinite(self.position).all()) and min(self.spacing) > 0 and right_angle

    @property
    def top_bit(self) -> int:
        """HighBit if it is present and consistent with BitsStored and BitsAllocated, else BitsStored - 1."""
        return self.high_bit if self.bits <= self.high_bit + 1 <= self.bits_allocated else self.bits - 1


READ_FIELDS = [attribute for attribute in fields(SliceHeader) if attribute.metadata]
HEADER_TAGS = sorted({keyword for read in READ_FIELDS for keyword in read.metadata["keywords"]})
FRAME_FIELDS = [attribute for attribute in READ_FIELDS if FRAME_KEYWORDS & set(attribute.metadata["keywords"])]


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Silence pydicom's warnings, which can quote patient data; relevant faults are reported by our own checks."""
    log = logging.getLogger("pydicom")
    before = log.disabled
    log.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.disabled = before


def read_headers(file: DicomFile, stream: BinaryIO) -> tuple[SliceHeader, ...]:
    """Parse the header of a file; return one record, or one for each frame of a readable enhanced CT.

    The result is empty if pydicom cannot parse the file.
    """
    try:
        tags = [*HEADER_TAGS, *ENHANCED_TAGS]
        dataset = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=[*tags], force=True)
        values = _values(dataset, READ_FIELDS)
        syntax = _transfer_syntax(dataset)
        row_bytes = values["columns"] * values["samples"] * values["bits_allocated"] // 8
        expected = Expected(values["rows"], values["columns"], row_bytes, values["frames"])
        header = SliceHeader(file, syntax, *pixel_fault(stream, syntax, expected), **values)
        multiframe = header.frames > 1 or header.sop_class in ENHANCED_CT
        return _frame_headers(header, dataset) if multiframe and header.modality == "CT" else (header,)
    except Exception:  # pydicom has no common error for malformed bytes
        return ()


def _values(dataset: Dataset, wanted: Sequence[Field[Any]]) -> dict[str, Any]:
    """Return the values of the given fields of `SliceHeader`, by name, as read from a data set."""
    return {f.name: f.metadata["read"](dataset, *f.metadata["keywords"]) for f in wanted}


def _frame_headers(header: SliceHeader, dataset: Dataset) -> tuple[SliceHeader, ...]:
    """Return a record for each frame, or only `header` with its `frame_fault` if frames cannot be separated."""
    views, reason = checked_views(dataset)
    if reason:
        return (replace(header, frame_fault=reason),)
    numbered = enumerate(views, start=1)
    return tuple(replace(header, frame=number, **_values(view, FRAME_FIELDS)) for number, view in numbered)


def _transfer_syntax(dataset: Dataset) -> UID:
    """Return the declared transfer syntax or, without meta information, the encoding detected by pydicom."""
    declared = uid_text(dataset.file_meta.get("TransferSyntaxUID"))
    if declared:
        return UID(declared)
    implicit, _ = dataset.original_encoding
    return UID(ImplicitVRLittleEndian if implicit or implicit is None else ExplicitVRLittleEndian)
