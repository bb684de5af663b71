"""Files that `liverseg segment` writes besides the mask: report, tables and tumor probability."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import nibabel as nib
import numpy as np
import pytest

from custom_networks.info import OUTPUTS
from custom_networks.report.report import SCHEMA

Liverseg = Callable[..., Any]
SaveScan = Callable[..., Path]


def summary(folder: Path) -> list[dict[str, str]]:
    with (folder / "summary.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_documented_files_are_written_and_no_others(
    liverseg: Liverseg, save_scan: SaveScan, random_weights: Path, tmp_path: Path
) -> None:
    flags = [f"--checkpoint={random_weights}", "--progress=false", "--device=cpu", "--probability"]
    assert liverseg("segment", save_scan("ct.nii.gz"), "--output", "out", *flags).code == 0
    written = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")}
    assert written == {
        name.replace("<case>", "ct") for name in OUTPUTS if not name.endswith(".dcm") and "segments" not in name
    }
    report = json.loads((tmp_path / "out" / "ct" / "report.json").read_text())
    jsonschema.validate(report, json.loads(SCHEMA.read_text()))
    assert report["files"] == {
        "mask": "ct_seg.nii.gz",
        "tumor_probability": "ct_tumor_probability.nii.gz",
        "overlay": "overlay.png",
        "page": "report.html",
        "thumbnail": "thumbnail.jpg",
    }
    labels = np.asarray(nib.load(tmp_path / "out" / "ct" / "ct_seg.nii.gz").dataobj)
    assert report["liver"]["volume_ml"] == pytest.approx((labels > 0).sum() * 1.25 * 1.25 * 3 / 1000, abs=1e-3)
    assert report["tumor"]["volume_ml"] == pytest.approx((labels == 2).sum() * 1.25 * 1.25 * 3 / 1000, abs=1e-3)
    assert report["operating_point"]["tumor_threshold"] == 0.5
    assert report["operating_point"]["min_lesion_mm3"] == 30.0


def test_the_probability_is_on_the_scans_grid_from_0_to_1(
    segment: Liverseg, save_scan: SaveScan, all_liver: Path, tmp_path: Path
) -> None:
    scan = nib.load(save_scan("ct.nii.gz"))
    assert segment("ct.nii.gz", "--probability").code == 0
    saved = nib.load(tmp_path / "out" / "ct" / "ct_tumor_probability.nii.gz")
    assert saved.shape == scan.shape and saved.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(saved.affine, scan.affine)
    # Logits 0, 9, 0: the tumor has one part in e^9 + 2, which rounds to 0 of 255.
    assert saved.dataobj.slope == pytest.approx(1 / 255) and not np.asarray(saved.dataobj).any()


def test_a_failed_case_does_not_remove_the_rows_of_others(
    segment: Liverseg, save_scan: SaveScan, tmp_path: Path
) -> None:
    save_scan("first.nii.gz")
    (tmp_path / "bad.nii.gz").write_text("not an image")
    save_scan("last.nii.gz")
    assert segment("first.nii.gz", "bad.nii.gz", "last.nii.gz").code == 1
    assert [(row["case"], row["status"]) for row in summary(tmp_path / "out")] == [
        ("first", "done"),
        ("bad", "failed"),
        ("last", "done"),
    ]
    assert "bad.nii.gz" in summary(tmp_path / "out")[1]["message"]
    assert float(summary(tmp_path / "out")[0]["liver_ml"]) == pytest.approx(720)


def test_an_interrupted_run_lists_what_was_finished(
    segment: Liverseg, save_scan: SaveScan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from custom_networks.io import Case
    from custom_networks.pipeline import Pipeline

    original = Pipeline.predict

    def interrupted(self: Pipeline, case: Case, **options: Any) -> Any:
        if case.name == "second":
            raise KeyboardInterrupt
        return original(self, case, **options)

    monkeypatch.setattr(Pipeline, "predict", interrupted)
    save_scan("first.nii.gz")
    save_scan("second.nii.gz")
    assert segment("first.nii.gz", "second.nii.gz").code == 130
    assert [row["case"] for row in summary(tmp_path / "out")] == ["first"]


def test_an_unwritable_summary_is_reported_and_masks_are_kept(
    segment: Liverseg, save_scan: SaveScan, tmp_path: Path
) -> None:
    (tmp_path / "out" / "summary.csv" / "in the way").mkdir(parents=True)
    answer = segment(save_scan("ct.nii.gz"))
    assert answer.code == 1 and "summary.csv cannot be written" in answer.err
    assert (tmp_path / "out" / "ct" / "ct_seg.nii.gz").is_file()
    assert (tmp_path / "out" / "ct" / "report.json").is_file()


def test_info_lists_labels_files_flags_and_exit_codes(liverseg: Liverseg) -> None:
    answer = liverseg("info", "--json")
    assert answer.code == 0
    known = json.loads(answer.out)
    assert known["labels"] == {"0": "background", "1": "liver", "2": "tumor"}
    assert set(known["exit_codes"]) == {"0", "1", "2", "130"} and ".nii.gz" in known["inputs"]["files"]
    assert known["inputs"]["archives"] == [".zip of DICOM files"] and "PATH::N" in known["inputs"]["one_series"]
    arguments = {a["name"]: a for a in known["commands"]["segment"]["arguments"]}
    assert arguments["probability"]["type"] == "bool" and arguments["probability"]["default"] is False
    assert arguments["output"]["required"] and not arguments["inputs"]["flag"]
    assert all(argument["help"] for command in known["commands"].values() for argument in command["arguments"])
    lines = liverseg("info").out
    assert all(word in lines for word in ("0 background", "--probability", "summary.csv", "exit   1"))
