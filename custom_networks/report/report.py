"""report.json of a case (its format is defined by `report.schema.json`) and the CSV table of its lesions."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from custom_networks import __version__
from custom_networks.files import Cell, write_csv, write_text
from custom_networks.report.measurements import Measurements
from custom_networks.report.segments import (
    SEGMENT_COLUMNS,
    Segments,
    lesion_block,
    lesion_cells,
    segment_rows,
    segments_block,
)

SCHEMA_VERSION = "1.2"
SCHEMA = Path(__file__).with_name("report.schema.json")
REPORT, LESIONS, SEGMENTS = "report.json", "lesions.csv", "segments.csv"
DISCLAIMER = "Research use only: this is not a medical device."

DIGITS = {"confidence": 4, "mean_probability": 4, "burden_percent": 3}
LESION_COLUMNS = tuple(
    "case id volume_mm3 longest_mm perpendicular_mm slice_number slice_index slice_position_mm extent_x_mm extent_y_mm "
    "extent_z_mm centroid_x_mm centroid_y_mm centroid_z_mm mean_hu sd_hu contrast_hu surface_distance_mm "
    "touches_border mean_probability confidence confidence_calibrated segment segment_shares "
    "near_segment_border".split()
)


def case_report(
    case: str,
    source: str,
    found: Measurements,
    files: Mapping[str, str],
    operating_point: Mapping[str, float],
    run: Mapping[str, Any],
    notes: Sequence[str] = (),
    verdict: Mapping[str, Any] | None = None,
    segments: Segments | None = None,
) -> dict[str, Any]:
    """Return the content of `report.json` with rounded numbers; volumes are in ml or mm3, points in LPS mm.

    Args:
        case: name of the case and of its folder.
        source: path of the input, as given by the user.
        found: measurements of the case.
        files: names of the other files in the case folder, by kind.
        operating_point: thresholds of the anatomy rules.
        run: how and when the case was segmented.
        notes: notes about the input.
        verdict: the verdict from `Verdict.as_json`, or None to leave it out.
        segments: the liver segments, or None if not requested.
    """
    lesions = [
        {name: _rounded(name, v) for name, v in asdict(lesion).items()} | lesion_block(segments, lesion.id)
        for lesion in found.lesions
    ]
    return {
        "schema_version": SCHEMA_VERSION,
        "software": {"name": "liverseg", "version": __version__},
        "disclaimer": DISCLAIMER,
        "case": case,
        "input": source,
        "files": dict(files),
        "notes": list(notes),
        "mask_by": "person" if found.by_person else "network",
        **({"verdict": dict(verdict)} if verdict is not None else {}),
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
        "segments": segments_block(segments),
        "lesions": lesions,
        "run": dict(run),
    }


def write_report(report: Mapping[str, Any], folder: Path) -> None:
    """Write `report.json`, `lesions.csv` and, if there are segments, `segments.csv`, each atomically."""
    write_csv(folder / LESIONS, LESION_COLUMNS, lesion_rows(report))
    if table := segment_rows(report):
        write_csv(folder / SEGMENTS, SEGMENT_COLUMNS, table)
    write_text(folder / REPORT, json.dumps(report, indent=2, ensure_ascii=True, allow_nan=False) + "\n")


def lesion_rows(report: Mapping[str, Any]) -> list[list[Cell]]:
    """Return the rows of `lesions.csv`, one for each lesion, in the order of LESION_COLUMNS; unknown cells are None."""
    shared = {"case": report["case"], "confidence_calibrated": report["confidence_calibrated"]}
    rows = []
    for lesion in report["lesions"]:
        row = {**lesion, **shared, **lesion_cells(lesion)}
        for column, values in (("extent_{}_mm", lesion["extent_mm"]), ("centroid_{}_mm", lesion["centroid"])):
            row |= {column.format(axis): value for axis, value in zip("xyz", values, strict=True)}
        rows.append([row[column] for column in LESION_COLUMNS])
    return rows


def _rounded(name: str, value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [_rounded(name, item) for item in value]
    return round(value, DIGITS.get(name, 2)) if isinstance(value, float) else value
