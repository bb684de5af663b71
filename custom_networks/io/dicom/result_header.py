"""The part of a slice's header that the DICOM results made of it need: nothing else about a patient can leave.

A fresh data set is made for each slice, and only named attributes enter it: the type 1 and 2 attributes of the patient,
study and frame of reference modules (DICOM PS3.3 C.7.1.1, C.7.2.1, C.7.4.1) and where the slice lies.
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
# Values that the standard does not allow (PS3.5 6.2) would be errors of our file. They are left empty, as type 2 may
# be, and never cut: half a PatientID is another patient's.
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
# What a page shows on request, and no DICOM result copies.
SHOWN_ON_REQUEST = {"SeriesDescription": _LO}
# A mask of pixels that were compressed with loss has to say so.
_LOSS = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
_GEOMETRY = ("Rows", "Columns", "PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient")
_COPIED = (*_GEOMETRY, "SliceThickness", *_LOSS)
RESULT_KEYWORDS = (*PATIENT_AND_STUDY, *SHOWN_ON_REQUEST, *_UIDS, *_COPIED)


class ResultHeader(Dataset):
    """What results need of one slice.

    Attributes:
        left_out: keywords of what the file says in a way that the standard does not allow; it is empty or absent here.
    """

    left_out: tuple[str, ...] = ()


def result_header(dataset: Dataset) -> ResultHeader:
    """The attributes of one placed slice that DICOM results need, in a data set of their own.

    Where the data set leaves a UID empty, that of the file meta information stands in. A UID that neither has and a
    text that the standard does not allow are empty, as is what is not of its type; such a number is left out. UIDs stay
    as they are, valid or not. Texts are decoded by the slice's own character set, and are written as UTF-8 where ASCII
    is not enough.
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
    """Take one attribute over; where its value is not of its type or not allowed, leave it and say so: the slice can be
    read all the same."""
    try:
        setattr(header, keyword, convert(dataset.get(keyword)))
    except Exception:  # pydicom has no common error for values that are not of their type
        logger.debug("%s of a slice is not as the standard allows it", keyword)
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
    """A thickness in mm, or None where it is empty."""
    number = float(str(value)) if value not in (None, "") else None
    if number is not None and not 0 <= number < 1000:
        raise ValueError("no thickness")
    return number


def _ratio(value: object) -> list[float]:
    """Compression ratios; "10:1" is 10."""
    parts = value if isinstance(value, MultiValue) else [value] if value else []
    ratios = [float(str(part).strip().removesuffix(":1")) for part in parts]
    if not all(1 <= ratio < 10_000 for ratio in ratios):
        raise ValueError("no ratio")
    return ratios


_CONVERTED: dict[str, Callable[[Any], Any]] = {
    "SliceThickness": _thickness,
    "LossyImageCompressionRatio": _ratio,
    "LossyImageCompression": partial(_allowed_text, "(00|01)?"),
    "LossyImageCompressionMethod": lambda value: _allowed_text(r"([A-Z0-9_ ]{1,16}(\\|$)){0,8}", value).split("\\"),
}
