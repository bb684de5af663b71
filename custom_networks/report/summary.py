"""`summary.csv`: a row for every case of an output folder, written anew whenever one more is finished."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from custom_networks.files import Cell, write_csv
from custom_networks.report.report import REPORT

SUMMARY = "summary.csv"
DONE, FAILED = "done", "failed"
COLUMNS = tuple(
    "case status liver_ml liver_without_tumor_ml tumor_ml burden_percent lesions largest_lesion_mm "
    "liver_touches_border notes input message".split()
)


class Summary:
    """The rows of `summary.csv`: the finished cases of an output folder, and the inputs of this run that failed.

    A failed input has a row of its own: it never replaces a finished case that happens to have its name. `finished`
    are the folders of cases that were finished before.
    """

    def __init__(self, folder: Path, finished: Iterable[Path]) -> None:
        self._folder = folder
        rows = filter(None, (_row_of_file(case_folder / REPORT) for case_folder in finished))
        self._rows: dict[tuple[str, str], dict[str, Cell]] = {(DONE, str(row["case"])): row for row in rows}

    def add_report(self, report: Mapping[str, Any]) -> None:
        """Add a finished case, or replace what was known of it, and write the table."""
        self._rows.pop((FAILED, report["input"]), None)
        self._rows[DONE, report["case"]] = _row(report)
        self._write()

    def add_failure(self, case: str, source: str, message: str) -> None:
        """Add an input that was refused or failed, and write the table."""
        self._rows[FAILED, source] = {"case": case, "status": FAILED, "input": source, "message": message}
        self._write()

    def _write(self) -> None:
        rows = ([row.get(column) for column in COLUMNS] for row in self._rows.values())
        write_csv(self._folder / SUMMARY, COLUMNS, rows)


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
    }


def _row_of_file(path: Path) -> dict[str, Cell] | None:
    """The row of an earlier report; None where that was not written by this program or is of another layout."""
    try:
        return _row(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None
