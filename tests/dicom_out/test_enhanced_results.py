"""SEG and SR of an enhanced CT refer to its frames by their numbers in the file."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import enhanced_scene as scene
import numpy as np
import pytest
from pydicom import dcmread
from seg_scene import Case, Lesion

from custom_networks.dicom_out.results import write_dicom_results
from custom_networks.io import read_volume
from custom_networks.io.volume import Volume

hd = pytest.importorskip("highdicom", reason="highdicom, of the extra dicom, writes the results")
SHUFFLED = [3, 0, 7, 5, 1, 6, 2, 4]


@dataclass(frozen=True)
class Written:
    """An enhanced CT, its label map, and the folder of its results."""

    image: Path
    labels: np.ndarray
    volume: Volume
    folder: Path


@pytest.fixture(params=["one stack", "the second of two stacks"])
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Written:
    """SEG and SR of an enhanced CT with shuffled frames: liver in slices 1 to 5, one lesion in slices 2 and 3."""
    frames = [scene.slices()[k] for k in SHUFFLED]
    other, number = [scene.slices(scene.hounsfield(7), z=-70)[k] for k in SHUFFLED], ""
    image = scene.enhanced(frames)
    if request.param != "one stack":
        image = scene.enhanced([f for pair in zip(other, frames) for f in pair], stacks=["b", "a"] * 8)
        number = "::1"  # the lower one comes first
    path = scene.save(image, tmp_path / "exam" / "image")
    volume = read_volume(f"{path.parent}{number}")
    labels = np.zeros(volume.array.shape, np.uint8)
    labels[3:12, 2:9, 1:6] = 1
    box = (slice(5, 8), slice(4, 6), slice(2, 4))
    labels[box] = 2
    measured = Case([Lesion(1, 12 * 0.8 * 0.7 * 3)], np.ones((3, 2, 2), np.int32), box)
    (tmp_path / "out").mkdir()
    results = {"headers": volume.headers, "affine": volume.affine, "labels": labels, "measured": measured}
    assert write_dicom_results(tmp_path / "out", "ct", **results) == (
        {"dicom_seg": "ct_seg.dcm", "dicom_sr": "ct_sr.dcm"},
        (),
    )
    return Written(path, labels, volume, tmp_path / "out")


def test_each_frame_of_the_seg_refers_to_the_frame_at_its_position(written: Written) -> None:
    source, seg = dcmread(written.image), dcmread(written.folder / "ct_seg.dcm")
    groups = source.PerFrameFunctionalGroupsSequence
    for frame in seg.PerFrameFunctionalGroupsSequence:
        (named,) = frame.DerivationImageSequence[0].SourceImageSequence
        assert named.ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert named.ReferencedSOPClassUID == source.SOPClassUID
        place = groups[named.ReferencedFrameNumber - 1].PlanePositionSequence[0].ImagePositionPatient
        assert place == frame.PlanePositionSequence[0].ImagePositionPatient
    assert seg.NumberOfFrames == 5 + 2
    (series,) = seg.ReferencedSeriesSequence
    assert [item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence] == [source.SOPInstanceUID]


def test_highdicom_reads_the_label_map_back_by_source_frame(written: Written) -> None:
    seg = hd.seg.segread(written.folder / "ct_seg.dcm")
    numbers = [int(header.ReferencedFrameNumber) for header in written.volume.headers]
    pixels = seg.get_pixels_by_source_frame(
        dcmread(written.image).SOPInstanceUID,
        numbers,
        ignore_spatial_locations=True,
        assert_missing_frames_are_empty=True,
    )
    assert np.array_equal(pixels[..., 0].T, written.labels > 0)
    assert np.array_equal(pixels[..., 1].T, written.labels == 2)


def test_highdicom_reads_the_segments_at_the_positions_of_the_voxels(written: Written) -> None:
    volume = hd.seg.segread(written.folder / "ct_seg.dcm").get_volume(segment_numbers=[2])
    index = np.argwhere(volume.array[..., 0] > 0)
    found = (volume.affine[:3, :3] @ index.T + volume.affine[:3, 3:]).T
    index = np.argwhere(written.labels == 2)
    expected = (written.volume.affine[:3, :3] @ index.T + written.volume.affine[:3, 3:]).T * [-1, -1, 1]
    assert np.allclose(sorted(found.round(3).tolist()), sorted(expected.round(3).tolist()))


def test_the_report_refers_to_all_frames_of_a_segment(written: Written) -> None:
    report = hd.sr.srread(written.folder / "ct_sr.dcm")
    numbers = [int(header.ReferencedFrameNumber) for header in written.volume.headers]
    groups = report.content.get_volumetric_roi_measurement_groups()
    named = {}
    for group in groups:
        (image,) = group.referenced_segment.source_images_for_segmentation
        named[group.tracking_identifier] = sorted(image.ReferencedSOPSequence[0].ReferencedFrameNumber)
    assert named == {"Liver": sorted(numbers[1:6]), "Lesion 1": sorted(numbers[2:4])}
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    referred = [item.ReferencedSOPInstanceUID for series in evidence for item in series.ReferencedSOPSequence]
    assert dcmread(written.image).SOPInstanceUID in referred and len(referred) == 2


def test_dciodvfy_finds_no_error(written: Written) -> None:
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("VALIDATOR ABSENT: no dciodvfy (Debian's dicom3tools); make test-dicom installs it")
    for name, kind in (("ct_seg.dcm", "Segmentation"), ("ct_sr.dcm", "Comprehensive3DSR")):
        said = subprocess.run([program, "-new", written.folder / name], capture_output=True, text=True).stderr
        assert kind in said.splitlines()
        assert [line for line in said.splitlines() if re.match("error", line, re.IGNORECASE)] == []
