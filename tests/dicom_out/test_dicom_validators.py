"""Other programs accept the DICOM results: dciodvfy (Debian's dicom3tools), dcmtk and dcmqi, if they are installed.

`make test-dicom` installs them.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from pydicom import dcmread
from seg_scene import LESIONS, Array, Case, Lesion, apart_mm, labelled, measured, places, read, series, source_of

from custom_networks.dicom_out.captures import write_captures
from custom_networks.dicom_out.seg import write_seg
from custom_networks.dicom_out.source import source_series
from custom_networks.dicom_out.sr import write_sr
from custom_networks.io import read_volume

Paths = tuple[Path, Path]
Run = Callable[..., subprocess.CompletedProcess[str]]
PICTURE = SimpleNamespace(rgb=np.zeros((20, 30, 3), np.uint8), title="Lesion 1: 3 x 2 mm", orientation=("L", "P"))
REAL = ("liver_ge_c3l00189_5mm", "liver_siemens_2mm_j2k_empty_uids", "liver_ge_lidc0001_for_per_slice")


def tool(name: str, source: str) -> Run:
    """Run another program; the test is skipped if it is not installed."""
    elsewhere = os.pathsep.join(  # pynetdicom has a storescu of its own beside this Python
        folder for folder in os.get_exec_path() if Path(folder) != Path(sys.executable).parent
    )
    beside = Path(sys.executable).with_name(name)
    found = shutil.which(name, path=elsewhere) or (str(beside) if beside.is_file() else None)
    if found is None:
        pytest.skip(f"VALIDATOR ABSENT: no {name} ({source}); make test-dicom installs it")
    return lambda *arguments: subprocess.run([found, *map(str, arguments)], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def dciodvfy() -> Run:
    """The validator of DICOM objects, which prints a line on stderr for each error."""
    return tool("dciodvfy", "Debian's dicom3tools")


@pytest.fixture(scope="module")
def segimage2itkimage() -> Run:
    """dcmqi's reader of segmentations."""
    return tool("segimage2itkimage", "pip install dcmqi")


@pytest.fixture(scope="module")
def tid1500reader() -> Run:
    """dcmqi's reader of measurement reports."""
    return tool("tid1500reader", "pip install dcmqi")


def check_valid(dciodvfy: Run, path: Path, kind: str) -> None:
    """Assert that there is no error and that the object was recognised."""
    lines = dciodvfy("-new", path).stderr.splitlines()
    assert kind in lines
    assert [line for line in lines if re.match("Error|ERROR", line)] == []


def write_both(folder: Path, boxes: Sequence[tuple[slice, ...]] = LESIONS, liver: bool = True, **options: int) -> Paths:
    """Write SEG and SR of the scene, with lesions in the boxes."""
    source, case, paths = source_of(series()), measured(boxes if liver else []), (folder / "seg.dcm", folder / "sr.dcm")
    labels = labelled(read(series()), boxes, liver)
    seg = write_seg(paths[0], source, labels.array, case, **options)  # type: ignore[arg-type]
    write_sr(paths[1], source, seg, case)
    return paths


@pytest.mark.parametrize("options", [{}, {"max_lesion_segments": 1}, {"keep_empty_frames": True}], ids=str)
@pytest.mark.parametrize("holds", ["lesions", "a liver", "nothing"])
def test_seg_and_sr_are_valid_for_every_kind_of_case(
    holds: str, options: dict[str, int], dciodvfy: Run, tmp_path: Path
) -> None:
    seg, sr = write_both(tmp_path, LESIONS if holds == "lesions" else [], holds != "nothing", **options)
    check_valid(dciodvfy, seg, "Segmentation")
    check_valid(dciodvfy, sr, "Comprehensive3DSR")


def test_key_images_and_pdf_are_valid(dciodvfy: Run, tmp_path: Path) -> None:
    labels = labelled(read(series()))
    place: Any = {"headers": read(series()), "affine": labels.affine, "shape": labels.array.shape}
    files, notes = write_captures(tmp_path, "ct", pictures=[PICTURE], pdf=b"%PDF-1.4 ", **place)
    assert list(files) == ["dicom_key_image_1", "dicom_pdf"] and notes == ()
    check_valid(dciodvfy, tmp_path / "ct_key_01.dcm", "SCImage")
    check_valid(dciodvfy, tmp_path / "ct_report.dcm", "EncapsulatedPDF")


def ellipsoids(shape: tuple[int, int, int]) -> Array:
    """A large ellipsoid of liver with a small one of tumor in it, as a label map (i, j, k)."""
    grid = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    labels = (sum(axis**2 for axis in grid) < 0.5).astype(np.uint8)
    labels[sum((axis - 0.1) ** 2 for axis in grid) < 0.02] = 2
    return labels


@pytest.mark.slow  # make test-dicom runs it, too
@pytest.mark.parametrize("case", REAL)
def test_results_for_real_series_are_valid(case: str, shared_data: Path, dciodvfy: Run, tmp_path: Path) -> None:
    folder = shared_data / "dicom" / case
    volume = read_volume(folder)
    headers = volume.headers
    labels = ellipsoids(volume.array.shape)
    numbers = (labels == 2).astype(np.int32)
    lesion = Lesion(1, float(numbers.sum() * abs(np.linalg.det(volume.affine[:3, :3]))))
    found = Case([lesion], numbers, (slice(0, None), slice(0, None), slice(0, None)))
    source = source_series(headers, volume.affine, labels.shape)
    seg = write_seg(tmp_path / "seg.dcm", source, labels, found)
    write_sr(tmp_path / "sr.dcm", source, seg, found)
    check_valid(dciodvfy, tmp_path / "seg.dcm", "Segmentation")
    check_valid(dciodvfy, tmp_path / "sr.dcm", "Comprehensive3DSR")


def test_dcmqi_reads_every_voxel_at_its_position(segimage2itkimage: Run, tmp_path: Path) -> None:
    labels = labelled(read(series()))
    seg, _ = write_both(tmp_path)
    segimage2itkimage("--inputDICOM", seg, "--outputDirectory", tmp_path, "-t", "nii")
    lesions = {2: slice(2, 4), 3: slice(4, 5)}  # slices of the scene's lesions
    for number, file in enumerate(sorted(tmp_path.glob("*.nii*")), start=1):
        image = nib.load(file)
        index = np.array(np.nonzero(np.asanyarray(image.dataobj)))
        found = (image.affine[:3, :3] @ index + image.affine[:3, 3:]).T * [-1, -1, 1]
        mask = labels.array > 0
        if number > 1:
            mask = np.zeros_like(mask)
            mask[..., lesions[number]] = labels.array[..., lesions[number]] == 2
        assert apart_mm(found, places(labels, mask)) < 1e-4
    assert number == 3


def test_dcmqi_reads_every_measurement(tid1500reader: Run, tmp_path: Path) -> None:
    _, sr = write_both(tmp_path)
    tid1500reader("--inputDICOM", sr, "--outputMetadata", tmp_path / "sr.json")
    groups = json.loads((tmp_path / "sr.json").read_text())["Measurements"]
    read = {group["TrackingIdentifier"]: group for group in groups}
    assert list(read) == ["Liver", "All lesions", "Lesion 1", "Lesion 2"]
    assert [read[name].get("ReferencedSegment") for name in read] == [1, None, 2, 3]
    values = [float(item["value"]) for item in read["Lesion 1"]["measurementItems"]]
    assert values == [0.013, 12.5, 7.25, 55.5, 11.25, 80.0]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A storage server on this machine: its port, and the folder of what it received."""
    server, received = shutil.which("storescp"), tmp_path / "received"
    if server is None:
        pytest.skip("VALIDATOR ABSENT: no storescp (Debian's dcmtk); make test-dicom installs it")
    received.mkdir()
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = int(free.getsockname()[1])
    echo = tool("echoscu", "Debian's dcmtk")
    with subprocess.Popen([server, "-aet", "PACS", "-od", received, str(port)]) as process:
        try:
            deadline = time.monotonic() + 30
            while echo("-aec", "PACS", "localhost", port).returncode and time.monotonic() < deadline:
                time.sleep(0.1)
            yield port, received
        finally:
            process.terminate()


def data_set_of(path: Path) -> bytes:
    """The bytes of a file after its meta information, which depends on the writer."""
    meta = dcmread(path, stop_before_pixels=True).file_meta
    return path.read_bytes()[128 + 4 + 12 + int(meta.FileMetaInformationGroupLength) :]


def test_storescp_stores_seg_and_sr_byte_for_byte(node: tuple[int, Path], tmp_path: Path) -> None:
    port, received = node
    sent = write_both(tmp_path)
    store = tool("storescu", "Debian's dcmtk")
    assert store("-R", "-aec", "PACS", "localhost", port, *sent).returncode == 0
    stored = {dcmread(path).SOPInstanceUID: path for path in received.iterdir()}
    assert len(stored) == 2
    for path in sent:
        assert data_set_of(stored[dcmread(path).SOPInstanceUID]) == data_set_of(path)
