"""The container's entry point, on folders laid out as routers lay them out, with a stand-in for `liverseg`."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread

from custom_networks.phantom import make_phantom
from custom_networks.phantom.files import write_series

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "docs" / "deploy" / "module.py"
# Called as `python -m custom_networks`: a case folder for each line of its input's file "cases".
STAND_IN = """
import json, sys
from pathlib import Path
print("note on stderr", file=sys.stderr)
_, source, _, output, *flags = sys.argv[1:]
for line in (Path(source) / "cases").read_text().splitlines():
    name, level, kinds = line.split(",")
    folder = Path(output) / name
    folder.mkdir(parents=True)
    files = {f"dicom_{kind}": f"{name}_{kind}.dcm" for kind in kinds.split()}
    for file in files.values():
        (folder / file).write_text(" ".join(flags))
    (folder / "report.json").write_text(json.dumps({"files": files, "verdict": {"level": level}}))
sys.exit(int((Path(source) / "code").read_text()))
"""
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run the entry point with variables whose values are folders below tmp_path."""
    (tmp_path / "package" / "custom_networks").mkdir(parents=True)
    (tmp_path / "package" / "custom_networks" / "__main__.py").write_text(STAND_IN)

    def started(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        folders = {name: str(tmp_path / value) for name, value in variables.items() if name != "LIVERSEG_FLAGS"}
        environment = {**os.environ, "PYTHONPATH": str(tmp_path / "package"), **variables, **folders}
        command = [sys.executable, str(MODULE), *arguments]
        return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)

    return started


def job(folder: Path, cases: str, code: int = 0) -> None:
    """The two folders of a job."""
    (folder / "in").mkdir()
    (folder / "out").mkdir()
    (folder / "in" / "cases").write_text(cases)
    (folder / "in" / "code").write_text(str(code))


@pytest.mark.parametrize(
    "source, target",
    [("MERCURE_IN_DIR", "MERCURE_OUT_DIR"), ("HOLOSCAN_INPUT_PATH", "HOLOSCAN_OUTPUT_PATH")]
    + [("MONAI_INPUTPATH", "MONAI_OUTPUTPATH")],
)
def test_a_router_gets_seg_and_sr_and_nothing_else(source: str, target: str, run: Run, tmp_path: Path) -> None:
    job(tmp_path, "a,ok,seg sr\nb,review,seg sr")
    done = run(**{source: "in", target: "out", "LIVERSEG_FLAGS": "--fast"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "note on stderr" in done.stdout
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["a_seg.dcm", "a_sr.dcm", "b_seg.dcm", "b_sr.dcm"]
    assert (tmp_path / "out" / "a_seg.dcm").read_text() == "--overlay=false --progress=false --fast"


@pytest.mark.parametrize(
    "cases, code, expected, handed_on",
    [
        ("a,ok,seg sr", 1, 1, ["a_seg.dcm", "a_sr.dcm"]),  # another study was refused
        ("", 2, 2, []),
        ("", 0, 1, []),
        ("a,stop,seg sr", 0, 1, []),
        ("a,ok,seg", 0, 1, ["a_seg.dcm"]),
    ],
)
def test_the_entry_point_returns_0_only_if_every_study_has_results(
    cases: str, code: int, expected: int, handed_on: list[str], run: Run, tmp_path: Path
) -> None:
    job(tmp_path, cases, code)
    done = run(MERCURE_IN_DIR="in", MERCURE_OUT_DIR="out")
    assert done.returncode == expected
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == handed_on
    assert ("held" in done.stdout) == ("stop" in cases)


def test_arguments_are_passed_on_to_liverseg(run: Run, tmp_path: Path) -> None:
    job(tmp_path, "a,ok,seg sr")
    out = tmp_path / "elsewhere"
    done = run("segment", str(tmp_path / "in"), "--output", str(out), MERCURE_IN_DIR="in", MERCURE_OUT_DIR="out")
    assert done.returncode == 0
    assert json.loads((out / "a" / "report.json").read_text())["verdict"] == {"level": "ok"}
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.slow
def test_a_study_laid_out_by_mercure_gets_seg_and_sr(tmp_path: Path) -> None:
    """The real command: slices called by their UIDs, a file of tags beside each, the task; a user without a home."""
    write_series(make_phantom(11, spacing=(1.6, 1.6, 5.0), lesions=2), tmp_path / "phantom", "011")
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / "task.json").write_text(json.dumps({"id": "1", "process": {"module_name": "liverseg"}}))
    for path in (tmp_path / "phantom").iterdir():
        dataset = dcmread(path)
        name = f"{dataset.SeriesInstanceUID}#{dataset.SOPInstanceUID}"
        path.rename(tmp_path / "in" / f"{name}.dcm")
        (tmp_path / "in" / f"{name}.tags").write_text(json.dumps({"Modality": "CT"}))
    folders = {"MERCURE_IN_DIR": str(tmp_path / "in"), "MERCURE_OUT_DIR": str(tmp_path / "out"), "HOME": "/nonexistent"}
    inherited = {name: value for name, value in os.environ.items() if name != "XDG_CACHE_HOME"}
    done = subprocess.run(
        [sys.executable, str(MODULE)], env={**inherited, "PYTHONPATH": str(ROOT), **folders}, stdout=subprocess.PIPE
    )
    assert done.returncode == 0, done.stdout
    handed_on = {dcmread(path).Modality: dcmread(path) for path in (tmp_path / "out").iterdir()}
    assert sorted(handed_on) == ["SEG", "SR"]
    assert {one.StudyInstanceUID for one in handed_on.values()} == {dataset.StudyInstanceUID}
