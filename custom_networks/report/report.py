"""The report of a case, as JSON whose layout `report.schema.json` states, and the table of its lesions as CSV."""

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from custom_networks import __version__
from custom_networks.report.lesion import Lesion
from custom_networks.report.measurements import Measurements

SCHEMA_VERSION = "1.0"
SCHEMA = Path(__file__).with_name("report.schema.json")
REPORT, LESIONS = "report.json", "lesions.csv"
DISCLAIMER = "Research use only: this is not a medical device."

DIGITS = {"confidence": 4, "mean_probability": 4, "burden_percent": 3}
LESION_COLUMNS = (
    "case",
    "id",
    "volume_mm3",
    "longest_mm",
    "perpendicular_mm",
    "slice_number",
    "slice_index",
    "slice_position_mm",
    "extent_x_mm",
    "extent_y_mm",
    "extent_z_mm",
    "centroid_x_mm",
    "centroid_y_mm",
    "centroid_z_mm",
    "mean_hu",
    "sd_hu",
    "contrast_hu",
    "surface_distance_mm",
    "touches_border",
    "mean_probability",
    "confidence",
    "confidence_calibrated",
)


def case_report(
    case: str,
    source: str,
    measurements: Measurements,
    files: Mapping[str, str],
    operating_point: Mapping[str, float],
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """What `report.json` holds.

    Args:
        case: name of the case.
        source: the input's path as it was given.
        measurements: of the case.
        files: what else was written to the case's folder: kind to name.
        operating_point: thresholds that decided which voxels and lesions count.
        notes: what the reader had to say about the input.

    Returns:
        Numbers, texts, lists and dictionaries: volumes in ml and mm3, lengths in mm, intensities in HU, rounded to
        hundredths and the like; places in LPS mm.
    """
    found = measurements
    return {
        "schema_version": SCHEMA_VERSION,
        "software": {"name": "liverseg", "version": __version__},
        "disclaimer": DISCLAIMER,
        "case": case,
        "input": source,
        "files": dict(files),
        "notes": list(notes),
        "liver": {
            "volume_ml": round(found.liver_ml, 3),
            "volume_without_tumor_ml": round(found.liver_without_tumor_ml, 3),
            "touches_border": found.touches_border,
        },
        "tumor": {
            "volume_ml": round(found.tumor_ml, 3),
            "burden_percent": _rounded("burden_percent", found.burden_percent),
            "lesion_count": len(found.lesions),
        },
        "confidence_calibrated": found.calibrated,
        "operating_point": dict(operating_point),
        "lesions": [lesion_entry(lesion) for lesion in found.lesions],
    }


def lesion_entry(lesion: Lesion) -> dict[str, Any]:
    """A lesion as the report has it: its attributes, rounded."""
    return {name: _rounded(name, value) for name, value in asdict(lesion).items()}


def write_report(report: Mapping[str, Any], folder: Path) -> None:
    """Write `report.json` and `lesions.csv` to a folder, each under a temporary name that is then renamed."""
    write_text(folder / LESIONS, table(LESION_COLUMNS, lesion_rows(report)))
    write_text(folder / REPORT, json.dumps(report, indent=2, ensure_ascii=True, allow_nan=False) + "\n")


def lesion_rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of `lesions.csv` by LESION_COLUMNS, one a lesion; what is not known is left empty."""
    shared = {"case": report["case"], "confidence_calibrated": report["confidence_calibrated"]}
    rows = []
    for lesion in report["lesions"]:
        row = {**lesion, **shared}
        for name in ("extent", "centroid"):
            values = lesion["extent_mm" if name == "extent" else name]
            row.update({f"{name}_{axis}_mm": value for axis, value in zip("xyz", values, strict=True)})
        rows.append({column: row[column] for column in LESION_COLUMNS})
    return rows


def table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """A CSV table: a header, then a row each; None is an empty cell, booleans are true and false."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, under a temporary name that is then renamed."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_text(text, encoding="utf-8", newline="")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _cell(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _rounded(name: str, value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [_rounded(name, item) for item in value]
    return round(value, DIGITS.get(name, 2)) if isinstance(value, float) else value
