"""Copy the part of a slice's header that DICOM results need.

Only listed attributes are copied: the type 1 and 2 attributes of the patient, study and frame of reference modules
(DICOM PS3.3 C.7.1.1, C.7.2.1, C.7.4.1) and the geometry of the slice.
"""

import logging
import re
from collections.abc import Callable
from functools import partial
from typing import Any

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import CTImageStorage

from custom_networks.io.dicom.header import is_uid, uid_text

logger = logging.getLogger(__name__)

SERIES_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
_UIDS = (*SERIES_UIDS, "SOPClassUID", "SOPInstanceUID")
_DATE = r"(\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01]))?"
_CHARACTER = r"[^\\\x00-\x1f\x7f]"
_LO, _SH = rf"{_CHARACTER}{{0,64}}", rf"{_CHARACTER}{{0,16}}"
# Up to three groups of at most 64 characters, each of up to five parts.
_NAMES = r"(?=[^=]{0,64}(?:=|$))[^\\^=\x00-\x1f\x7f]*(?:\^[^\\^=\x00-\x1f\x7f]*){0,4}"
_PN = rf"{_NAMES}(?:={_NAMES}){{0,2}}"
# Values that violate PS3.5 6.2 would make the result invalid. They are left empty, which is allowed for type 2, rather
# than truncated, because a truncated PatientID may belong to another patient.
PATIENT_AND_STUDY = {
    "PatientName": _PN,
    "PatientID": _LO,
    "PatientBirthDate": _DATE,
    "PatientSex": "[MFO]?",
    "StudyID": _SH,
    "StudyDate": _DATE,
    "StudyTime": r"(([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?)?",
    "AccessionNumber": _SH,
    "ReferringPhysicianName": _PN,
    "PositionReferenceIndicator": _LO,
}
# Shown on the HTML page on request, but not copied to DICOM results.
SHOWN_ON_REQUEST = {"SeriesDescription": _LO}
# A mask derived from lossily compressed pixels has to state this.
_LOSS = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
_GEOMETRY = ("Rows", "Columns", "PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient")
_COPIED = (*_GEOMETRY, "SliceThickness", *_LOSS)
RESULT_KEYWORDS = (*PATIENT_AND_STUDY, *SHOWN_ON_REQUEST, *_UIDS, *_COPIED)


class ResultHeader(Dataset):
    """The attributes of one slice that results need.

    Attributes:
        left_out: keywords whose values are not valid in the file, and therefore empty or absent here.
    """

    left_out: tuple[str, ...] = ()


def result_header(dataset: Dataset) -> ResultHeader:
    """Copy the attributes that DICOM results need from the data set of a slice with a known position.

    UIDs are copied even if they are not valid; empty UIDs are taken from the file meta information. Only SOPClassUID
    becomes CT Image Storage if it is missing or not valid. Invalid texts about patient and study become empty, and
    other invalid values are omitted. Texts that are not ASCII are written as UTF-8.
    """
    header = ResultHeader()
    left_out = []
    for keyword in filter(dataset.__contains__, _COPIED):
        if not _set(header, keyword, dataset, _CONVERTED.get(keyword, lambda value: value)):
            left_out.append(keyword)
    for keyword, pattern in PATIENT_AND_STUDY.items():
        setattr(header, keyword, "")
        if not _set(header, keyword, dataset, partial(_allowed_text, pattern)):
            left_out.append(keyword)
        if not str(header[keyword].value).isascii():
            header.SpecificCharacterSet = "ISO_IR 192"
    for keyword, pattern in SHOWN_ON_REQUEST.items():
        _set(header, keyword, dataset, partial(_allowed_text, pattern))
    meta = getattr(dataset, "file_meta", None) or Dataset()
    for keyword in _UIDS:
        spare = uid_text(meta.get(f"MediaStorage{keyword}"))
        setattr(header, keyword, spare)
        _set(header, keyword, dataset, partial(_uid_or, spare))
    sop_class = uid_text(header.SOPClassUID)
    left_out += ["SOPClassUID"] * bool(sop_class and not is_uid(sop_class))
    header.SOPClassUID = sop_class if is_uid(sop_class) else CTImageStorage
    header.left_out = tuple(left_out)
    return header


def _set(header: Dataset, keyword: str, dataset: Dataset, convert: Callable[[Any], Any]) -> bool:
    """Copy one attribute, and return whether its value was valid."""
    try:
        setattr(header, keyword, convert(dataset.get(keyword)))
    except Exception:  # pydicom has no common error for values of a wrong type
        logger.debug("%s of a slice has an invalid value", keyword)
        return False
    return True


def _uid_or(spare: str, value: object) -> str:
    return uid_text(value or spare)


def _allowed_text(pattern: str, value: object) -> str:
    text = "\\".join(str(part) for part in (value if isinstance(value, MultiValue) else [value or ""])).strip()
    if not re.fullmatch(pattern, text):
        raise ValueError(pattern)
    return text


def _thickness(value: object) -> float | None:
    """Return a thickness in mm, or None if it is empty; raises ValueError if it is not valid."""
    number = float(str(value)) if value not in (None, "") else None
    if number is not None and not 0 <= number < 1000:
        raise ValueError("not a thickness")
    return number


def _ratio(value: object) -> list[float]:
    """Parse compression ratios, such as 10 or "10:1"; raises ValueError if one is not valid."""
    parts = value if isinstance(value, MultiValue) else [value] if value else []
    ratios = [float(str(part).strip().removesuffix(":1")) for part in parts]
    if not all(1 <= ratio < 10_000 for ratio in ratios):
        raise ValueError("not a compression ratio")
    return ratios


_CONVERTED: dict[str, Callable[[Any], Any]] = {
    "SliceThickness": _thickness,
    "LossyImageCompressionRatio": _ratio,
    "LossyImageCompression": partial(_allowed_text, "(00|01)?"),
    "LossyImageCompressionMethod": lambda value: _allowed_text(r"([A-Z0-9_ ]{1,16}(\\|$)){0,8}", value).split("\\"),
}
