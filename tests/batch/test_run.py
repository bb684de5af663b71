"""A run over many cases: a failing case does not affect others, and results are whole however a run is stopped."""

import csv
import errno
import hashlib
import json
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from text_cases import TextPipeline

from custom_networks.batch import run as batch_run
from custom_networks.batch.run import Outcome, Run, failure, forget_inputs
from custom_networks.case_folder import read_manifest, whole_folders
from custom_networks.errors import InputError, UsageError
from custom_networks.io import Case
from custom_networks.streams import unbreakable_streams

Texts = Callable[..., list[Case]]
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def run_over(output: Path, cases: list[Case]) -> list[Outcome]:
    """A whole run; the summary is always written at its end."""
    run = Run(output, TextPipeline(), False, {})  # type: ignore[arg-type]
    try:
        return [run.segment(case) for case in cases]
    finally:
        run.sum_up()


def summary(output: Path) -> list[tuple[str, str]]:
    with (output / "summary.csv").open(newline="") as stream:
        return [(row["case"], row["status"]) for row in csv.DictReader(stream)]


def test_a_refused_case_does_not_affect_others_and_is_recorded(texts: Texts, tmp_path: Path) -> None:
    outcomes = run_over(tmp_path / "out", texts(a="1", b="bad", c="1"))
    assert [outcome.message.partition(" is damaged")[2] for outcome in outcomes] == ["", ": copy it again.", ""]
    assert summary(tmp_path / "out") == [("a", "done"), ("b", "failed"), ("c", "done")]
    run_over(tmp_path / "out", texts(b="now good"))
    assert summary(tmp_path / "out") == [("a", "done"), ("c", "done"), ("b", "done")]
    assert sorted(os.listdir(tmp_path / "out")) == ["a", "b", "c", "index.html", "summary.csv"]


def test_a_case_refused_on_a_rerun_is_listed_as_failed(texts: Texts, tmp_path: Path) -> None:
    run_over(tmp_path / "out", texts(a="1", b="1"))
    run_over(tmp_path / "out", texts(a="bad"))
    assert summary(tmp_path / "out") == [("b", "done"), ("a", "failed")]


def test_the_refusal_of_a_folder_is_removed_once_it_contains_several_cases(texts: Texts, tmp_path: Path) -> None:
    folder, *cases = texts(**{"in": "bad", "a": "1"})
    run_over(tmp_path / "out", [folder])
    forget_inputs(tmp_path / "out", [folder.source, "nul\0", "~nobody_of_this_name"], cases)
    run_over(tmp_path / "out", cases)
    assert summary(tmp_path / "out") == [("a", "done")]


def test_the_summary_is_written_once_a_minute_and_at_the_end(
    texts: Texts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(0, 1000, 25))
    monkeypatch.setattr("custom_networks.batch.run.time.monotonic", lambda: next(now))
    run = Run(tmp_path / "out", TextPipeline(), False, {})  # type: ignore[arg-type]
    seen = []
    for case in texts(a="1", b="1", c="1", d="1"):
        run.segment(case)
        seen.append((tmp_path / "out" / "summary.csv").is_file() and len(summary(tmp_path / "out")))
    assert seen == [False, False, 3, 3]
    assert run.sum_up() == "" and len(summary(tmp_path / "out")) == 4


def test_an_unwritable_output_folder_is_refused_before_the_first_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise FULL

    monkeypatch.setattr("custom_networks.staging.os.fsync", full)
    with pytest.raises(UsageError, match=r"out is not writable \(No space left on device\): choose another"):
        Run(tmp_path / "out", TextPipeline(), False, {})  # type: ignore[arg-type]
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    "error, sentence",
    [
        (InputError("ct is 2D."), "ct is 2D."),
        (FULL, "in/a.nii.gz: its files cannot be read or written (No space left on device): free disk space"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), "cannot be read or written (Permission denied: x)"),
        (MemoryError(), "in/a.nii.gz: failed, not enough memory: close other programs"),
        (ValueError("two\nlines"), "failed unexpectedly, ValueError: two lines (--debug shows where)."),
    ],
)
def test_the_message_names_the_innermost_cause(texts: Texts, error: Exception, sentence: str) -> None:
    """MONAI wraps each error twice, in texts with an object's address."""
    (case,) = texts(a="1")
    for wrapped in (False, True):
        try:
            try:
                raise error
            except Exception as inner:
                if wrapped:
                    raise RuntimeError("applying transform <Compose object at 0x7fc49720f8d0>") from inner
                raise
        except Exception as outer:
            told = failure(case, outer)
    assert "object at 0x" not in told and "\n" not in told
    assert sentence.removeprefix("in/a.nii.gz: ") in told


# How a run is stopped at its n-th rename.
STOPS = {
    "kill -9": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "SIGINT": lambda: os.kill(os.getpid(), signal.SIGINT),
    "SIGTERM": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "full disk": None,
}


def stopped_at(step: int, how: str, work: Callable[[], object]) -> bool:
    """Run `work` in a process that is stopped before its `step`-th rename; False if it makes fewer.

    If the disk is full, it stays full: from then on, no file is opened for writing or renamed.
    """
    reached = [0]

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        reached[0] += event == "os.rename"
        if how == "full disk" and reached[0] >= step and (writes or event in ("os.rename", "os.mkdir")):
            raise FULL
        if event == "os.rename" and reached[0] == step and how != "full disk":
            STOPS[how]()  # type: ignore[misc]

    child = os.fork()
    if not child:
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            sys.addaudithook(watch)
            with unbreakable_streams():
                work()
        except (KeyboardInterrupt, UsageError):
            os._exit(130)
        finally:
            os._exit(100 + (reached[0] >= step))
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (-signal.SIGKILL, 100, 101, 130), code
    return code != 100


def assert_whole_folders_are_of_one_run(output: Path) -> None:
    for folder in whole_folders(output):
        files = (read_manifest(folder) or {})["files"]
        report = json.loads((folder / "report.json").read_text())
        assert {name for name in os.listdir(folder) if name != "manifest.json"} == set(files)
        for name, digest in files.items():
            assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
            assert name == "report.json" or (folder / name).read_text() == report["notes"][0]


@pytest.mark.skipif(sys.platform == "win32", reason="processes are forked")
@pytest.mark.parametrize(
    "how, stride", [("kill -9", 9), *(pytest.param(how, 1, marks=pytest.mark.slow, id=f"{how}, each") for how in STOPS)]
)
def test_a_stopped_run_leaves_whole_results_and_the_next_run_completes_it(
    texts: Texts, tmp_path: Path, how: str, stride: int
) -> None:
    """Results of two cases exist; the stopped run replaces both, refuses one input and adds one."""
    step, stopped, table = 1, True, []
    while stopped:
        output = tmp_path / f"out{step}"
        run_over(output, texts(a="first", b="first", c="first"))
        cases = texts(a="second", b="bad", c="second", d="second")
        stopped = stopped_at(step, how, lambda: run_over(output, cases))  # noqa: B023
        assert_whole_folders_are_of_one_run(output)
        states = [(read_manifest(output / name) or {}).get("state", "-") for name in "abcd"]
        table.append("".join({"whole": "w", "writing": "u", "-": "-"}[state] for state in states))
        run_over(output, cases)
        assert_whole_folders_are_of_one_run(output)
        assert sorted(summary(output)) == [("a", "done"), ("b", "failed"), ("c", "done"), ("d", "done")], step
        assert all((output / name / f"{name}_seg.dcm").read_text() == "second" for name in "acd")
        # Of a kill while a table or index is written, a hidden temporary file stays for a day.
        left = [name for name in os.listdir(output) if not re.fullmatch(r"\.[0-9a-f]{16}\.(csv|html)", name)]
        assert sorted(left) == [".refused", "a", "b", "c", "d", "index.html", "summary.csv"], step
        step += stride
    print(how, "stopped at", len(table) - 1, "renames:", " ".join(table))
    assert step > 20


def test_an_unwritable_summary_is_reported_in_one_line(
    texts: Texts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise FULL

    run = Run(tmp_path / "out", TextPipeline(), False, {})  # type: ignore[arg-type]
    monkeypatch.setattr(batch_run, "remember", full)
    monkeypatch.setattr("custom_networks.report.summary.write_csv", full)
    (outcome,) = [run.segment(case) for case in texts(a="bad")]
    assert "is damaged" in outcome.message
    advice = "free disk space, or close it in other programs."
    assert run.sum_up() == f"summary.csv cannot be written (No space left on device): {advice}"
