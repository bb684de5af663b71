"""The container's entry point, with folders as routers create them and a stand-in for `liverseg`."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from node_accounts import ACCOUNTS, Account
from pydicom import dcmread

from custom_networks import __version__
from custom_networks.phantom import make_phantom
from custom_networks.phantom.files import write_series

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "docs" / "deploy"
MODULE = DEPLOY / "module.py"
PAIRS = [
    ("MERCURE_IN_DIR", "MERCURE_OUT_DIR"),
    ("HOLOSCAN_INPUT_PATH", "HOLOSCAN_OUTPUT_PATH"),
    ("MONAI_INPUTPATH", "MONAI_OUTPUTPATH"),
]
MERCURE = {"MERCURE_IN_DIR": "in", "MERCURE_OUT_DIR": "out"}
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
# A task file as mercure 0.4.1 writes it for a study rule; the module reads "settings".
TASK = {
    "info": {
        **{"action": "both", "uid": "1.2.3", "uid_type": "study", "triggered_rules": {"liver": True}},
        **{"applied_rule": "liver", "patient_name": "A^B", "mrn": "1", "acc": "2", "sender_address": "10.1.2.4"},
        **{"mercure_version": "0.4.1", "mercure_appliance": "master", "mercure_server": "mercure/abc"},
        **{"device_serial_number": None, "fail_stage": None, "sender_aet": "PACS", "receiver_aet": "MERCURE"},
    },
    "id": "6f8b2b0e-0000-11f0-8000-0242ac120002",
    "dispatch": {
        "target_name": ["pacs"],
        "status": {"pacs": {"state": "waiting", "time": "2026-11-29 10:00:00"}},
        **{"retries": 0, "next_retry_at": 0, "series_uid": None},
    },
    "process": {
        "module_name": "liverseg",
        "module_config": {"docker_tag": "liverseg:latest", "environment": "", "settings": {}, "requires_root": False},
        **{"settings": {"flags": "--keep-empty-frames"}, "retain_input_images": False, "output": None},
    },
    "study": {"study_uid": "1.2.3", "complete_trigger": "timeout", "complete_required_series": ""},
    "nomad_info": None,
}
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run the entry point with environment variables that are folders below tmp_path."""
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


@pytest.mark.parametrize("source, target", PAIRS)
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
    done = run(**MERCURE)
    assert done.returncode == expected
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == handed_on
    assert ("the verdict is stop, so" in done.stdout) == ("stop" in cases)


def test_arguments_are_passed_on_to_liverseg(run: Run, tmp_path: Path) -> None:
    job(tmp_path, "a,ok,seg sr")
    out = tmp_path / "elsewhere"
    done = run("segment", str(tmp_path / "in"), "--output", str(out), **MERCURE)
    assert done.returncode == 0
    assert json.loads((out / "a" / "report.json").read_text())["verdict"] == {"level": "ok"}
    assert list((tmp_path / "out").iterdir()) == []


def test_flags_of_a_rule_of_mercure_come_after_those_of_its_module(run: Run, tmp_path: Path) -> None:
    job(tmp_path, "a,ok,seg sr")
    (tmp_path / "in" / "task.json").write_text(json.dumps({"process": {"settings": {"flags": "--runtime torch"}}}))
    assert run(**MERCURE, LIVERSEG_FLAGS="--fast").returncode == 0
    flags = "--overlay=false --progress=false --fast --runtime torch"
    assert (tmp_path / "out" / "a_seg.dcm").read_text() == flags


@pytest.mark.parametrize("process", [{}, {"settings": {}}, {"settings": {"other": 1}}])
def test_a_task_of_mercure_may_have_no_flags(process: object, run: Run, tmp_path: Path) -> None:
    job(tmp_path, "a,ok,seg sr")
    (tmp_path / "in" / "task.json").write_text(json.dumps({"process": process}))
    assert run(**MERCURE).returncode == 0
    assert (tmp_path / "out" / "a_seg.dcm").read_text() == "--overlay=false --progress=false"


@pytest.fixture
def entry_point() -> ModuleType:
    """The entry point as a Python module."""
    spec = spec_from_file_location("entry_point", MODULE)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def manifests() -> tuple[Path, Path]:
    return DEPLOY / "map" / "app.json", DEPLOY / "map" / "pkg.json"


def test_show_and_extract_return_the_manifests(
    entry_point: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(entry_point, "MANIFESTS", manifests())
    monkeypatch.setattr(entry_point, "EXPORT", tmp_path)
    assert entry_point.main(["show"]) == 0
    assert capsys.readouterr().out == "".join(path.read_text() for path in manifests())
    assert entry_point.main(["extract"]) == 0
    assert [(tmp_path / path.name).read_text() for path in manifests()] == [path.read_text() for path in manifests()]


def test_manifests_agree_with_the_dockerfile(entry_point: ModuleType) -> None:
    """Fields required by version 1.0 of the MONAI Application Package, and those that the Dockerfile repeats."""
    app, package = (json.loads(path.read_text()) for path in manifests())
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    assert app["version"] == package["version"] == __version__
    assert f'org.opencontainers.image.version="{__version__}"' in dockerfile
    assert f"ENTRYPOINT {json.dumps(app['command'].split())}" in dockerfile
    assert app["command"].split()[1] == f"{package['applicationRoot']}module.py"
    assert app["type"] == "application"
    assert (app["input"]["formats"], app["output"]["format"]) == (["file"], "file")
    for kind in ("input", "output"):
        name, folder = f"HOLOSCAN_{kind.upper()}_PATH", app["workingDirectory"] + app[kind]["path"]
        assert app["environment"][name] == folder and f"{name}={folder}" in dockerfile
    assert [app["environment"][f"HOLOSCAN_{name}_MANIFEST_PATH"] for name in ("APP", "PKG")] == list(
        map(str, entry_point.MANIFESTS)
    )


def test_only_listed_files_get_into_the_image() -> None:
    """The files copied into the image are listed, so that a scan beside the code is never included."""
    listed = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert listed[1] == "*"
    assert all((ROOT / line[1:]).exists() for line in listed if line.startswith("!"))


@pytest.mark.slow
def test_a_study_laid_out_by_mercure_gets_seg_and_sr(tmp_path: Path) -> None:
    """The real command, with slices named by their UIDs, a file of tags for each, a task, and a user without a home."""
    write_series(make_phantom(11, spacing=(1.6, 1.6, 5.0), lesions=2), tmp_path / "phantom", "011")
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / "task.json").write_text(json.dumps(TASK))
    for path in sorted((tmp_path / "phantom").iterdir()):
        dataset = dcmread(path)
        name = f"{dataset.SeriesInstanceUID}#{dataset.SOPInstanceUID}"
        path.rename(tmp_path / "in" / f"{name}.dcm")
        (tmp_path / "in" / f"{name}.tags").write_text(json.dumps({"Modality": "CT"}))
    # mercure sets all three pairs of variables.
    folders = {name: str(tmp_path / folder) for pair in PAIRS for name, folder in zip(pair, ("in", "out"), strict=True)}
    folders["HOME"] = "/nonexistent"
    inherited = {name: value for name, value in os.environ.items() if name != "XDG_CACHE_HOME"}
    images = len(list((tmp_path / "in").glob("*.dcm")))
    done = subprocess.run(
        [sys.executable, str(MODULE)], env={**inherited, "PYTHONPATH": str(ROOT), **folders}, stdout=subprocess.PIPE
    )
    assert done.returncode == 0, done.stdout
    handed_on = {dcmread(path).Modality: dcmread(path) for path in (tmp_path / "out").iterdir()}
    assert sorted(handed_on) == ["SEG", "SR"]
    assert {one.StudyInstanceUID for one in handed_on.values()} == {dataset.StudyInstanceUID}
    [evidence] = handed_on["SEG"].ReferencedSeriesSequence
    assert len(evidence.ReferencedInstanceSequence) == images  # so the task's flag was heeded
    outcome = "SEG and SR in its output folder, exit code 0"
    ACCOUNTS.append(Account("the entry script, on a folder of mercure's", outcome, images, images, 1, 1, 1))
