"""Debian's Orthanc as the PACS and the real network: a study is sent, and SEG and SR come back."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from node_accounts import check
from node_scene import until
from pydicom import dcmread
from pydicom.dataset import Dataset

from custom_networks.phantom import make_phantom
from custom_networks.phantom.files import write_series

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "how-to" / "pacs-node.md"
QUIET = 5  # seconds
BY_RULE = "CT Abdomen"  # a description that the rule of the page takes
# A careless rule: whatever is made of a study goes to the node, its own results included.
FORWARD = """
function OnStoredInstance(instance, tags, metadata, origin)
  if tags.Modality == 'SEG' or tags.Modality == 'SR' then SendToModality(instance, 'liverseg') end
end
"""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Orthanc:
    """The REST interface of an Orthanc."""

    def __init__(self, port: int) -> None:
        self._address = f"http://127.0.0.1:{port}"

    def ask(self, path: str, body: bytes | None = None) -> bytes:
        with urllib.request.urlopen(self._address + path, body, timeout=300) as answer:
            return bytes(answer.read())

    def json(self, path: str, body: bytes | None = None) -> Any:
        return json.loads(self.ask(path, body))

    def datasets(self, modality: str) -> list[Dataset]:
        """All objects of a modality."""
        series = [one for one in self.json("/series?expand") if one["MainDicomTags"]["Modality"] == modality]
        files = [self.ask(f"/instances/{instance}/file") for one in series for instance in one["Instances"]]
        return [dcmread(BytesIO(file)) for file in files]


@pytest.fixture
def ports() -> dict[str, int]:
    return {name: free_port() for name in ("orthanc", "rest", "node", "health")}


@pytest.fixture
def orthanc(tmp_path: Path, ports: dict[str, int]) -> Iterator[Orthanc]:
    """An Orthanc configured with the node; the test is skipped if it is not installed."""
    program = shutil.which("Orthanc")
    if program is None:
        pytest.skip("no Orthanc (Debian's orthanc); make test-node installs it")
    [rule] = re.findall(r"```lua\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "rules.lua").write_text(rule + FORWARD)
    configuration = {
        **{"Name": "PACS", "DicomAet": "PACS", "DicomPort": ports["orthanc"], "HttpPort": ports["rest"]},
        **{"StorageDirectory": str(tmp_path / "db"), "IndexDirectory": str(tmp_path / "db"), "Plugins": []},
        **{"RemoteAccessAllowed": False, "AuthenticationEnabled": False, "DicomAlwaysAllowStore": True},
        "DicomModalities": {"liverseg": ["LIVERSEG", "127.0.0.1", ports["node"]]},
        **{"LuaScripts": [str(tmp_path / "rules.lua")], "StableAge": 3},
    }
    (tmp_path / "orthanc.json").write_text(json.dumps(configuration))
    log = (tmp_path / "orthanc.log").open("w")
    with subprocess.Popen([program, tmp_path / "orthanc.json"], stdout=log, stderr=log) as process:
        try:
            found = Orthanc(ports["rest"])
            until(lambda: is_up(f"http://127.0.0.1:{ports['rest']}/system"), 300)
            yield found
        finally:
            process.terminate()


def is_up(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except OSError:
        return False


@pytest.fixture
def health(tmp_path: Path, ports: dict[str, int]) -> Iterator[Callable[[], Any]]:
    """`liverseg serve` as started by a user; a function that returns its health numbers."""
    command = [
        sys.executable,
        "-m",
        "custom_networks",
        "serve",
        "--output",
        tmp_path / "out",
        "--spool",
        tmp_path / "spool",
    ]
    command += ["--port", ports["node"], "--http-port", ports["health"], "--quiet-seconds", QUIET]
    command += ["--allow", "PACS@127.0.0.1", "--send-to", f"PACS@127.0.0.1:{ports['orthanc']}"]
    address = f"http://127.0.0.1:{ports['health']}/healthz"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    log = (tmp_path / "node.log").open("w")
    with subprocess.Popen([str(part) for part in command], env=environment, stderr=log, cwd=tmp_path) as process:
        try:
            until(lambda: is_up(address), 600)
            yield lambda: json.load(urllib.request.urlopen(address, timeout=5))
        finally:
            process.terminate()
            assert process.wait(90) == 0


@pytest.fixture(params=["phantom", "real"])
def series(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder of slices: a phantom, or a whole liver at 5 mm from a GE scanner if available."""
    if request.param == "real":
        return Path(request.getfixturevalue("shared_data")) / "dicom" / "liver_ge_c3l00189_5mm"
    write_series(make_phantom(11, spacing=(1.6, 1.6, 5.0), lesions=2), tmp_path / "phantom", "011")
    for path in (tmp_path / "phantom").iterdir():
        image = dcmread(path)
        image.StudyDescription = BY_RULE
        image.save_as(path)
    return tmp_path / "phantom"


def test_a_study_travels_from_orthanc_to_the_node_and_back(
    series: Path, orthanc: Orthanc, health: Callable[[], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [dcmread(path, stop_before_pixels=True) for path in sorted(series.iterdir())]
    for path in sorted(series.iterdir()):
        orthanc.ask("/instances", path.read_bytes())
    [study] = orthanc.json("/studies")
    by_rule = images[0].StudyDescription == BY_RULE
    if not by_rule:
        orthanc.ask("/modalities/liverseg/store", study.encode())
    sent = time.monotonic()
    until(lambda: len(orthanc.datasets("SEG")) == len(orthanc.datasets("SR")) == 1, 900)
    seconds = time.monotonic() - sent
    # Orthanc's rules send both back, and once the study is stable again, all of it.
    until(lambda: health()["ignored"] >= 2 and health()["duplicates"] >= len(images) * by_rule)
    time.sleep(QUIET + 1)
    counts = health()
    assert (counts["received"], counts["done"], counts["sent"], counts["receiving"], counts["waiting"]) == (
        *(len(images), 1, 1, 0, 0),
    )
    [seg], [sr] = orthanc.datasets("SEG"), orthanc.datasets("SR")
    for back, kind in ((seg, "seg"), (sr, "sr")):
        [written] = (tmp_path / "out").glob(f"*/1/1_{kind}.dcm")
        ours = dcmread(written)
        assert back == ours
        assert back.get("PixelData") == ours.get("PixelData")
    check_readers(seg, sr, tmp_path)
    log = (tmp_path / "node.log").read_text()
    assert str(images[0].PatientID) not in log and str(images[0].StudyInstanceUID) not in log
    fault, results = "own SEG and SR sent back, by hand and by rules of Orthanc's", {
        images[0].StudyInstanceUID: ["SEG", "SR"]
    }
    check(fault, "acknowledged; nothing starts", tmp_path / "spool", images, results)
    events = [json.loads(line) for line in log.splitlines()]
    [done] = [event for event in events if event["event"] == "done"]
    with capsys.disabled():
        print(
            f"\n{len(images)} images, {len(list(seg))} elements of the SEG and {len(list(sr))} of the SR equal;"
            f" {seconds:.1f} s from the last image to both, {QUIET} s of them quiet, {done['seconds']} s at work"
        )


def check_readers(seg: Dataset, sr: Dataset, tmp_path: Path) -> None:
    """Check that highdicom and dcmqi can read the results."""
    import highdicom

    for dataset, name in ((seg, "seg"), (sr, "sr")):
        dataset.save_as(tmp_path / f"{name}.dcm", enforce_file_format=True)
    read = highdicom.seg.segread(tmp_path / "seg.dcm")
    assert read.get_segment_description(1).segment_label == "Liver"
    groups = highdicom.sr.srread(tmp_path / "sr.dcm").content.get_volumetric_roi_measurement_groups()
    assert len(groups) >= 1
    tools = {name: Path(sys.executable).with_name(name) for name in ("segimage2itkimage", "tid1500reader")}
    if not all(tool.is_file() for tool in tools.values()):
        pytest.skip("VALIDATOR ABSENT: no dcmqi; make test-node installs it")
    images, report = tmp_path / "images", tmp_path / "sr.json"
    images.mkdir()
    reading = [
        tools["segimage2itkimage"],
        "--inputDICOM",
        tmp_path / "seg.dcm",
        "--outputDirectory",
        images,
        "-t",
        "nii",
    ]
    assert subprocess.run(reading, capture_output=True).returncode == 0
    assert len(list(images.glob("*.nii*"))) == read.number_of_segments
    [label_map] = tmp_path.glob("out/*/1/1_seg.nii.gz")
    organ = np.count_nonzero(nibabel.load(label_map).dataobj)
    assert organ == np.count_nonzero(nibabel.load(images / "1.nii.gz").dataobj) > 0
    reading = [tools["tid1500reader"], "--inputDICOM", tmp_path / "sr.dcm", "--outputMetadata", report]
    assert subprocess.run(reading, capture_output=True).returncode == 0
    assert len(json.loads(report.read_text())["Measurements"]) >= len(groups)
