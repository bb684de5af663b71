"""Segments in the report: volumes add up to the liver, lesions have their segments, and all is null by default."""

import csv
import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from shapes import Ellipsoid, grid, scene
from test_report import POINT, RUN

from custom_networks.labelmap.lesions import list_lesions
from custom_networks.report.measurements import Measurements, measure
from custom_networks.report.organ_region import organ_region
from custom_networks.report.report import SCHEMA, case_report, write_report
from custom_networks.report.segments import SEGMENT_COLUMNS, Segments, segments_of_case

FOUND = {"state": "found", "reason": None}
LEFT_OUT = {"state": "left out", "reason": "about 30 % of the liver seems to lie outside the image"}
# One far from the middle of the liver, one across it.
LESIONS = [Ellipsoid((25, 0, 0), (8, 8, 8)), Ellipsoid((1, 0, 20), (6, 6, 6))]


def case(state: dict[str, Any] = FOUND) -> tuple[Measurements, Segments]:
    """A ball-shaped liver with two lesions, divided into segments 8 and 2 in the middle of x."""
    affine, shape = grid((2.0, 2.0, 4.0), "LPS, feet first")
    labels, hu = scene(LESIONS, affine, shape)
    found = list_lesions(labels, np.full((2, *shape), 204, np.uint8), affine, None)
    found = found.largest_first(np.ones(found.volume_mm3.shape, bool))
    region = organ_region(labels, found.number_map(shape), affine)
    x = np.indices(shape)[0] * affine[0, 0] + affine[0, 3]
    segments = np.where(labels > 0, np.where(x > 12.0, 2, 8), 0).astype(np.uint8)
    measured = measure(region, hu[region.box], found.listed(), calibrated=False)
    return measured, segments_of_case(state, segments if state == FOUND else None, region, "0" * 64)


def report(segments: Segments | None, measured: Measurements) -> dict[str, Any]:
    return case_report("ct", "ct.nii.gz", measured, {"mask": "ct_seg.nii.gz"}, POINT, RUN, (), segments=segments)


def test_segment_volumes_add_up_and_each_lesion_has_its_segment(tmp_path: Path) -> None:
    measured, segments = case()
    assert sum(segments.volumes_ml.values()) == pytest.approx(measured.liver_ml)
    assert sum(segments.tumor_ml.values()) == pytest.approx(measured.tumor_ml)
    assert segments.lesions[1].shares == ((2, 1.0),) and not segments.lesions[1].near_border
    assert dict(segments.lesions[2].shares).keys() == {2, 8} and segments.lesions[2].near_border
    written = report(segments, measured)
    jsonschema.validate(written, json.loads(SCHEMA.read_text()))
    assert [row["lesion_count"] for row in written["segments"]["table"]] == [0, 2, 0, 0, 0, 0, 0, 1]
    assert written["lesions"][0]["segments"] == [{"segment": 2, "share": 1.0}]
    write_report(written, tmp_path)
    with (tmp_path / "segments.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == SEGMENT_COLUMNS and [row["roman"] for row in rows][:4] == ["I", "II", "III", "IV"]
    assert float(rows[1]["volume_ml"]) == written["segments"]["table"][1]["volume_ml"]
    with (tmp_path / "lesions.csv").open(newline="") as stream:
        lesions = list(csv.DictReader(stream))
    assert [row["segment"] for row in lesions] == ["2", "2"] and lesions[0]["segment_shares"] == "2:1.0"
    assert [row["near_segment_border"] for row in lesions] == ["false", "true"]


def test_missing_segments_have_a_reason_and_lesions_have_none(tmp_path: Path) -> None:
    measured, segments = case(LEFT_OUT)
    written = report(segments, measured)
    jsonschema.validate(written, json.loads(SCHEMA.read_text()))
    assert written["segments"] == {**LEFT_OUT, "sha256": "0" * 64, "table": []}
    assert written["lesions"][0]["segments"] is None and not segments.labels.any()
    assert segments.notes == (f"Liver segments were left out: {LEFT_OUT['reason']}.",)
    write_report(written, tmp_path)
    assert not (tmp_path / "segments.csv").exists()


def test_segments_that_were_not_requested_are_null() -> None:
    written = report(None, case()[0])
    jsonschema.validate(written, json.loads(SCHEMA.read_text()))
    assert written["segments"] is None and written["lesions"][0]["near_segment_border"] is None
