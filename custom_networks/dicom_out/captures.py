"""Key images as secondary captures (PS3.3 A.8.1) and a report as encapsulated PDF (A.45.1), for viewers without SEG.

Both belong to the study of the source slices and have the patient attributes of these slices.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

from custom_networks.dicom_out import codes
from custom_networks.dicom_out.seg import save_whole
from custom_networks.dicom_out.source import SourceSeries, quiet, source_series
from custom_networks.errors import LiversegError
from custom_networks.io.dicom.result_header import PATIENT_AND_STUDY

logger = logging.getLogger(__name__)

NOT_DICOM = "Key images and PDF were not written: they are DICOM files, but the input is not DICOM."
KEY_IMAGES_NUMBER, PDF_NUMBER = 903, 904  # SeriesNumber
_HIGHDICOM_ARGUMENTS = {
    "PatientName": "patient_name",
    "PatientID": "patient_id",
    "PatientBirthDate": "patient_birth_date",
    "PatientSex": "patient_sex",
    "StudyID": "study_id",
    "StudyDate": "study_date",
    "StudyTime": "study_time",
    "AccessionNumber": "accession_number",
    "ReferringPhysicianName": "referring_physician_name",
}


class Picture(Protocol):
    """A picture to archive as a key image."""

    @property
    def rgb(self) -> npt.NDArray[np.uint8]:
        """Pixels, (rows, columns, 3)."""

    @property
    def title(self) -> str:
        """Description of the picture, for DerivationDescription."""

    @property
    def orientation(self) -> tuple[str, str]:
        """Anatomical directions of rows and columns, as in PatientOrientation (PS3.3 C.7.6.1.1.1)."""


def write_captures(
    folder: Path,
    case: str,
    *,
    headers: Sequence[Dataset],
    affine: npt.NDArray[np.float64],
    shape: tuple[int, ...],
    pictures: Sequence[Picture] = (),
    pdf: bytes = b"",
    names_patient: bool = False,
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Write pictures as `<case>_key_01.dcm` etc. in one series, and a PDF as `<case>_report.dcm`.

    Errors are not raised but returned as notes.

    Args:
        folder: folder to write to.
        case: name of the case, with which the file names begin.
        headers: headers of the source slices, see `custom_networks.dicom_out.results.write_dicom_results`; if there are
            none, nothing is written.
        affine: (4, 4) affine of the series, (column, row, slice) index to RAS mm.
        shape: columns, rows and slices of the series.
        pictures: the key images, RGB.
        pdf: the PDF, or b"" for none.
        names_patient: whether pictures and PDF show text about the patient.

    Returns:
        Names of the written files by kind, and notes.
    """
    if not headers:
        return {}, (NOT_DICOM,)
    files: dict[str, str] = {}
    burned_in = "YES" if names_patient else "NO"
    try:
        source = source_series(headers, affine, shape)
        with quiet():
            series = codes.load_highdicom().UID()
            for number, picture in enumerate(pictures, start=1):
                name = f"{case}_key_{number:02d}.dcm"
                save_whole(_capture(source, picture, series, number, burned_in), folder / name)
                files[f"dicom_key_image_{number}"] = name
            if pdf:
                save_whole(_document(source, pdf, burned_in), folder / f"{case}_report.dcm")
                files["dicom_pdf"] = f"{case}_report.dcm"
    except LiversegError as error:
        return files, (f"{_missing(files, pictures, pdf)} not written: {error}",)
    except Exception as error:  # its message is not shown, since it may quote patient attributes
        logger.debug("captures of %s", folder, exc_info=True)
        return files, (f"{_missing(files, pictures, pdf)} not written ({type(error).__name__}; --debug shows where).",)
    return files, source.notes


def _missing(files: Mapping[str, str], pictures: Sequence[Picture], pdf: bytes) -> str:
    """Return the beginning of a note about captures that are not among the written `files`.

    The caller appends "not written", by which a rerun recognises files that a full disk left out.
    """
    if len(files) == len(pictures):
        return "PDF was"
    images = "Some key images" if files else "Key images"
    return f"{images} and PDF were" if pdf else f"{images} were"


def _capture(source: SourceSeries, picture: Picture, series: str, number: int, burned_in: str) -> Any:
    """Return a picture as image `number` of a series of secondary captures; `burned_in` is BurnedInAnnotation."""
    hd, header = codes.load_highdicom(), source.headers[0]
    patient = {argument: header.get(keyword) or None for keyword, argument in _HIGHDICOM_ARGUMENTS.items()}
    image = hd.sc.SCImage(
        pixel_array=np.ascontiguousarray(picture.rgb),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=picture.orientation,
        study_instance_uid=header.StudyInstanceUID,
        series_instance_uid=series,
        series_number=KEY_IMAGES_NUMBER,
        sop_instance_uid=hd.UID(),
        instance_number=number,
        series_description="Liver and lesions, key images (automatic, research use only)",
        **codes.EQUIPMENT,
        **patient,
    )
    image.ConversionType, image.BurnedInAnnotation = "WSD", burned_in
    image.DerivationDescription, image.Laterality = picture.title, ""  # Laterality is of type 2C
    if "SpecificCharacterSet" in header:
        image.SpecificCharacterSet = header.SpecificCharacterSet
    return image


def _document(source: SourceSeries, pdf: bytes, burned_in: str) -> Dataset:
    """Return a PDF as an encapsulated document in the source's study; `burned_in` is BurnedInAnnotation."""
    hd, header, now = codes.load_highdicom(), source.headers[0], datetime.now()
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = EncapsulatedPDFStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = hd.UID()
    for keyword in (*PATIENT_AND_STUDY, "StudyInstanceUID"):
        if keyword != "PositionReferenceIndicator":
            dataset[keyword] = header[keyword]
    dataset.SpecificCharacterSet = header.get("SpecificCharacterSet", "ISO_IR 100")
    dataset.Modality, dataset.SeriesInstanceUID, dataset.SeriesNumber = "DOC", hd.UID(), PDF_NUMBER
    dataset.SeriesDescription = "Liver and lesions, report (automatic, research use only)"
    dataset.Manufacturer, dataset.ManufacturerModelName = codes.MANUFACTURER, codes.MODEL
    dataset.SoftwareVersions, dataset.DeviceSerialNumber = codes.ALGORITHM_VERSION, codes.SERIAL_NUMBER
    dataset.ConversionType, dataset.InstanceNumber = "WSD", 1
    dataset.ContentDate, dataset.ContentTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    dataset.AcquisitionDateTime, dataset.ConceptNameCodeSequence = "", []
    dataset.DocumentTitle, dataset.BurnedInAnnotation = "Liver and lesions", burned_in
    dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    dataset.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    dataset.EncapsulatedDocumentLength = len(pdf)
    return dataset
