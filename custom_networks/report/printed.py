"""Report of a case as a PDF of two pages: volumes and findings on the first, lesions on the second."""

import warnings
from collections.abc import Mapping, Sequence
from io import BytesIO
from textwrap import wrap
from typing import Any

from custom_networks.report.drawing import lesion_colour
from custom_networks.report.page import content
from custom_networks.report.pictures import CasePictures, Picture

A4_INCH = (8.27, 11.69)
LEFT, RIGHT, TOP = 0.07, 0.95, 0.96  # fractions of the page
LINE = 0.0155  # fraction of the page's height
CHARACTERS = 105  # per line
MOST_LINES = 14  # of each block of findings, facts and notes
MOST_LESIONS = 20
COLUMNS = (
    "Lesion",
    "Volume, ml",
    "Diameters, mm",
    "Slice",
    "Mean, HU",
    "To liver, HU",
    "To surface, mm",
    "Confidence",
)


def printed_report(report: Mapping[str, Any], pictures: CasePictures, patient: Mapping[str, str]) -> bytes:
    """Return the report as a PDF; the same arguments give the same bytes.

    Args:
        report: the content of report.json.
        pictures: pictures of the case.
        patient: text about the patient to show, by label; empty to show none.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_pdf import PdfPages

    stream = BytesIO()
    # Keep text selectable, and do not parse "$" as mathematics.
    with warnings.catch_warnings(), rc_context({"pdf.fonttype": 42, "text.parse_math": False}):
        warnings.simplefilter("ignore", UserWarning)  # characters missing in the font
        with PdfPages(stream, metadata={"CreationDate": None, "Title": f"{report['case']}: liver and lesions"}) as pdf:
            pdf.savefig(_first_page(report, pictures, patient))
            pdf.savefig(_second_page(report, pictures))
    return stream.getvalue()


class _Page:
    """A page that is filled from top to bottom."""

    def __init__(self, heading: str) -> None:
        from matplotlib.figure import Figure

        self.figure = Figure(figsize=A4_INCH)
        self.at = TOP
        self.write([heading], size=14, bold=True)

    def write(self, lines: Sequence[str], size: float = 8.5, bold: bool = False, colour: Any = "black") -> None:
        """Write lines of text."""
        weight = "bold" if bold else "normal"
        for line in lines:
            self.figure.text(LEFT, self.at, line, fontsize=size, fontweight=weight, color=colour, va="top")
            self.at -= LINE * size / 8.5

    def show(self, pictures: Sequence[Picture], columns: int, height: float, titled: bool = True) -> None:
        """Draw pictures in rows of `columns` pictures; `height` is a row's height as a fraction of the page's."""
        width = (RIGHT - LEFT) / columns
        for place, picture in enumerate(pictures):
            row, column = divmod(place, columns)
            area = (LEFT + column * width, self.at - (row + 1) * height, width * 0.96, height * 0.88)
            axis = self.figure.add_axes(area)
            axis.imshow(picture.rgb)
            axis.axis("off")
            if titled:
                axis.set_title(picture.title, fontsize=6.5, pad=2)
        self.at -= -(-len(pictures) // columns) * height + LINE


def _first_page(report: Mapping[str, Any], pictures: CasePictures, patient: Mapping[str, str]) -> Any:
    page = _Page(f"{report['case']}: liver and lesions")
    page.write([report["disclaimer"]], colour="dimgrey")
    page.write([f"{name}: {text}" for name, text in patient.items()])
    page.at -= LINE / 2
    page.write([content.BY_PERSON] * content.by_person(report), size=10, bold=True)
    page.write(_volumes(report), size=10)
    if verdict := content.verdict_of(report):
        page.write([f"Verdict: {verdict['level']}. {verdict['meaning']}"], size=10, bold=True)
        page.write(_limited([f"{f['level']}: {f['text']}" for f in verdict["findings"]]))
    page.at -= LINE
    page.show(pictures.planes, columns=3, height=0.24)
    page.write(
        ["The patient's right is on the left of axial and coronal pictures. The liver is outlined in turquoise."],
        size=7,
    )
    page.at -= LINE
    page.write(["What was read"], bold=True)
    page.write(_limited([*_facts(content.source_facts(report)), *report["notes"]]))
    page.at -= LINE
    page.write(["How it was made"], bold=True)
    page.write(_limited(_facts(content.made_facts(report))))
    return page.figure


def _second_page(report: Mapping[str, Any], pictures: CasePictures) -> Any:
    page = _Page("Lesions")
    lesions = report["lesions"][:MOST_LESIONS]
    if not lesions:
        page.write(["No lesion was found." if report["liver"]["volume_ml"] else "No liver was found."], size=10)
        return page.figure
    if len(report["lesions"]) > MOST_LESIONS:
        page.write([f"The {MOST_LESIONS} largest of {len(report['lesions'])} lesions; lesions.csv lists all of them."])
    if not (report["confidence_calibrated"] or content.by_person(report)):
        page.write(["Confidence only ranks these lesions; it is not a probability."])
    step, head = (RIGHT - LEFT) / len(COLUMNS), COLUMNS[: -1 if content.by_person(report) else None]
    for row in [head, *(_row(lesion, report["confidence_calibrated"]) for lesion in lesions)]:
        for column, text in enumerate(row):
            bold, size = ("bold", 6.5) if row is head else ("normal", 7.5)
            colour = _ink(row[0]) if column == 0 and row is not head else "black"
            at = LEFT + column * step, page.at
            page.figure.text(*at, text, fontsize=size, va="top", fontweight=bold, color=colour)
        page.at -= LINE
    page.at -= LINE
    page.show(pictures.lesions[:MOST_LESIONS], columns=5, height=0.135)
    return page.figure


def _volumes(report: Mapping[str, Any]) -> list[str]:
    liver, tumor = report["liver"], report["tumor"]
    if not liver["volume_ml"]:
        return ["No liver was found."]
    lines = [f"Liver with lesions {liver['volume_ml']:.0f} ml, without them {liver['volume_without_tumor_ml']:.0f} ml"]
    share = f", {tumor['volume_ml']:.1f} ml ({tumor['burden_percent']:.1f} %)" if tumor["lesion_count"] else ""
    lines.append(f"Lesions {tumor['lesion_count']}{share}")
    return (
        lines
        + ["The liver is cut off at the border of the image: volumes cover only the visible part."]
        * liver["touches_border"]
    )


def _facts(facts: Sequence[content.Fact]) -> list[str]:
    return [f"{name}: {value}" for name, value in facts]


def _limited(texts: Sequence[str]) -> list[str]:
    """Wrap texts into lines; if these are more than `MOST_LINES`, a reference to report.json replaces the rest."""
    lines = [line for text in texts for line in wrap(text, CHARACTERS)]
    return lines if len(lines) <= MOST_LINES else [*lines[: MOST_LINES - 1], "The rest is in report.json."]


def _row(lesion: Mapping[str, Any], calibrated: bool) -> tuple[str, ...]:
    return (
        str(lesion["id"]),
        f"{lesion['volume_mm3'] / 1000:.2f}",
        f"{lesion['longest_mm']:.1f} x {lesion['perpendicular_mm']:.1f}",
        f"{lesion['slice_number']}{', cut' if lesion['touches_border'] else ''}",
        f"{lesion['mean_hu']:.0f}",
        "" if lesion["contrast_hu"] is None else f"{lesion['contrast_hu']:+.0f}",
        "" if lesion["surface_distance_mm"] is None else f"{lesion['surface_distance_mm']:.0f}",
        _confidence(lesion["confidence"], calibrated),
    )


def _confidence(confidence: float | None, calibrated: bool) -> str:
    """Format a confidence, as a percentage if it is calibrated; "" for a person's mask."""
    if confidence is None:
        return ""
    return f"{100 * confidence:.0f} %" if calibrated else f"{confidence:.2f}"


def _ink(number: str) -> list[float]:
    """Return the colour of a lesion, darkened for white paper."""
    return [part / 255 * 0.75 for part in lesion_colour(int(number))]
