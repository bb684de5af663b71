"""Segments in results, in files and from `monai.bundle run`, only on request."""

import csv
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from test_pipeline import Array, Segmenter, labels_of, points, save, truth_and_affine, turned

from custom_networks.bundle_files import bundle_root, read_config
from custom_networks.errors import BundleError
from custom_networks.result import Result


class BySide(torch.nn.Module):
    """Labels the patient's right half of the liver segment 8 and the left half segment 2."""

    stride, halo = 1, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (B, 8, h, w, d) for the input of the segments' network, (B, 5, h, w, d)."""
        logits = torch.full((x.shape[0], 8, *x.shape[2:]), -20.0)
        logits[:, 7], logits[:, 1] = 20 * x[:, 2], -20 * x[:, 2]
        return logits


def asked(folder: Path) -> dict[str, Any]:
    """Overrides that turn the segments on, with a stand-in for their network."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({}, folder / "segments.pt")
    network = {"_target_": f"{__name__}.BySide"}
    rule = "segments_rules#0"
    own = {f"{rule}#most_unusual": None, f"{rule}#planes": False}  # a phantom's liver is a rough one
    return {"segments": True, "segments_def": network, "segments_checkpoint": str(folder / "segments.pt"), **own}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Array, Array, Result]:
    """Truth, affine and the result for it."""
    folder = tmp_path_factory.mktemp("segments")
    truth, affine = truth_and_affine((0.9, 1.7, 4.0), (96, 56, 24))
    affine[:3, 3] = 43, 47, -500
    result = Segmenter(folder, **asked(folder)).segment(save(folder / "ct.nii.gz", truth, affine))
    return truth, affine, result


def segments_file(result: Result) -> Path:
    assert result.folder is not None
    return result.folder / result.report["files"]["segments"]


def test_exactly_the_voxels_of_the_liver_have_a_segment(scene: tuple[Array, Array, Result]) -> None:
    _, affine, result = scene
    segments = labels_of(segments_file(result))
    assert np.array_equal(segments > 0, result.labels > 0) and set(np.unique(segments)) == {0, 2, 8}
    assert np.array_equal(segments, result.segment_map)
    assert np.array_equal(nib.load(segments_file(result)).affine, nib.load(result.folder / "ct_seg.nii.gz").affine)
    right, left = (np.array(sorted(points(segments, affine, number))) for number in (8, 2))
    assert right[:, 0].min() >= left[:, 0].max()  # RAS: x grows to the right


def test_report_and_tables_have_the_same_segments(scene: tuple[Array, Array, Result]) -> None:
    _, affine, result = scene
    segments, voxel_ml = labels_of(segments_file(result)), abs(np.linalg.det(affine[:3, :3])) / 1000
    table = result.report["segments"]["table"]
    assert [row["volume_ml"] for row in table] == pytest.approx(
        [(segments == number).sum() * voxel_ml for number in range(1, 9)], abs=1e-3
    )
    for lesion in result.lesions:
        of_lesion = segments[result.lesion_map == lesion.id]
        for item in result.report["lesions"][lesion.id - 1]["segments"]:
            assert item["share"] == pytest.approx((of_lesion == item["segment"]).mean(), abs=1e-4)
    with (result.folder / "segments.csv").open(newline="") as stream:
        assert [float(row["volume_ml"]) for row in csv.DictReader(stream)] == [row["volume_ml"] for row in table]
    assert result.options["segments"] == result.report["segments"]["sha256"]


@pytest.mark.parametrize("order, flips", [((0, 1, 2), (0, 1, 2)), ((2, 0, 1), (0,))])
def test_the_order_of_voxels_does_not_change_segments(
    tmp_path: Path, scene: tuple[Array, Array, Result], order: tuple[int, int, int], flips: tuple[int, ...]
) -> None:
    truth, affine, expected = scene
    moved, moved_affine = turned(truth, affine, order, flips)
    result = Segmenter(tmp_path, **asked(tmp_path)).segment(save(tmp_path / "ct.nii.gz", moved, moved_affine))
    for number in (2, 8):
        assert points(result.segment_map, moved_affine, number) == points(expected.segment_map, affine, number)


def test_monai_bundle_run_writes_the_same_segments(tmp_path: Path, scene: tuple[Array, Array, Result]) -> None:
    truth, affine, expected = scene
    (tmp_path / "in").mkdir()
    save(tmp_path / "in" / "ct.nii.gz", truth, affine)
    torch.save({}, tmp_path / "no_weights.pt")
    stub = {
        "network_def": {"_target_": "test_pipeline.ThresholdNetwork"},
        "checkpoint": str(tmp_path / "no_weights.pt"),
    }
    places = {"dataset_dir": str(tmp_path / "in"), "output_dir": str(tmp_path / "out"), "device": "cpu"}
    own = {"precision": "float32", "progress": False, "runtime": "torch"}
    parser = read_config(bundle_root(), {**asked(tmp_path), **stub, **places, **own})
    parser.get_parsed_content("evaluator").run()
    assert np.array_equal(labels_of(tmp_path / "out" / "ct" / "ct_segments.nii.gz"), labels_of(segments_file(expected)))


def test_a_liver_cut_off_by_the_image_gets_a_note_and_no_segments(
    tmp_path: Path, scene: tuple[Array, Array, Result]
) -> None:
    truth, affine, _ = scene
    result = Segmenter(tmp_path, **asked(tmp_path)).segment(save(tmp_path / "ct.nii.gz", truth[..., 12:], affine))
    assert result.segment_map is None and "segments" not in result.report["files"]
    assert result.report["segments"]["state"] == "left out" and not (result.folder / "segments.csv").exists()
    assert any(note.startswith("Liver segments were left out: about ") for note in result.notes)


def test_segments_are_off_by_default_and_need_their_weights(tmp_path: Path, scene: tuple[Array, Array, Result]) -> None:
    truth, affine, _ = scene
    result = Segmenter(tmp_path).segment(save(tmp_path / "ct.nii.gz", truth, affine))
    assert result.segments is None and result.report["segments"] is None and result.options["segments"] is None
    with pytest.raises(BundleError, match="No weights at"):
        Segmenter(tmp_path, segments=True, segments_checkpoint=str(tmp_path / "absent.pt"))
