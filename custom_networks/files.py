"""Tables and texts of results, each replaced as a whole: a run that is cut off leaves the last complete one."""

import csv
import os
from collections.abc import Iterable
from io import StringIO
from math import isfinite
from pathlib import Path


def write_table(path: Path, header: Iterable[str], rows: Iterable[Iterable[str | float]]) -> None:
    """Write a CSV file; numbers get six digits, what is not finite an empty cell."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in rows)
    write_text(path, text.getvalue())


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8 under a temporary name, and rename it."""
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(text, encoding="utf-8", newline="")
    os.replace(unfinished, path)


def _cell(value: str | float) -> str:
    if isinstance(value, str):
        return value
    return f"{float(value):.6g}" if isfinite(value) else ""
