"""Write the page, and for DICOM inputs key images and a PDF as DICOM files."""

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from custom_networks.dicom_out.captures import write_captures
from custom_networks.errors import one_line
from custom_networks.io.volume import Volume
from custom_networks.report.measurements import Measurements
from custom_networks.report.organ_region import OrganRegion
from custom_networks.report.page.content import patient_text
from custom_networks.report.page.written import OFF, PAGE, write_page
from custom_networks.report.pictures import CasePictures, key_pictures
from custom_networks.report.printed import printed_report

logger = logging.getLogger(__name__)

Saved = tuple[dict[str, str], tuple[str, ...]]  # files by kind, and notes


def or_note(what: str, write: Callable[[], Saved]) -> Saved:
    """Call `write` and return its result, or a note if it fails, so that a failed picture does not lose the mask.

    Args:
        what: name of the file or files, for the note.
        write: writes files, and returns their names by kind, and notes.
    """
    try:
        return write()
    except Exception as error:
        logger.debug("%s", what, exc_info=True)
        return {}, (f"{what} was not written ({type(error).__name__}: {one_line(error, 200)}).",)


def write_shown(
    folder: Path,
    case: str,
    pictures: CasePictures,
    ct: Volume,
    region: OrganRegion,
    measured: Measurements,
    *,
    report: Mapping[str, Any],
    page: str,
    key_images: bool,
    pdf: bool,
    with_phi: bool,
) -> Iterator[Saved]:
    """Write the page and then the key images and the PDF, as requested; yield files and notes after each step.

    A step that fails yields only a note, and so does the second step if the input is not DICOM.

    Args:
        folder: where to write the files.
        case: name of the case.
        pictures: pictures of the case.
        ct: the CT.
        region: label map and lesion numbers.
        measured: volumes and lesions.
        report: the contents of report.json so far.
        page: full, light or off.
        key_images: write the pictures as secondary captures.
        pdf: write two pages as an encapsulated PDF.
        with_phi: show text about the patient in all of them.
    """
    patient = patient_text(ct.headers) if with_phi else {}

    def paged() -> Saved:
        return write_page(folder, page, report, pictures, ct, region, measured, patient), ()

    def captured() -> Saved:
        return write_captures(
            folder,
            case,
            headers=ct.headers,
            affine=ct.affine,
            shape=region.shape,
            pictures=key_pictures(pictures, patient) if key_images else (),
            pdf=printed_report(report, pictures, patient) if pdf else b"",
            names_patient=bool(patient),
        )

    if page != OFF:
        yield or_note(PAGE, paged)
    if key_images or pdf:
        yield or_note("A key image or the PDF", captured)
