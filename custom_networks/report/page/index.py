"""`index.html` of an output folder: a table of all inputs with thumbnails and links to their pages."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from custom_networks.files import Cell, write_text
from custom_networks.report.page.assets import asset, policy, template
from custom_networks.report.report import DISCLAIMER, REPORT

INDEX = "index.html"


def write_index(folder: Path, rows: Iterable[Mapping[str, Cell]]) -> None:
    """Write `index.html` atomically, with links relative to the folder.

    Args:
        folder: the output folder.
        rows: rows of the summary. Rows of finished cases also have `folder`, `page` and `thumbnail`; the latter two are
            "" or None if the file was not written.
    """
    cases: list[dict[str, Any]] = []
    refused: list[dict[str, Any]] = []
    for row in rows:
        (refused if row.get("message") else cases).append(_entry(row))
    style, script = asset("page.css") + asset("index.css"), asset("index.js")
    page = template("index.html.j2").render(
        cases=cases,
        refused=refused,
        disclaimer=DISCLAIMER,
        style=style,
        script=script,
        policy=policy([style], [script], "'self' file:"),
        with_verdict=any(case["verdict"] for case in cases),
    )
    write_text(folder / INDEX, page)


def _entry(row: Mapping[str, Cell]) -> dict[str, Any]:
    """Return a row with the link to its page or, without a page, to its report.json, and the link to its thumbnail."""
    folder = str(row.get("folder") or "")
    page, thumbnail = row.get("page"), row.get("thumbnail")
    return {
        **{"verdict": None, **row},
        "href": quote(f"{folder}/{page or REPORT}", errors="surrogateescape"),
        "picture": quote(f"{folder}/{thumbnail}", errors="surrogateescape") if thumbnail else None,
    }
