"""Exit codes as in the table of README, and one line for each failure."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from custom_networks.errors import InputError
from custom_networks.info import EXIT_CODES

Liverseg = Callable[..., Any]


class NoNetwork:
    """A pipeline that refuses a case called "bad" and is interrupted at a case called "stop"."""

    released = True

    def __init__(self, bundle: str | None, settings: object, checkpoint: str | None) -> None:
        self.released = bundle != "" and self.released

    def options(self, probability: bool) -> dict[str, Any]:
        return {}

    def predict(self, case: Any, *, probability: bool) -> Any:
        if case.name == "bad":
            raise InputError(f"{case.source} is damaged: copy it again.")
        if case.name == "stop":
            raise KeyboardInterrupt
        return case


@pytest.fixture
def run(liverseg: Liverseg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Liverseg:
    """A function that runs `liverseg` without a network; results are empty folders."""

    def written(case: Any, output: Path, **options: bool) -> Any:
        if case.name == "unwritable":
            raise RuntimeError("applying transform <object at 0x7f>") from OSError(errno.ENOSPC, os.strerror(28))
        return SimpleNamespace(without_arrays=lambda: case)

    monkeypatch.setattr("custom_networks.pipeline.Pipeline", NoNetwork)
    monkeypatch.setattr("custom_networks.batch.run.read_now", lambda case: case)
    monkeypatch.setattr("custom_networks.batch.run.as_read", lambda result, case, read: result)
    monkeypatch.setattr("custom_networks.batch.run.write", written)
    monkeypatch.setattr("custom_networks.commands.talk.Talk.result", lambda *_: None)
    for name in ("good", "bad", "stop", "unwritable"):
        (tmp_path / f"{name}.nii.gz").touch()
    (tmp_path / "notes.txt").touch()
    return liverseg


TABLE = [
    (0, ["good.nii.gz"], ""),
    (1, ["good.nii.gz", "bad.nii.gz"], "bad.nii.gz is damaged: copy it again."),
    (1, ["bad.nii.gz"], "bad.nii.gz is damaged"),
    (1, ["good.nii.gz", "absent.nii.gz"], "No such file or folder: absent.nii.gz"),
    (1, ["good.nii.gz", "notes.txt"], "notes.txt is not a CT volume"),
    (1, ["good.nii.gz", ""], "An input has no path"),
    (1, ["unwritable.nii.gz"], "unwritable.nii.gz: its files cannot be read or written (No space left on device)"),
    (2, ["absent.nii.gz"], "No such file or folder"),
    (2, ["notes.txt"], "notes.txt is not a CT volume"),
    (2, [""], "An input has no path"),
    (2, ["good.nii.gz", "--wrong"], "Unknown flag --wrong"),
    (2, ["good.nii.gz", "--device=xpu"], "No device 'xpu' is available here"),
    (2, ["good.nii.gz", "--device=gpu"], "Unknown device 'gpu'"),
    (2, ["good.nii.gz", "--precision=half"], "The precision must be"),
    (2, ["good.nii.gz", "--output=notes.txt"], "notes.txt cannot be a folder for results"),
    (2, ["good.nii.gz", "--output=/proc/x"], "/proc/x cannot be a folder for results"),
    (130, ["good.nii.gz", "stop.nii.gz"], "interrupted; the cases reported above were written."),
]


@pytest.mark.parametrize("code, arguments, said", TABLE)
def test_every_outcome_has_its_exit_code_and_its_message(
    run: Liverseg, code: int, arguments: list[str], said: str
) -> None:
    own = [] if any(argument.startswith("--output") for argument in arguments) else ["--output=out"]
    answer = run("segment", *arguments, *own)
    assert answer.code == code
    talk = "Research use only", "[1/2] ", "[2/2] ", "[done] "
    lines = [line for line in answer.err.splitlines() if not line.startswith(talk)]
    assert lines == [line for line in lines if line.startswith("liverseg: ")] and "object at 0x" not in answer.err
    assert said in answer.err and len(lines) == (said != "")


def test_an_interrupted_command_without_cases_says_nothing_about_cases(
    liverseg: Liverseg, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("custom_networks.phantom.write_phantoms", interrupted)
    answer = liverseg("phantom", "out")
    assert answer.code == 130 and answer.err == "liverseg: interrupted.\n"


def test_the_exit_codes_are_the_documented_ones() -> None:
    assert {code for code, _, _ in TABLE} == set(EXIT_CODES)


def test_weights_of_the_installed_bundle_that_are_not_the_released_ones_are_refused(
    run: Liverseg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NoNetwork, "released", False)
    answer = run("segment", "good.nii.gz", "--output", "out")
    assert answer.code == 2 and "not those released with version" in answer.err and not (tmp_path / "out").exists()
    assert run("segment", "good.nii.gz", "--output", "out", "--checkpoint", "own.pt").code == 0
    assert run("segment", "good.nii.gz", "--output", "out", "--bundle", "other").code == 0


def test_a_switch_is_turned_off_by_a_no_prefix(run: Liverseg, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, bool]] = []

    def written(case: Any, output: Path, **options: bool) -> Any:
        asked.append(options)
        return SimpleNamespace(without_arrays=lambda: case)

    monkeypatch.setattr("custom_networks.batch.run.write", written)
    assert run("segment", "good.nii.gz", "--output", "out", "--no-overlay", "--no_progress", "--with-phi").code == 0
    assert [(options["overlay"], options["with_phi"], options["pdf"]) for options in asked] == [(False, True, False)]


def test_flags_become_ids_of_the_bundles_config(run: Liverseg, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(NoNetwork, "__init__", lambda self, bundle, settings, checkpoint: asked.append(settings))
    flags = ["--fast", "--no-scout", "--segments", "--runtime=torch", "--precision=float32", "--device=cpu"]
    assert run("segment", "good.nii.gz", "--output", "out", *flags).code == 0
    switches = {"fast": True, "scout": False, "segments": True}
    names = {"runtime": "torch", "precision": "float32", "device": "$torch.device('cpu')"}
    assert asked == [{**switches, **names, "progress": True}]


def test_a_dry_run_lists_what_would_be_done_and_does_nothing(
    run: Liverseg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NoNetwork, "predict", lambda *_, **options: pytest.fail("a case was segmented"))
    answer = run("segment", "good.nii.gz", "bad.nii.gz", "--output", "out", "--dry-run")
    assert answer.code == 0 and not (tmp_path / "out").exists()
    assert answer.out.splitlines()[-1] == "2 of 2 cases would be segmented."
    assert [line.partition(": ")[0] for line in answer.out.splitlines()[:-1]] == ["good.nii.gz", "bad.nii.gz"]


@pytest.mark.parametrize("flags, allowed", [([], False), (["--allow-large"], True)])
def test_allow_large_lifts_the_limits_on_memory(
    run: Liverseg, monkeypatch: pytest.MonkeyPatch, flags: list[str], allowed: bool
) -> None:
    asked = []
    monkeypatch.setattr(NoNetwork, "predict", lambda self, case, **options: asked.append(case.allow_large) or case)
    assert run("segment", "good.nii.gz", "--output", "out", *flags).code == 0
    assert asked == [allowed]


def test_an_unexpected_error_is_one_line(run: Liverseg, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise ImportError("no module\nnamed x")

    monkeypatch.setattr(NoNetwork, "__init__", fail)
    answer = run("segment", "good.nii.gz", "--output", "out")
    assert answer.code == 2
    last = answer.err.splitlines()[-1]
    assert last == "liverseg: failed unexpectedly: ImportError: no module named x (--debug shows where)."


def test_any_command_takes_debug_and_logs_the_traceback(
    run: Liverseg, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*arguments: object) -> None:
        raise ImportError("no module named x")

    monkeypatch.setattr("custom_networks.info.known_facts", fail)
    assert run("info").code == 2 and "Traceback" not in caplog.text
    assert run("info", "--debug").code == 2 and "Traceback" in caplog.text
