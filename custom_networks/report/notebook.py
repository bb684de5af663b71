"""HTML representation of a case in a notebook: volumes, verdict, overlay and a table of lesions."""

import logging
from base64 import b64encode
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from custom_networks.report.page.content import BY_PERSON, by_person

logger = logging.getLogger(__name__)

COLUMNS = {
    "id": "lesion",
    "volume_mm3": "volume, ml",
    "longest_mm": "longest, mm",
    "perpendicular_mm": "across, mm",
    "slice_number": "slice",
    "mean_hu": "mean, HU",
    "confidence": "confidence",
}


def case_html(report: Mapping[str, Any], overlay: bytes = b"") -> str:
    """Return a report and its overlay (PNG, b"" for none) as a self-contained HTML fragment; all texts are escaped."""
    liver, tumor, verdict = report["liver"], report["tumor"], report.get("verdict", {"level": "", "findings": ()})
    head = [
        f"<b>{escape(report['case'])}</b>: liver {liver['volume_ml']:.1f} ml, tumor {tumor['volume_ml']:.1f} ml",
        f"lesions: {tumor['lesion_count']}, verdict: <b>{escape(verdict['level'])}</b>",
        escape(report["disclaimer"]),
    ]
    head[1:1] = [BY_PERSON] * by_person(report)
    findings = "".join(f"<li>{escape(f['level'])}: {escape(f['text'])}</li>" for f in verdict["findings"])
    picture = f'<img alt="overlay" style="max-width:100%" src="data:image/png;base64,{b64encode(overlay).decode()}">'
    parts = ["<br>".join(head), f"<ul>{findings}</ul>" * bool(findings), picture * bool(overlay), _table(report)]
    return f"<div>{''.join(parts)}</div>"


def overlay_png(folder: Path | None, files: Mapping[str, str], draw: Callable[[Path], None]) -> bytes:
    """Return the overlay of a case as PNG, read from its case folder or newly drawn; b"" if that fails.

    Args:
        folder: the case folder, or None if the result was not written.
        files: names of the files in the folder, by kind.
        draw: function that draws the overlay and saves it to the given path.
    """
    try:
        if folder and "overlay" in files:
            return (folder / files["overlay"]).read_bytes()
        with TemporaryDirectory() as scratch:
            path = Path(scratch) / "overlay.png"
            draw(path)
            return path.read_bytes()
    except Exception:  # the numbers can be shown without a picture
        logger.debug("overlay for a notebook", exc_info=True)
        return b""


def _table(report: Mapping[str, Any]) -> str:
    if not report["lesions"]:
        return ""
    titles = "".join(f"<th>{title}</th>" for title in COLUMNS.values())
    rows = "".join(
        f"<tr>{''.join(f'<td>{_cell(name, lesion[name])}</td>' for name in COLUMNS)}</tr>"
        for lesion in report["lesions"]
    )
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{rows}</tbody></table>"


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name == "volume_mm3":
        return f"{value / 1000:.2f}"
    return f"{value:.2f}" if name == "confidence" else f"{value:.1f}" if isinstance(value, float) else str(value)
