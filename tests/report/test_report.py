"""`report.json` follows its schema, and the tables agree with it and include every finished case."""

import csv
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from shapes import Ellipsoid, grid, measured, measured_labels

from custom_networks import files
from custom_networks.report.report import LESION_COLUMNS, SCHEMA, SCHEMA_VERSION, case_report, write_report
from custom_networks.report.summary import COLUMNS, Finished, Summary, refused_row

TWO = [Ellipsoid((8, 5, -3), (6, 6, 6)), Ellipsoid((-12, 0, 5), (9, 8, 8))]
POINT = {"tumor_threshold": 0.5, "min_lesion_mm3": 30.0}
RUN: dict[str, Any] = {
    "date": "2025-11-29T02:30:00+00:00",
    "version": "1.0.0",
    "weights": {"sha256": "0" * 64, "released": False},
    "runtime": "pytorch",
    "precision": "float32",
    "device": "cpu",
    "processor": "x86_64",
    "fast": False,
    "seconds": {"total": 9.5, "read": 0.5, "prepare": 1.0, "scout": 0.5, "network": 6.5, "write": 1.0},
    "source": {"series_instance_uid": None, "series_number": None, "spacing_mm": [2.0, 2.0, 4.0], "slices": 26},
    "scout": {"state": "found", "sha256": "0" * 64, "box": [[8, 20], [0, 16], [2, 24]]},
}


def report_of(lesions: list[Ellipsoid], case: str = "ct", notes: tuple[str, ...] = ()) -> dict[str, Any]:
    found = measured(lesions, *grid((2.0, 2.0, 4.0), "LPS, feet first"))
    return case_report(case, f"scans/{case}.nii.gz", found, {"mask": f"{case}_seg.nii.gz"}, POINT, RUN, notes)


def report_without_liver() -> dict[str, Any]:
    labels = np.zeros((10, 10, 6), np.uint8)
    found = measured_labels(labels, np.zeros((2, *labels.shape), np.uint8), np.eye(4), labels)
    return case_report("empty", "empty.nii", found, {"mask": "empty_seg.nii.gz"}, POINT, RUN)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize(
    "report", [report_of(TWO), report_of([]), report_without_liver()], ids=["two lesions", "no lesion", "no liver"]
)
def test_the_report_follows_its_schema_when_read_back(report: dict[str, Any], tmp_path: Path) -> None:
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    write_report(report, tmp_path)
    written = json.loads((tmp_path / "report.json").read_text())
    assert written == report
    jsonschema.validate(written, schema)
    assert written["schema_version"] == SCHEMA_VERSION and f"version {SCHEMA_VERSION}" in schema["title"]


@pytest.mark.parametrize(
    "change",
    [{"schema_version": "2.0"}, {"unknown": 1}, {"lesions": [{"id": 1}]}, {"run": RUN | {"patient": "Doe"}}],
    ids=str,
)
def test_the_schema_refuses_unknown_and_missing_keys(change: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**report_of([]), **change}, json.loads(SCHEMA.read_text()))


def test_every_number_of_the_schema_has_a_description() -> None:
    schema = json.loads(SCHEMA.read_text())
    assert all(spec["description"] for spec in schema["$defs"]["lesion"]["properties"].values())
    assert all(
        spec["description"] for spec in schema["properties"]["run"]["properties"]["seconds"]["properties"].values()
    )


def test_lesions_csv_has_one_row_per_lesion_with_the_numbers_of_the_report(tmp_path: Path) -> None:
    report = report_of(TWO)
    write_report(report, tmp_path)
    table = rows(tmp_path / "lesions.csv")
    assert tuple(table[0]) == LESION_COLUMNS
    assert [(row["case"], row["id"]) for row in table] == [("ct", "1"), ("ct", "2")]
    for row, lesion in zip(table, report["lesions"], strict=True):
        assert float(row["longest_mm"]) == lesion["longest_mm"]
        assert [float(row[f"centroid_{axis}_mm"]) for axis in "xyz"] == lesion["centroid"]
        assert [float(row[f"extent_{axis}_mm"]) for axis in "xyz"] == lesion["extent_mm"]
        assert row["touches_border"] == "false" and row["confidence_calibrated"] == "false"
    assert report["tumor"]["lesion_count"] == 2
    assert report["tumor"]["volume_ml"] == pytest.approx(
        sum(float(row["volume_mm3"]) for row in table) / 1000, abs=1e-3
    )


def test_without_lesions_the_table_is_only_a_header(tmp_path: Path) -> None:
    write_report(report_of([]), tmp_path)
    assert (tmp_path / "lesions.csv").read_text() == ",".join(LESION_COLUMNS) + "\n"


def test_notes_files_and_operating_point_are_in_the_report() -> None:
    report = report_of([], notes=("sform and qform differ: \u809d",))
    assert report["notes"] == ["sform and qform differ: \u809d"]
    assert report["operating_point"] == POINT and report["files"] == {"mask": "ct_seg.nii.gz"}


def test_a_failed_write_leaves_the_earlier_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_report(report_of([]), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_report(report_of(TWO), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def whole(folder: Path, report: Mapping[str, Any]) -> Finished:
    """Write a finished case folder below `folder`: its report, and last its manifest."""
    case = folder / str(report["case"])
    write_report(report, case)
    (case / "manifest.json").write_text("{}")
    return Finished(case / "manifest.json")


def refused(folder: Path, case: str, source: str, message: str) -> Finished:
    """Record a refusal in `folder`."""
    path = folder / f"{case} {message}.json".replace("/", " ")
    path.write_text("{}")
    return Finished(path, refused_row(case, source, message))


def test_the_summary_has_a_row_for_every_input_in_order_of_completion(tmp_path: Path) -> None:
    found = [
        whole(tmp_path, report_of(TWO, "one")),
        refused(tmp_path, "two", "scans/two.nii.gz", "two.nii.gz is constant"),
        whole(tmp_path, report_without_liver()),
    ]
    for number, finished in enumerate(found):
        os.utime(finished.path, ns=(number, number))
    Summary(tmp_path, lambda: reversed(found)).write()
    table = rows(tmp_path / "summary.csv")
    assert tuple(table[0]) == COLUMNS
    assert [(row["case"], row["status"], row["lesions"]) for row in table] == [
        ("one", "done", "2"),
        ("two", "failed", ""),
        ("empty", "done", "0"),
    ]
    assert table[1]["message"] == "two.nii.gz is constant" and table[1]["liver_ml"] == ""
    assert (table[2]["liver_ml"], table[2]["burden_percent"], table[2]["largest_lesion_mm"]) == ("0.0", "", "")
    assert float(table[0]["largest_lesion_mm"]) == pytest.approx(18, abs=2)


def test_a_folder_whose_report_cannot_be_read_has_no_row(tmp_path: Path) -> None:
    found = [whole(tmp_path, report_of([], "one")), whole(tmp_path, report_of(TWO, "two"))]
    (tmp_path / "one" / "report.json").write_text('{"case": "one"}')
    Summary(tmp_path, lambda: found).write()
    assert [(row["case"], row["lesions"]) for row in rows(tmp_path / "summary.csv")] == [("two", "2")]


def test_a_refused_input_with_a_finished_cases_name_has_its_own_row(tmp_path: Path) -> None:
    found = [whole(tmp_path, report_of([], "ct"))]
    found += [refused(tmp_path, "ct", f"{place}/ct.nii.gz", f"{place} is constant") for place in "BC"]
    Summary(tmp_path, lambda: found).write()
    assert sorted((row["status"], row["input"]) for row in rows(tmp_path / "summary.csv")) == [
        ("done", "scans/ct.nii.gz"),
        ("failed", "B/ct.nii.gz"),
        ("failed", "C/ct.nii.gz"),
    ]


def test_a_case_finished_while_the_summary_is_written_is_listed(tmp_path: Path) -> None:
    first, second = whole(tmp_path, report_of([], "one")), whole(tmp_path, report_of([], "two"))
    looks = iter([[first], [first, second], [first, second]])
    Summary(tmp_path, lambda: next(looks)).write()
    assert {row["case"] for row in rows(tmp_path / "summary.csv")} == {"one", "two"}


def test_the_documentation_lists_every_column_and_key() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "outputs.md").read_text(encoding="utf-8")
    schema = json.loads(SCHEMA.read_text())
    run = schema["properties"]["run"]["properties"]
    named = [f"`{name}`" for name in [*LESION_COLUMNS, *COLUMNS]]
    named += [f"`lesions[].{key}" for key in schema["$defs"]["lesion"]["properties"]]
    named += [f"`{key}" for key in schema["properties"]] + [f"`run.{key}" for key in run]
    parts = ("weights", "seconds", "source", "scout")
    named += [f"`run.{part}.{key}`" for part in parts for key in run[part]["properties"]]
    assert [name for name in named if name not in page] == []
