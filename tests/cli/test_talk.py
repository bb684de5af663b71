"""Output of `liverseg`: its contents, the streams it goes to, and the flags that silence it."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from custom_networks.cli import COMMANDS
from custom_networks.commands.talk import _listed

Liverseg = Callable[..., Any]
SaveScan = Callable[..., Path]


@pytest.fixture
def run(liverseg: Liverseg, save_scan: SaveScan, no_liver: Path, tmp_path: Path) -> Liverseg:
    """Run `liverseg segment` on two scans and a text file, without pictures, with more flags."""
    save_scan("a.nii.gz")
    save_scan("b.nii.gz")
    (tmp_path / "bad.nii.gz").write_text("not an image")
    fixed = ("-o", "out", f"--checkpoint={no_liver}", "--device=cpu", "--overlay=false", "--page=off", "--force")

    def segment(*flags: str) -> Any:
        return liverseg("segment", "a.nii.gz", "bad.nii.gz", "b.nii.gz", *fixed, *flags)

    return segment


def test_each_case_is_announced_with_its_verdict_and_summed_up(run: Liverseg) -> None:
    answer = run()
    assert answer.code == 1
    talk = answer.err.splitlines()
    assert [line for line in talk if line.startswith("[1/3]")] == ["[1/3] a"]
    (third,) = [line for line in talk if line.startswith("[3/3]")]
    assert third.startswith("[3/3] b, about ") and third.endswith(" s left")
    assert talk.count("  stop: No liver was found: check that the scan shows one.") == 2
    assert talk[-1].startswith("[done] 2 of 3 segmented (verdicts: 2 stop), 1 refused, in ")
    assert talk[-1].endswith(": out/summary.csv")
    lines = answer.out.splitlines()
    assert [line.startswith("  mask    out/") for line in lines] == [False, True, False, True]
    assert all(line.endswith("s), verdict: stop") for line in lines[::2])


def test_only_one_of_many_key_images_is_listed_and_the_thumbnail_is_not() -> None:
    keys = {f"dicom_key_image_{n}": f"a_key_{n:02d}.dcm" for n in (1, 2, 3)}
    files = {"mask": "a_seg.nii.gz", "thumbnail": "thumbnail.jpg", **keys, "dicom_pdf": "a_report.dcm"}
    named = [("mask", "a_seg.nii.gz"), ("dicom_pdf", "a_report.dcm")]
    assert _listed(files) == [*named, ("key images", "a_key_01.dcm and 2 more")]
    assert _listed({"dicom_key_image_1": "a_key_01.dcm"}) == [("key images", "a_key_01.dcm")]


def test_quiet_prints_only_errors(run: Liverseg) -> None:
    answer = run("--quiet")
    assert (answer.code, answer.out) == (1, "")
    (line,) = answer.err.splitlines()
    assert line.startswith("liverseg: bad.nii.gz ")


def test_json_prints_one_object_per_case_on_stdout(run: Liverseg, tmp_path: Path) -> None:
    answer = run("--json", "--quiet")
    first, bad, last = map(json.loads, answer.out.splitlines())
    assert answer.code == 1 and [case["case"] for case in (first, bad, last)] == ["a", "bad", "b"]
    assert first["verdict"]["level"] == "stop" and first["folder"] == "out/a"
    assert first == {**json.loads((tmp_path / "out" / "a" / "report.json").read_text()), "folder": "out/a"}
    assert set(bad) == {"case", "input", "error"} and f"liverseg: {bad['error']}\n" == answer.err


def test_the_log_file_has_everything_and_verbose_also_prints_it(
    run: Liverseg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's would keep the command from adding its own
    quiet = run("--quiet", "--log-file=run.log")
    log = (tmp_path / "run.log").read_text()
    assert len(quiet.err.splitlines()) == 1
    for said in ("[1/3] a", "a: no liver found (", "liverseg: bad.nii.gz ", "[done] 2 of 3", "The network is run by"):
        assert said in log
    loud = run("--verbose")
    assert "The network is run by" in loud.err and "  took: " in loud.err
    assert "The network is run by" not in run().err


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--quiet", "--verbose"], "--quiet and --verbose contradict each other"),
        (["--log-file=out/absent/run.log"], "The log file out/absent/run.log cannot be written"),
    ],
)
def test_contradicting_flags_are_refused_before_any_work(
    run: Liverseg, tmp_path: Path, flags: list[str], message: str
) -> None:
    answer = run(*flags)
    assert answer.code == 2 and message in answer.err and not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", COMMANDS)
def test_help_goes_to_stdout_with_every_flag_and_an_example(liverseg: Liverseg, name: str) -> None:
    answer = liverseg(name, "--help")
    assert answer.code == 0 and answer.err == ""
    assert answer.out.startswith(f"Usage: liverseg {name}") and "Examples:\n  liverseg " in answer.out
    assert "SYNOPSIS" not in answer.out and max(map(len, answer.out.splitlines())) <= 110
    for argument in COMMANDS[name].__annotations__:
        flag = f"--{argument.replace('_', '-')}"
        assert argument == "return" or argument.upper() in answer.out or flag in answer.out


@pytest.mark.parametrize("arguments", [[], ["help"], ["--help"], ["-h"]])
def test_liverseg_without_arguments_prints_help(liverseg: Liverseg, arguments: list[str]) -> None:
    answer = liverseg(*arguments)
    assert answer.code == 0 and answer.err == ""
    assert all(f"  {name} " in answer.out for name in COMMANDS) and "liverseg segment ct.nii.gz" in answer.out
    assert liverseg("help", "segment").out == liverseg("segment", "-h").out
