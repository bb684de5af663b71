"""Files, output and exit code of `liverseg segment` with weights whose output is known."""

import csv
import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch

import custom_networks

SCAN_ML = 80 * 80 * 24 * 1.25 * 1.25 * 3 / 1000  # 720
Liverseg = Callable[..., Any]
SaveScan = Callable[..., Path]
TABLES = ("report.json", "lesions.csv", "summary.csv", "manifest.json")


def results(folder: Path) -> list[str]:
    """Files below a folder, without tables and refusals; they would include temporary files left behind."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return [name for name in files if name.rpartition("/")[2] not in TABLES and not name.startswith(".refused/")]


def test_the_mask_has_the_scans_grid_and_volumes_are_reported(
    segment: Liverseg, save_scan: SaveScan, tmp_path: Path
) -> None:
    scan = nib.load(save_scan("ct.nii.gz"))
    answer = segment("ct.nii.gz")
    assert answer.code == 0
    assert re.fullmatch(
        rf"ct: liver {SCAN_ML:.1f} ml, tumor 0\.0 ml \(\d+\.\d s\), verdict: \w+\n  mask    out/ct/ct_seg\.nii\.gz\n",
        answer.out,
    )
    cut = "The liver reaches the border of the image and may be cut off: volumes cover only the visible part. "
    cut += "Segment a scan of the whole liver if you need its volume."
    banner, *findings = answer.err.splitlines()
    assert banner == "Research use only: this is not a medical device." and f"  look: {cut}" in findings
    assert all(line.startswith(("  look: ", "  stop: ")) for line in findings)
    mask = nib.load(tmp_path / "out" / "ct" / "ct_seg.nii.gz")
    assert mask.shape == scan.shape and mask.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(mask.affine, scan.affine)
    assert (np.asarray(mask.dataobj) == 1).all()
    assert results(tmp_path / "out") == ["ct/ct_seg.nii.gz"]


def test_an_empty_mask_is_a_result(segment: Liverseg, save_scan: SaveScan, no_liver: Path, tmp_path: Path) -> None:
    answer = segment(save_scan(), weights=no_liver)
    assert answer.code == 0
    assert answer.out.startswith("ct: no liver found (")
    assert not np.asarray(nib.load(tmp_path / "out" / "ct" / "ct_seg.nii.gz").dataobj).any()


@pytest.mark.parametrize("runtime", ["torch", "auto"])
def test_weights_with_nan_are_refused_in_one_line(
    runtime: str, segment: Liverseg, save_scan: SaveScan, no_liver: Path, tmp_path: Path
) -> None:
    state = torch.load(no_liver, weights_only=True)
    state["stem.0.weight"][0, 0, 0, 0] = float("nan")
    torch.save(state, tmp_path / "nan.pt")
    answer = segment(save_scan(), f"--runtime={runtime}", weights=tmp_path / "nan.pt")
    assert answer.code == 2 and answer.out == ""
    (line,) = [line for line in answer.err.splitlines() if line.startswith("liverseg: ")]
    assert "not finite" in line and "damaged" in line
    assert results(tmp_path / "out") == []


def test_a_folder_named_like_a_number_is_an_input(segment: Liverseg, save_scan: SaveScan, tmp_path: Path) -> None:
    save_scan("2024/one.nii.gz")
    save_scan("2024/two.nii")
    assert segment("2024").code == 0
    assert results(tmp_path / "out") == ["one/one_seg.nii.gz", "two/two_seg.nii.gz"]


def test_two_inputs_with_the_same_name_get_separate_folders(
    segment: Liverseg, save_scan: SaveScan, tmp_path: Path
) -> None:
    save_scan("before/ct.nii.gz")
    later = nib.load(save_scan("after/CT.nii.gz"))
    nib.save(nib.Nifti1Image(np.asarray(later.dataobj) + 1, later.affine), tmp_path / "after" / "CT.nii.gz")
    answer = segment("before/ct.nii.gz", "after/CT.nii.gz")
    assert answer.code == 0
    assert results(tmp_path / "out") == ["CT_2/CT_2_seg.nii.gz", "ct/ct_seg.nii.gz"]
    assert "out/ct/ct_seg.nii.gz" in answer.out and "out/CT_2/CT_2_seg.nii.gz" in answer.out


def test_an_input_given_twice_is_segmented_once(segment: Liverseg, save_scan: SaveScan, tmp_path: Path) -> None:
    path = save_scan("scans/ct.nii.gz")
    answer = segment("scans/ct.nii.gz", "scans", path, "scans/../scans/ct.nii.gz")
    assert answer.code == 0
    assert answer.out.count("mask") == 1
    assert results(tmp_path / "out") == ["ct/ct_seg.nii.gz"]


@pytest.mark.parametrize("progress", ["true", "false"])
def test_a_bad_input_does_not_stop_the_good_ones(
    liverseg: Liverseg, save_scan: SaveScan, all_liver: Path, tmp_path: Path, progress: str
) -> None:
    save_scan("first.nii.gz")
    (tmp_path / "bad.nii.gz").write_text("not an image")
    save_scan("last.nii.gz")
    inputs = ["first.nii.gz", "absent.nii.gz", "bad.nii.gz", "notes.txt", "last.nii.gz"]
    (tmp_path / "notes.txt").write_text("notes")
    flags = [f"--checkpoint={all_liver}", "--overlay=false", f"--progress={progress}", "--device", "cpu", "--page=off"]
    answer = liverseg("segment", *inputs, "--output", "out", *flags)
    assert answer.code == 1
    complaints = [line for line in answer.err.splitlines() if line.startswith("liverseg: ")]
    assert len(complaints) == 3 and "Traceback" not in answer.err
    assert "No such file or folder: absent.nii.gz" in complaints[0]
    assert "notes.txt is not a CT volume" in complaints[1]
    assert "bad.nii.gz" in complaints[2]
    assert [line.partition(":")[0] for line in answer.out.splitlines()[::2]] == ["first", "last"]
    assert results(tmp_path / "out") == ["first/first_seg.nii.gz", "last/last_seg.nii.gz"]


def test_a_text_file_named_like_an_image_is_refused_in_one_line(segment: Liverseg, tmp_path: Path) -> None:
    (tmp_path / "ct.nii.gz").write_text("not an image")
    answer = segment("ct.nii.gz")
    assert (answer.code, answer.out) == (1, "")
    assert re.fullmatch(r"Research use only[^\n]*\nliverseg: ct\.nii\.gz [^\n]+\n", answer.err)


@pytest.mark.parametrize("debug", [True, False])
def test_an_unexpected_failure_is_one_line_and_a_traceback_with_debug(
    segment: Liverseg, save_scan: SaveScan, monkeypatch: pytest.MonkeyPatch, debug: bool
) -> None:
    def fail(*arguments: object, **named: object) -> None:
        raise RuntimeError("out of\nmemory")

    monkeypatch.setattr("custom_networks.pipeline.Pipeline.predict", fail)
    answer = segment(save_scan(), *["--debug"] * debug)
    assert answer.code == 1
    assert "ct.nii.gz: failed unexpectedly, " in answer.err.splitlines()[-1]
    assert ("Traceback" in answer.err) == debug


def test_a_file_without_weights_is_refused_before_the_first_case(
    segment: Liverseg, save_scan: SaveScan, tmp_path: Path
) -> None:
    (tmp_path / "weights.pt").write_text("not weights")
    answer = segment(save_scan(), weights=Path("weights.pt"))
    assert (answer.code, answer.out) == (2, "")
    assert "weights.pt does not contain weights of this network" in answer.err.splitlines()[-1]


@pytest.mark.parametrize("name", ["Müller, Jan.nii.gz", "肝 CT.nii.gz", "#1 @home $x %y.nii.gz", "it's.nii.gz"])
def test_any_file_or_folder_name_is_accepted(
    liverseg: Liverseg, save_scan: SaveScan, all_liver: Path, tmp_path: Path, name: str
) -> None:
    folder = name.removesuffix(".nii.gz")
    path = save_scan(f"{folder}/{name}")
    weights = tmp_path / folder / "weights.pt"
    weights.symlink_to(all_liver)
    flags = [f"--checkpoint={weights}", "--overlay=false", "--progress=false", "--device=cpu", "--page=off"]
    answer = liverseg("segment", path, "--output", f"results/{folder}", *flags)
    assert answer.code == 0
    written = results(tmp_path / "results")
    assert len(written) == 1 and written[0].startswith(f"{folder}/")
    assert re.fullmatch(r"[A-Za-z0-9._-]+/[A-Za-z0-9._-]+_seg\.nii\.gz", written[0].removeprefix(f"{folder}/"))
    assert f"mask    results/{written[0]}" in answer.out


@pytest.fixture
def series(tmp_path: Path) -> str:
    """A DICOM series of 24 slices, in a folder "ct"."""
    from custom_networks.phantom import make_phantom
    from custom_networks.phantom.files import write_series

    write_series(make_phantom(5, shape=(80, 80, 24), spacing=(1.25, 1.25, 3.0), lesions=1), tmp_path / "ct", "0")
    return "ct"


def test_a_dicom_series_is_segmented_by_its_folders_name(segment: Liverseg, series: str, tmp_path: Path) -> None:
    (tmp_path / series).rename(tmp_path / "series 7")
    answer = segment("series 7")
    assert answer.code == 0, answer.err
    names = [f"series_7/series_7_{name}" for name in ("seg.dcm", "seg.nii.gz", "sr.dcm")]
    assert results(tmp_path / "out") == names
    assert [line.split("out/")[-1] for line in answer.out.splitlines()[-3:]] == [names[1], names[0], names[2]]
    mask = nib.load(tmp_path / "out" / "series_7" / "series_7_seg.nii.gz")
    assert sorted(mask.shape) == [24, 80, 80]
    assert f"liver {SCAN_ML:.1f} ml" in answer.out


def test_report_terminal_sr_summary_and_result_have_the_same_verdict(
    segment: Liverseg, series: str, all_liver: Path, tmp_path: Path
) -> None:
    answer = segment(series)
    case = tmp_path / "out" / "ct"
    verdict = json.loads((case / "report.json").read_text())["verdict"]
    level, texts = verdict["level"], [finding["text"] for finding in verdict["findings"]]
    assert level in ("look", "stop") and texts
    result = custom_networks.segment(tmp_path / series, checkpoint=str(all_liver), device="cpu")
    assert result.verdict is not None and result.verdict.as_json() == verdict
    assert answer.out.splitlines()[0].endswith(f"verdict: {level}")
    said = [f"  {finding['level']}: {finding['text']}" for finding in verdict["findings"]]
    assert [line for line in answer.err.splitlines() if re.match("  (ok|look|stop): ", line)] == said
    with (tmp_path / "out" / "summary.csv").open(newline="") as stream:
        assert [row["verdict"] for row in csv.DictReader(stream)] == [level]
    assert list(comments(pydicom.dcmread(case / "ct_sr.dcm"))) == [f"Verdict: {level}.", *texts]


def comments(item: pydicom.Dataset) -> Iterator[str]:
    """The comments (DCM 121106) below an item of a structured report."""
    for child in item.get("ContentSequence", ()):
        if child.ConceptNameCodeSequence[0].CodeValue == "121106":
            yield child.TextValue
        yield from comments(child)


def test_the_overlay_is_written_beside_the_mask_and_listed(
    liverseg: Liverseg, save_scan: SaveScan, random_weights: Path, tmp_path: Path
) -> None:
    flags = [f"--checkpoint={random_weights}", "--progress=false", "--device=cpu", "--page=off"]
    answer = liverseg("segment", save_scan(), "--output", "out", *flags)
    assert answer.code == 0
    assert answer.out.splitlines()[-1] == "  overlay out/ct/overlay.png"
    assert results(tmp_path / "out") == ["ct/ct_seg.nii.gz", "ct/overlay.png"]


def test_a_picture_that_cannot_be_drawn_becomes_a_note(
    liverseg: Liverseg, save_scan: SaveScan, all_liver: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError("No space left\non device")

    for drawing, what in (("result.draw_overlay", "overlay.png"), ("showing.write_page", "report.html")):
        monkeypatch.setattr(f"custom_networks.{drawing}", fail)
        flags = ["--output", "out", f"--checkpoint={all_liver}", "--progress=false", "--device=cpu", "--force"]
        answer = liverseg("segment", save_scan(), *flags)
        assert answer.code == 0
        assert answer.err.splitlines()[-1] == f"  note: {what} was not written (OSError: No space left on device)."
    assert results(tmp_path / "out") == ["ct/ct_seg.nii.gz", "index.html"]


def test_an_unknown_kind_of_page_is_refused_before_any_work(
    liverseg: Liverseg, save_scan: SaveScan, tmp_path: Path
) -> None:
    answer = liverseg("segment", save_scan(), "--output", "out", "--page", "heavy")
    assert answer.code == 2 and not (tmp_path / "out").exists()
    assert answer.err == "liverseg: page must be full, light or off, got 'heavy'.\n"


@pytest.mark.parametrize(
    "refused, missing, kept",
    [("sr", "DICOM SR was", ["seg.dcm", "seg.nii.gz"]), ("seg", "DICOM SEG and SR were", ["seg.nii.gz"])],
)
def test_a_failed_dicom_result_becomes_a_note_without_patient_text(
    segment: Liverseg,
    series: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    refused: str,
    missing: str,
    kept: list[str],
) -> None:
    def fail(*arguments: object, **named: object) -> None:
        raise ValueError("Invalid value: DOE^JANE")

    monkeypatch.setattr(f"custom_networks.dicom_out.{refused}.write_{refused}", fail)
    answer = segment(series)
    assert answer.code == 0
    assert results(tmp_path / "out") == [f"ct/ct_{name}" for name in kept]
    assert f"  note: {missing} not written (ValueError; --debug shows where)." in answer.err.splitlines()
    assert "DOE" not in answer.err + (tmp_path / "out" / "ct" / "report.json").read_text()
    caplog.set_level(logging.DEBUG, "custom_networks")
    segment(series, "--debug", "--force")
    assert "ValueError: Invalid value" in caplog.text


@pytest.mark.parametrize("flags, frames", [([], 1), (["--keep-empty-frames"], 24)])
def test_empty_frames_of_a_seg_are_kept_on_request(
    segment: Liverseg, no_liver: Path, series: str, tmp_path: Path, flags: list[str], frames: int
) -> None:
    assert segment(series, *flags, weights=no_liver).code == 0
    assert pydicom.dcmread(tmp_path / "out" / "ct" / "ct_seg.dcm").NumberOfFrames == frames


def test_a_second_run_into_the_same_folder_replaces_the_masks(
    segment: Liverseg, save_scan: SaveScan, no_liver: Path, tmp_path: Path
) -> None:
    save_scan()
    assert segment("ct.nii.gz").code == 0
    assert segment("ct.nii.gz", weights=no_liver).code == 0
    assert not np.asarray(nib.load(tmp_path / "out" / "ct" / "ct_seg.nii.gz").dataobj).any()
    assert results(tmp_path / "out") == ["ct/ct_seg.nii.gz"]


def test_a_folder_name_that_the_terminal_cannot_encode_does_not_stop_the_run(
    liverseg: Liverseg, save_scan: SaveScan, all_liver: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", terminal)
    flags = ["--output=肝", f"--checkpoint={all_liver}", "--device=cpu", "--overlay=false", "--page=off"]
    answer = liverseg("segment", save_scan(), *flags)
    assert answer.code == 0 and "Warning" not in answer.err
    terminal.seek(0)
    found = rf"ct: liver {SCAN_ML:.1f} ml, tumor 0\.0 ml \(\d+\.\d s\), verdict: \w+\n"
    assert re.fullmatch(found + r"  mask    \\u809d/ct/ct_seg\.nii\.gz\n", terminal.read())
    assert results(tmp_path / "肝") == ["ct/ct_seg.nii.gz"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="NO /dev/full on this system")
def test_a_full_disk_behind_stdout_does_not_stop_the_run(
    segment: Liverseg, save_scan: SaveScan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open("/dev/full", "w", buffering=1) as full:
        monkeypatch.setattr("sys.stdout", full)
        answer = segment(save_scan("a.nii.gz"), save_scan("b.nii.gz"))
    assert answer.code == 0 and "Traceback" not in answer.err
    assert results(tmp_path / "out") == ["a/a_seg.nii.gz", "b/b_seg.nii.gz"]
    assert len((tmp_path / "out" / "summary.csv").read_text().splitlines()) == 3
