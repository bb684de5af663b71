"""`summary.csv`: a row for every input of an output folder, made from the reports and refusals that lie in it."""

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
    """An input as an output folder knows it.

    Attributes:
        path: what is written last for it: a whole folder's manifest, or the file of a refusal.
        row: of a refusal, what the table says of it; of a whole folder None, its report says it.
    """

    path: Path
    row: Mapping[str, Cell] | None = None


class Summary:
    """Writes `summary.csv` of an output folder from what lies in it, so that runs side by side lose no row.

    Args:
        folder: the output folder.
        finished: gives all inputs that were finished in it, by any run.
        index: write `index.html` beside it, too.
    """

    def __init__(self, folder: Path, finished: Callable[[], Iterable[Finished]], index: bool = False) -> None:
        self._folder, self._finished, self._index = folder, finished, index
        self._rows: dict[tuple[Path, int], Mapping[str, Cell] | None] = {}

    def write(self) -> None:
        """Write the table, in the order in which inputs were finished; again while other runs go on finishing some.

        No lock is needed: whoever writes last has looked at the folder after the others had written.

        Raises:
            OSError: it cannot be written, such as while a spreadsheet holds it open.
        """
        written: list[tuple[int, Path]] | None = None
        while (found := self._found()) != written:
            rows = [row for row in (self._rows[path, time] for time, path in found) if row]
            write_csv(self._folder / SUMMARY, COLUMNS, ([row.get(column) for column in COLUMNS] for row in rows))
            if self._index:
                write_index(self._folder, rows)
            written = found

    def _found(self) -> list[tuple[int, Path]]:
        """When each input was finished, ns, and the file that says so; rows that are not known yet are read."""
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
    """The row of an input that was refused or failed."""
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
    """What the index has besides."""
    files = report.get("files", {})
    return {"page": files.get("page"), "thumbnail": files.get("thumbnail")}


def _row_of_file(path: Path) -> dict[str, Cell] | None:
    """The row of a report; None where that was not written by this program or is of another layout."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        row = {**_row(report), **_shown(report), "folder": path.parent.name}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return row if all(isinstance(value, Cell) for value in row.values()) else None
