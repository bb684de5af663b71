"""Which cases a second run skips, and which faults `verify` finds."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from text_cases import TextCase, TextPipeline

from custom_networks import __version__
from custom_networks.batch.refusals import Refusal, remember
from custom_networks.batch.resume import Earlier, Promise, reasons_to_do
from custom_networks.batch.run import Run
from custom_networks.batch.verify import verified
from custom_networks.errors import UsageError
from custom_networks.io import Case
from custom_networks.io import case as io_case

Texts = Callable[..., list[Case]]
MADE_BY: dict[str, Any] = {"overlay": True}


def run_over(output: Path, cases: list[Case]) -> None:
    run = Run(output, TextPipeline(), False, MADE_BY)  # type: ignore[arg-type]
    for case in cases:
        run.segment(case)
    run.sum_up()


def reasons(output: Path, cases: list[Case], rehash: bool = False, **options: Any) -> list[str]:
    """The reason why each case must be segmented, "" if it need not be."""
    fresh = [TextCase(case.name, case.source) for case in cases]
    found = reasons_to_do(Earlier(output, Promise({**MADE_BY, **options}, __version__), rehash), fresh)
    return [found.get(case, "") for case in fresh]


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list to which the names of hashed inputs are added."""
    names: list[str] = []
    digest = io_case.file_digest
    monkeypatch.setattr(io_case, "file_digest", lambda path: (names.append(path.name), digest(path))[1])
    return names


def test_finished_cases_are_skipped_without_reading_the_input(texts: Texts, tmp_path: Path, hashed: list[str]) -> None:
    cases = texts(a="1", b="2")
    assert reasons(tmp_path / "out", cases) == ["no results yet"] * 2
    run_over(tmp_path / "out", cases)
    hashed.clear()
    assert reasons(tmp_path / "out", cases) == ["", ""] and hashed == []
    assert reasons(tmp_path / "out", cases, rehash=True) == ["", ""] and hashed == ["a.nii.gz", "b.nii.gz"]


def test_a_touched_file_is_hashed_and_skipped_if_its_bytes_are_unchanged(
    texts: Texts, tmp_path: Path, hashed: list[str]
) -> None:
    cases = texts(a="1", b="2")
    run_over(tmp_path / "out", cases)
    hashed.clear()
    os.utime(cases[0].source, (1, 1))
    assert reasons(tmp_path / "out", cases) == ["", ""] and hashed == ["a.nii.gz"]
    Path(cases[0].source).write_text("7")
    assert reasons(tmp_path / "out", cases) == ["the input has changed", ""]


def test_a_change_that_keeps_size_and_time_is_found_only_with_rehash(texts: Texts, tmp_path: Path) -> None:
    (case,) = texts(a="1")
    run_over(tmp_path / "out", [case])
    before = os.stat(case.source)
    Path(case.source).write_text("2")
    os.utime(case.source, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert reasons(tmp_path / "out", [case]) == [""]
    assert reasons(tmp_path / "out", [case], rehash=True) == ["the input has changed"]


def test_a_moved_file_is_recognised_by_its_bytes(texts: Texts, tmp_path: Path) -> None:
    (case,) = texts(a="1")
    run_over(tmp_path / "out", [case])
    (tmp_path / "elsewhere").mkdir()
    moved = Path(case.source).rename(tmp_path / "elsewhere" / "a.nii.gz")
    assert reasons(tmp_path / "out", [TextCase("a", str(moved))]) == [""]


def test_an_identical_file_under_another_name_is_a_case_of_its_own(texts: Texts, tmp_path: Path) -> None:
    a, b = texts(a="1", b="1")
    run_over(tmp_path / "out", [a])
    assert reasons(tmp_path / "out", [a, b]) == ["", "no results yet"]


def test_a_page_missing_because_of_a_full_disk_is_a_reason_to_run_again(texts: Texts, tmp_path: Path) -> None:
    full = "report.html was not written, OSError: [Errno 28] No space left on device"
    images = "Some key images and PDF were not written (OSError; --debug shows where)."
    other = "report.html was not written, ValueError: no picture"
    cases = texts(a=full, b=other, c="DICOM SR was not written (OSError)", d=images)
    run_over(tmp_path / "out", cases)
    assert reasons(tmp_path / "out", cases) == [full, "", "DICOM SR was not written (OSError)", images]


def test_other_options_or_another_version_are_given_as_the_reason(texts: Texts, tmp_path: Path) -> None:
    cases = texts(a="1")
    run_over(tmp_path / "out", cases)
    other = reasons(tmp_path / "out", cases, overlay=False, fast=True)
    assert other == ["the results were made with different settings: fast, overlay"]
    report = tmp_path / "out" / "a" / "report.json"
    report.write_text(json.dumps({"run": {"version": "0.0.1"}}))
    assert reasons(tmp_path / "out", cases) == ["the results were made by version 0.0.1"]
    report.write_text("{")
    assert reasons(tmp_path / "out", cases) == ["the results were made by version ?"]


def test_results_with_a_missing_or_changed_file_are_redone(texts: Texts, tmp_path: Path) -> None:
    cases = texts(a="1", b="2")
    run_over(tmp_path / "out", cases)
    (tmp_path / "out" / "a" / "a_seg.dcm").unlink()
    (tmp_path / "out" / "b" / "b_seg.dcm").write_text("other")
    assert reasons(tmp_path / "out", cases) == ["a_seg.dcm is missing", ""]
    assert reasons(tmp_path / "out", cases, rehash=True)[1] == "b_seg.dcm has changed since it was written"


def test_unfinished_results_and_refused_inputs_are_redone(texts: Texts, tmp_path: Path) -> None:
    cases = texts(a="1", b="2", c="bad")
    run_over(tmp_path / "out", cases)
    manifest = tmp_path / "out" / "a" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "state": "writing"}))
    remember(tmp_path / "out", cases[1].place, Refusal("b", cases[1].source, "b is damaged."))
    refused = "refused or failed when it was last tried"
    assert reasons(tmp_path / "out", cases) == ["the results are incomplete", refused, refused]


def test_an_input_that_cannot_be_read_is_not_skipped(tmp_path: Path) -> None:
    assert reasons(tmp_path / "out", [TextCase("a", str(tmp_path / "a.nii.gz"))]) == ["its content cannot be read"]


def test_patients_that_share_a_path_are_told_apart(
    texts: Texts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In containers, every patient's path is /in/ct.nii.gz."""
    run_over(tmp_path / "out", texts(ct="first"))
    monkeypatch.setattr(TextCase, "geometry", property(lambda self: "another grid"))
    assert reasons(tmp_path / "out", texts(ct="second")) == ["no results yet"]
    run_over(tmp_path / "out", texts(ct="second"))
    assert reasons(tmp_path / "out", texts(ct="second")) == [""]
    assert sorted(os.listdir(tmp_path / "out")) == ["ct", "ct_2", "index.html", "summary.csv"]


def test_verify_counts_sound_results(texts: Texts, tmp_path: Path) -> None:
    run_over(tmp_path / "out", texts(a="1", b="2", c="bad"))
    found = verified(tmp_path / "out")
    assert (found.folders, found.files, found.refused, found.faults) == (2, 6, 1, ())


def test_verify_reports_every_fault(texts: Texts, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_over(out, texts(a="1", b="2", c="3", d="4", e="5"))
    (out / "a" / "a_seg.dcm").unlink()
    (out / "a" / "a_seg.nii.gz").write_text("other")
    (out / "b" / "thumbs.db").touch()
    manifest = json.loads((out / "c" / "manifest.json").read_text())
    (out / "c" / "manifest.json").write_text(json.dumps({**manifest, "state": "writing", "new": ["c_seg.dcm"]}))
    (out / "d" / "manifest.json").write_text("{")
    (out / "notes.txt").touch()
    (out / ".f.0123456789abcdef01234567").mkdir()
    found = verified(out)
    told = [fault.removeprefix(f"{out}/") for fault in found.faults]
    assert told == [
        ".f.0123456789abcdef01234567: left behind by a run that was stopped, or in use by one that has not ended",
        "a/a_seg.dcm: missing",
        "a/a_seg.nii.gz: changed, its SHA-256 differs from the recorded one",
        "b/thumbs.db: foreign, not written by liverseg",
        "c: incomplete: a run was stopped while writing c_seg.dcm, c_seg.nii.gz, report.json",
        "d: its manifest.json is damaged",
        "notes.txt: foreign, not written by liverseg",
    ]
    assert (found.folders, found.files) == (1, 1 + 3 + 3)


def test_verify_needs_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be listed .*: give a folder of results"):
        verified(tmp_path / "none")
