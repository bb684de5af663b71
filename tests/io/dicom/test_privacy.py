"""Text planted in attributes of the source is never quoted in names, notes, refusals or DICOM results."""

from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom.config import disable_value_validation
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset

from custom_networks.dicom_out.results import write_dicom_results
from custom_networks.errors import LiversegError
from custom_networks.io import find_cases
from custom_networks.io.dicom.result_header import PATIENT_AND_STUDY

Write = Callable[..., Path]
PLANTED = "QUXSMITH"
TEXT_VRS = {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"}
KEYWORDS = """
    AccessionNumber AcquisitionNumber BodyPartExamined ContrastBolusAgent ConvolutionKernel FrameOfReferenceUID
    HighBit ImageComments ImageOrientationPatient ImagePositionPatient ImageType InstanceNumber InstitutionName
    LossyImageCompression LossyImageCompressionMethod LossyImageCompressionRatio Manufacturer Modality NumberOfFrames
    OperatorsName PatientBirthDate PatientComments PatientID PatientName PatientSex PhotometricInterpretation
    PixelSpacing PositionReferenceIndicator ProtocolName ReferringPhysicianName RescaleIntercept RescaleSlope
    RescaleType SOPClassUID SOPInstanceUID SeriesDescription SeriesInstanceUID SeriesNumber SliceThickness
    SpacingBetweenSlices SpecificCharacterSet StationName StudyDate StudyDescription StudyID StudyInstanceUID StudyTime
""".split()


def planted(keywords: list[str]) -> Callable[[int, Dataset], None]:
    """Put raw text into elements, or nothing if their VR is a binary number."""

    def change(k: int, dataset: Dataset) -> None:
        for keyword in keywords:
            vr = dictionary_VR(keyword)
            if vr in TEXT_VRS:
                number = str(k) if keyword == "SOPInstanceUID" else ""
                vr = "LO" if vr in ("DS", "IS") else vr  # pydicom writes no text as a number, but reads it
                dataset[keyword] = pydicom.DataElement(keyword, vr, f"{PLANTED}{number}")

    return change


def said(folder: Path) -> str:
    """All text of a case: its name and notes, its refusal, and the notes of its DICOM results."""
    cases, words = find_cases([str(folder)])
    for case in cases:
        words += [case.name, *case.notes, repr(case), case.identity, case.content, str(case.geometry)]
        try:
            volume = case.read()
        except LiversegError as error:
            words.append(str(error))
            continue
        words += [*volume.notes, repr(volume)]
        out = folder.parent / "out"
        out.mkdir(exist_ok=True)
        labels = (volume.array > 0).astype("uint8")
        options = {"headers": volume.headers, "affine": volume.affine, "labels": labels}
        _, notes = write_dicom_results(out, "ct", measured=NothingMeasured(labels), **options)
        words += notes
    return "\n".join(words)


class NothingMeasured:
    """Measurements of a liver without lesions."""

    lesions, liver_ml, calibrated = (), 1.0, False
    box = (slice(0, 0),) * 3

    def __init__(self, labels: object) -> None:
        self.numbers = labels[:0, :0, :0]  # type: ignore[index]


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize("keyword", KEYWORDS)
def test_text_planted_in_headers_appears_in_no_message(
    keyword: str, write_series: Write, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with disable_value_validation():
        folder = write_series(planted([keyword]))
    capsys.readouterr()
    caplog.clear()  # what pydicom says while it writes is the test's
    heard = said(folder) + "".join(capsys.readouterr()) + caplog.text
    assert PLANTED not in heard.upper()
    for path in (folder.parent / "out").glob("*"):
        quotes = PLANTED.encode() in path.read_bytes()
        assert not quotes or keyword in PATIENT_AND_STUDY


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_unknown_transfer_syntaxes_are_not_quoted(write_series: Write) -> None:
    folder = write_series()
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.84.QUXSMITH.2.1\0"))
    assert PLANTED not in said(folder)
