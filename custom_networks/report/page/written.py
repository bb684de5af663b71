"""Write report.html and its thumbnail into a case folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from custom_networks.errors import UsageError
from custom_networks.files import atomic_write, write_text
from custom_networks.io.volume import Volume
from custom_networks.report.measurements import Measurements
from custom_networks.report.organ_region import OrganRegion
from custom_networks.report.page.case_page import case_page, thumbnail
from custom_networks.report.page.viewer import viewer_volumes
from custom_networks.report.pictures import CasePictures

PAGE, THUMBNAIL = "report.html", "thumbnail.jpg"
FULL, LIGHT, OFF = PAGES = ("full", "light", "off")


def check_page(page: str) -> str:
    """Return `page`; raises UsageError if it is not one of PAGES."""
    if page not in PAGES:
        raise UsageError(f"page must be {', '.join(PAGES[:-1])} or {PAGES[-1]}, got {page!r}.")
    return page


def write_page(
    folder: Path,
    page: str,
    report: Mapping[str, Any],
    pictures: CasePictures,
    ct: Volume,
    region: OrganRegion,
    measured: Measurements,
    patient: Mapping[str, str],
) -> dict[str, str]:
    """Write `report.html` with the viewer (`full`) or without (`light`), and the thumbnail for the index.

    Args:
        folder: folder to write to.
        page: "full" or "light".
        report: the content of report.json.
        pictures: pictures of the case.
        ct: the CT.
        region: the liver region.
        measured: the measurements of the case.
        patient: text about the patient to show, by label; empty to show none.

    Returns:
        The names of the two files by kind, "page" and "thumbnail".
    """
    volumes = viewer_volumes(ct, region, measured) if page == FULL else None
    files = {"page": PAGE, "thumbnail": THUMBNAIL}
    html = case_page({**report, "files": {**report["files"], **files}}, pictures, volumes, patient)
    small = thumbnail(pictures.planes[0])
    write_text(folder / PAGE, html)
    with atomic_write(folder / THUMBNAIL) as temporary:
        temporary.write_bytes(small)
    return files
