"""The part of a slice's header that the DICOM results made of it need: nothing else about a patient can leave.

A fresh data set is made for each slice, and only named attributes enter it: the type 1 and 2 attributes of the patient,
study and frame of reference modules (DICOM PS3.3 C.7.1.1, C.7.2.1, C.7.4.1) and where the slice lies.
"""

import re
from contextlib import suppress

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import CTImageStorage

SERIES_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
# Values that the standard does not allow would be errors of our file: they are left empty, which type 2 may be.
PATIENT_AND_STUDY = {
    "PatientName": ".*",
    "PatientID": ".*",
    "PatientBirthDate": r"\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])",
    "PatientSex": "[MFO]",
    "StudyID": ".*",
    "StudyDate": r"\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])",
    "StudyTime": r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?",
    "AccessionNumber": ".*",
    "ReferringPhysicianName": ".*",
    "PositionReferenceIndicator": ".*",
}
_GEOMETRY = ("Rows", "Columns", "PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient")
_INSTANCE_UIDS = ("SOPClassUID", "SOPInstanceUID")
# A mask of pixels that were compressed with loss has to say so.
_LOSS = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
_OPTIONAL = ("SliceThickness", *_LOSS)
RESULT_KEYWORDS = (*PATIENT_AND_STUDY, *_GEOMETRY, *SERIES_UIDS, *_INSTANCE_UIDS, *_OPTIONAL)


def result_header(dataset: Dataset) -> Dataset:
    """The attributes of one placed slice that DICOM results need, in a data set of their own.

    Where the data set leaves a UID empty, that of the file meta information stands in; a UID that neither has, and a
    text that the standard does not allow, are empty. The geometry is that of a slice that the reader accepted.
    """
    header = Dataset()
    for keyword in _GEOMETRY:
        setattr(header, keyword, getattr(dataset, keyword))
    for keyword in filter(dataset.__contains__, _OPTIONAL):
        with suppress(TypeError, ValueError):  # no number: the slice can be read all the same
            setattr(header, keyword, getattr(dataset, keyword))
    _add_texts(header, dataset)
    _add_uids(header, dataset)
    return header


def _add_texts(header: Dataset, dataset: Dataset) -> None:
    """Patient and study, decoded by the slice's own character set; written as UTF-8 where ASCII is not enough."""
    for keyword, pattern in PATIENT_AND_STUDY.items():
        value = dataset.get(keyword)
        values = value if isinstance(value, MultiValue) else [value or ""]
        text = "\\".join(str(v) for v in values).strip()
        setattr(header, keyword, text if re.fullmatch(pattern, text) else "")
        if not text.isascii():
            header.SpecificCharacterSet = "ISO_IR 192"


def _add_uids(header: Dataset, dataset: Dataset) -> None:
    """The UIDs, with nothing in them that no UID holds."""
    meta = getattr(dataset, "file_meta", None) or Dataset()
    for keyword in (*SERIES_UIDS, *_INSTANCE_UIDS):
        value = dataset.get(keyword) or meta.get(f"MediaStorage{keyword}")
        setattr(header, keyword, re.sub(r"[^0-9.]", "", str(value or ""))[:64])
    header.SOPClassUID = header.SOPClassUID or CTImageStorage
