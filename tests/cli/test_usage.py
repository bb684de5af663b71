"""Wrong usage ends with exit code 2 and one line on stderr before any work; help and version with 0."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from custom_networks.bundle_files import bundle_version

ROOT = Path(__file__).resolve().parents[2]
Liverseg = Callable[..., Any]


def lines_of(text: str) -> list[str]:
    return text.strip().splitlines()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["segment", "ct.nii.gz", "--output", "out", "--progres"], "Unknown flag --progres: did you mean --progress?"),
        (["segment", "ct.nii.gz", "--ouput", "out"], "Unknown flag --ouput: did you mean --output?"),
        (["segment", "--output", "out", "--progress", "ct.nii.gz"], "--progress takes no value, but 'ct.nii.gz'"),
        (["segment", "--output", "out", "--debug", "ct.nii.gz"], "--debug takes no value, but 'ct.nii.gz'"),
        (["segment", "ct.nii.gz"], "needs --output DIR"),
        (["segment", "ct.nii.gz", "--output"], "--output needs a value"),
        (["segment", "--output", "out"], "needs at least one input"),
        (["segment"], "needs at least one input"),
        (
            ["segmnet", "ct.nii.gz"],
            "Unknown command 'segmnet': liverseg has segment, measure, verify, serve, series, phantom, info, pack, "
            "export. Did you mean segment?",
        ),
        (["segment", "ct.nii.gz", "--output", "out", "--nooverlay"], "--nooverlay: did you mean --overlay=false?"),
        (["segment", "ct.nii.gz", "--output", "out", "--no-ovrlay"], "--no-ovrlay: did you mean --overlay=false?"),
        (["segment", "ct.nii.gz", "--output", "out", "--device", "mps"], "No device 'mps' is available here"),
        (["segment", "ct.nii.gz", "--output", "out", "--device", "meta"], "No device 'meta' is available here"),
        (["segment", "ct.nii.gz", "--output", "~nobody_of_this_name/x"], "cannot be a folder for results"),
        (["segment", "", "--output", "out"], "An input has no path ('')"),
        (["--output", "out"], "Unknown command '--output'"),
        (["segment", "ct.nii.gz", "--output", "out", "--device", "gpu"], "Unknown device 'gpu': use cpu, cuda"),
        (["segment", "ct.nii.gz", "--output", "out", "--checkpoint", "absent.pt"], "No weights at absent.pt"),
        (["segment", "ct.nii.gz", "--output", "out", "--bundle", "absent"], "No bundle with configs/inference.json"),
        (["segment", "ct.nii.gz", "--output", "ct.nii.gz", "--checkpoint", "ct.nii.gz"], "cannot be a folder"),
        (["segment", "ct.nii.gz", "--output", "out", "--bundle", "broken"], "broken does not contain a working bundle"),
        (["phantom"], "needs one folder"),
        (["phantom", "a", "b"], "needs one folder"),
        (["info", "ct.nii.gz"], "liverseg info takes no input, got 'ct.nii.gz'"),
        (["phantom", "a", "--output", "out"], "needs one folder"),
        (["phantom", "out", "--cases", "two"], "--cases must be a whole number, got 'two'"),
        (["phantom", "out", "--cases", "0"], "cases >= 1"),
        (["phantom", "out", "--seed", "-1"], "seed >= 0"),
        (["phantom", "out", "--format", "png"], "must be one of nifti, dicom, got 'png'"),
        (["pack"], "needs one file to write, OUT.zip"),
        (["pack", "a.zip", "b.zip"], "needs one file to write, OUT.zip"),
        (["pack", "a.tar"], "use a file name that ends in .zip, got a.tar"),
        (
            ["pack", "a.zip", "--weights-url", "models/"],
            "--weights-url must be an http or https address, got 'models/'",
        ),
        (["export", "onnx"], "liverseg export needs a format and one file to write: torchscript OUT.ts, or onnx"),
        (["export", "onnx", "a.onnx", "b.onnx"], "liverseg export needs a format and one file to write"),
        (["export", "onx", "a.onnx"], "The network can be exported as torchscript or onnx, got 'onx'"),
        (["export", "torchscript", "model.pt"], "The name of a torchscript file must end in .ts, got model.pt"),
        (["export", "torchscript", "a.ts", "--checkpoint", "absent.pt"], "No weights at absent.pt"),
        (
            ["export", "torchscript", "a.ts", "--checkpoint", "ct.nii.gz"],
            "ct.nii.gz does not contain weights of this network",
        ),
        (["export", "torchscript", "a.ts", "--bundle", "broken"], "broken does not contain a working bundle"),
        (["pack", "a.zip", "--weights"], "Unknown flag --weights: did you mean --weights-url?"),
    ],
)
def test_wrong_usage_is_refused_before_any_work(
    liverseg: Liverseg, save_scan: Callable[..., Path], tmp_path: Path, arguments: list[str], message: str
) -> None:
    save_scan("ct.nii.gz")
    (tmp_path / "broken" / "configs").mkdir(parents=True)
    (tmp_path / "broken" / "configs" / "inference.json").write_text("{")
    (tmp_path / "broken" / "configs" / "metadata.json").write_text("{}")
    before = sorted(tmp_path.rglob("*"))
    answer = liverseg(*arguments)
    assert answer.code == 2
    assert message in answer.err and lines_of(answer.err)[-1].startswith("liverseg: ")
    assert "Traceback" not in answer.err and answer.out == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_a_missing_gpu_is_refused(
    liverseg: Liverseg, save_scan: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    answer = liverseg("segment", save_scan(), "--output", "out", "--device", "cuda:1")
    assert answer.code == 2
    assert "No GPU is available for --device cuda:1: leave it out, or use cpu." in answer.err


@pytest.mark.parametrize(
    "name, message",
    [
        ("absent.nii.gz", "No such file or folder: absent.nii.gz"),
        ("nul\0.nii", "No such file or folder: nul"),
        ("~nobody_of_this_name/ct.nii", "~nobody_of_this_name/ct.nii cannot be accessed"),
        ("x" * 300 + ".nii", "xxx... cannot be accessed"),
    ],
)
def test_a_single_missing_path_is_wrong_usage(liverseg: Liverseg, tmp_path: Path, name: str, message: str) -> None:
    answer = liverseg("segment", name, "--output", "out")
    assert answer.code == 2 and answer.out == ""
    assert re.fullmatch(r"liverseg: [^\n]+\n", answer.err) and message in answer.err
    assert not (tmp_path / "out").exists()


def test_a_folder_without_images_is_wrong_usage(liverseg: Liverseg, tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "notes.txt").write_text("none yet")
    answer = liverseg("segment", "scans", "--output", "out")
    assert answer.code == 2
    assert "no image found in scans (1 file checked)" in answer.err


def test_a_file_with_an_unknown_suffix_is_wrong_usage(liverseg: Liverseg, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("none yet")
    answer = liverseg("segment", "notes.txt", "--output", "out")
    assert answer.code == 2
    assert "notes.txt is not a CT volume" in answer.err


@pytest.mark.parametrize(
    "arguments, shown",
    [
        (["--help"], ["segment", "phantom"]),
        (["help"], ["segment", "phantom"]),
        ([], ["segment", "phantom"]),
        (["segment", "--help"], ["INPUTS", "--output", "--device", "Exit code"]),
        (["segment", "ct.nii.gz", "-h"], ["INPUTS", "--output"]),
        (["phantom", "--help"], ["OUTPUT", "--cases", "nifti or dicom"]),
        (["export", "--help"], ["FORMAT", "OUTPUT", "--checkpoint", "torchscript or onnx"]),
        (["pack", "--help"], ["OUTPUT", "--weights-url", "large_files.yml"]),
    ],
)
def test_help_is_shown_with_exit_code_0(liverseg: Liverseg, arguments: list[str], shown: list[str]) -> None:
    answer = liverseg(*arguments)
    assert answer.code == 0
    assert all(word in answer.out + answer.err for word in shown)


def test_defaults_in_the_help_are_shown_as_typed_on_the_command_line(liverseg: Liverseg) -> None:
    shown = " ".join(liverseg("serve", "--help").out.split())
    assert "Default: LIVERSEG." in shown and "Default: false." in shown and "Default: ()" not in shown
    assert "--send-to VALUE" in shown and "--send_to" not in shown


def test_the_version_is_that_of_the_package(liverseg: Liverseg) -> None:
    assert liverseg("--version") == (0, f"liverseg {bundle_version()}\n", "")


def test_python_m_custom_networks_returns_the_exit_code(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "custom_networks", "segment", "ct.nii.gz", "--outputt", "out"]
    run = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == "liverseg: Unknown flag --outputt: did you mean --output?\n"
