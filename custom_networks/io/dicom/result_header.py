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

from custom_networks.io.dicom.header import uid_text

logger = logging.getLogger(__name__)

SERIES_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
_UIDS = (*SERIES_UIDS, "SOPClassUID", "SOPInstanceUID")
_DATE = r"\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])"
# Values that the standard does not allow would be errors of our file: they are left empty, which type 2 may be.
PATIENT_AND_STUDY = {
    "PatientName": ".*",
    "PatientID": ".*",
    "PatientBirthDate": _DATE,
    "PatientSex": "[MFO]",
    "StudyID": ".*",
    "StudyDate": _DATE,
    "StudyTime": r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?",
    "AccessionNumber": ".*",
    "ReferringPhysicianName": ".*",
    "PositionReferenceIndicator": ".*",
}
# A mask of pixels that were compressed with loss has to say so.
_LOSS = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
_GEOMETRY = ("Rows", "Columns", "PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient")
_COPIED = (*_GEOMETRY, "SliceThickness", *_LOSS)
RESULT_KEYWORDS = (*PATIENT_AND_STUDY, *_UIDS, *_COPIED)


def result_header(dataset: Dataset) -> Dataset:
    """The attributes of one placed slice that DICOM results need, in a data set of their own.

    Where the data set leaves a UID empty, that of the file meta information stands in. A UID that neither has and a
    text that the standard does not allow are empty, as is what is not of its type; such a number is left out. Texts are
    decoded by the slice's own character set, and are written as UTF-8 where ASCII is not enough.
    """
    header = Dataset()
    for keyword in filter(dataset.__contains__, _COPIED):
        _set(header, keyword, dataset, lambda value: value)
    for keyword, pattern in PATIENT_AND_STUDY.items():
        setattr(header, keyword, "")
        _set(header, keyword, dataset, partial(_allowed_text, pattern))
        if not str(header[keyword].value).isascii():
            header.SpecificCharacterSet = "ISO_IR 192"
    meta = getattr(dataset, "file_meta", None) or Dataset()
    for keyword in _UIDS:
        spare = uid_text(meta.get(f"MediaStorage{keyword}"))
        setattr(header, keyword, spare)
        _set(header, keyword, dataset, partial(_uid_or, spare))
    header.SOPClassUID = header.SOPClassUID or CTImageStorage
    return header


def _set(header: Dataset, keyword: str, dataset: Dataset, convert: Callable[[Any], Any]) -> None:
    """Take one attribute over; where its value is not of its type, leave it: the slice can be read all the same."""
    try:
        setattr(header, keyword, convert(dataset.get(keyword)))
    except Exception:  # pydicom has no common error for values that are not of their type
        logger.debug("%s of a slice is not of its type", keyword)


def _uid_or(spare: str, value: object) -> str:
    return uid_text(value or spare)


def _allowed_text(pattern: str, value: object) -> str:
    text = "\\".join(str(part) for part in (value if isinstance(value, MultiValue) else [value or ""])).strip()
    return text if re.fullmatch(pattern, text) else ""
