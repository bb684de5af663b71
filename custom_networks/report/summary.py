"""`summary.csv`: one row for each input whose results or refusal an output folder records."""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from custom_networks.files import Cell, write_csv
from custom_networks.report.page.index import write_index
from custom_networks.report.report import REPORT

SUMMARY = "summary.csv"
DONE, FAILED = "done", "failed"
COLUMNS = tuple(
    "case status liver_ml liver_without_tumor_ml tumor_ml burden_percent lesions largest_lesion_mm "
    "liver_touches_border notes input message verdict".split()
)


class Finished(NamedTuple):
    """The latest outcome of an input in an output folder.

    Attributes:
        path: manifest of a finished case folder, or record of a refusal; its modification time orders the rows.
        row: row of a refused input; None for a case folder, whose row is made from its report.json.
    """

    path: Path
    row: Mapping[str, Cell] | None = None


class Summary:
    """Writes `summary.csv` from the contents of an output folder, so that no row of a concurrent run is lost.

    Args:
        folder: the output folder.
        finished: returns the outcomes of all inputs, including those of other runs.
        index: also write `index.html`.
    """

    def __init__(self, folder: Path, finished: Callable[[], Iterable[Finished]], index: bool = False) -> None:
        self._folder, self._finished, self._index = folder, finished, index
        self._rows: dict[tuple[Path, int], Mapping[str, Cell] | None] = {}

    def write(self) -> None:
        """Write the table, ordered by the time at which inputs were finished, and the index if requested.

        This is repeated if other runs have finished inputs meanwhile. No lock is needed, because the run that writes
        last reads the folder again after writing.

        Raises:
            OSError: a file cannot be written, for example because a spreadsheet has it open.
        """
        written: list[tuple[int, Path]] | None = None
        while (found := self._found()) != written:
            rows = [row for row in (self._rows[path, time] for time, path in found) if row]
            write_csv(self._folder / SUMMARY, COLUMNS, ([row.get(column) for column in COLUMNS] for row in rows))
            if self._index:
                write_index(self._folder, rows)
            written = found

    def _found(self) -> list[tuple[int, Path]]:
        """Return modification time (ns) and path of each outcome, oldest first; new ones are read into `_rows`."""
        found = []
        for finished in self._finished():
            try:
                time = os.stat(finished.path).st_mtime_ns
            except FileNotFoundError:  # another run is replacing it
                continue
            found.append((time, finished.path))
            if (finished.path, time) not in self._rows:
                row = finished.row if finished.row is not None else _row_of_file(finished.path.with_name(REPORT))
                self._rows[finished.path, time] = row
        return sorted(found)


def refused_row(case: str, source: str, message: str) -> Mapping[str, Cell]:
    """Return the row of a refused or failed input."""
    return {"case": case, "status": FAILED, "input": source, "message": message}


def _row(report: Mapping[str, Any]) -> dict[str, Cell]:
    liver, tumor = report["liver"], report["tumor"]
    return {
        "case": report["case"],
        "status": DONE,
        "liver_ml": liver["volume_ml"],
        "liver_without_tumor_ml": liver["volume_without_tumor_ml"],
        "tumor_ml": tumor["volume_ml"],
        "burden_percent": tumor["burden_percent"],
        "lesions": tumor["lesion_count"],
        "largest_lesion_mm": max((lesion["longest_mm"] for lesion in report["lesions"]), default=None),
        "liver_touches_border": liver["touches_border"],
        "notes": len(report["notes"]),
        "input": report["input"],
        "verdict": (report.get("verdict") or {}).get("level"),
    }


def _shown(report: Mapping[str, Any]) -> dict[str, Cell]:
    """Return the file names of page and thumbnail for the index, None for a file that was not written."""
    files = report.get("files", {})
    return {"page": files.get("page"), "thumbnail": files.get("thumbnail")}


def _row_of_file(path: Path) -> dict[str, Cell] | None:
    """Return the row of a case from its report.json, or None if this cannot be read or has another format."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        row = {**_row(report), **_shown(report), "folder": path.parent.name}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return row if all(isinstance(value, Cell) for value in row.values()) else None
