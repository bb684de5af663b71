"""`summary.csv`: a row for every case of an output folder, written anew whenever one more is finished."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from custom_networks.report.report import REPORT, table, write_text

SUMMARY = "summary.csv"
COLUMNS = (
    "case",
    "status",
    "liver_ml",
    "liver_without_tumor_ml",
    "tumor_ml",
    "burden_percent",
    "lesions",
    "largest_lesion_mm",
    "liver_touches_border",
    "notes",
    "input",
    "message",
)


class Summary:
    """The rows of `summary.csv`; cases that were finished in the folder before are kept.

    Args:
        folder: the folder with a folder of each case.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows: dict[str, dict[str, Any]] = {}
        for path in sorted(folder.glob(f"*/{REPORT}")):
            row = _row_of_file(path)
            if row:
                self._rows[row["case"]] = row

    def add_report(self, report: Mapping[str, Any]) -> None:
        """Add a finished case, or replace what was known of it, and write the table."""
        self._rows[report["case"]] = _row(report)
        self._write()

    def add_failure(self, case: str, source: str, message: str) -> None:
        """Add a case that was refused or failed, in place of what was known of it, and write the table."""
        row: dict[str, Any] = dict.fromkeys(COLUMNS)
        self._rows[case] = {**row, "case": case, "status": "failed", "input": source, "message": message}
        self._write()

    def _write(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        write_text(self._folder / SUMMARY, table(COLUMNS, list(self._rows.values())))


def _row(report: Mapping[str, Any]) -> dict[str, Any]:
    liver, tumor = report["liver"], report["tumor"]
    return {
        "case": report["case"],
        "status": "done",
        "liver_ml": liver["volume_ml"],
        "liver_without_tumor_ml": liver["volume_without_tumor_ml"],
        "tumor_ml": tumor["volume_ml"],
        "burden_percent": tumor["burden_percent"],
        "lesions": tumor["lesion_count"],
        "largest_lesion_mm": max((lesion["longest_mm"] for lesion in report["lesions"]), default=None),
        "liver_touches_border": liver["touches_border"],
        "notes": len(report["notes"]),
        "input": report["input"],
        "message": None,
    }


def _row_of_file(path: Path) -> dict[str, Any] | None:
    """The row of an earlier report; None where that was not written by this program or is of another layout."""
    try:
        return _row(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None
