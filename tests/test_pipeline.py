"""inference.json puts masks in the right place, with a network that classifies voxels by their intensity."""

import gc
import hashlib
import logging
import random
import re
import sys
import weakref
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
import torch
from nibabel.affines import apply_affine

from custom_networks.bundle_files import bundle_root, config_text
from custom_networks.errors import BundleError, InputError, UsageError
from custom_networks.io import only_case
from custom_networks.phantom import make_phantom
from custom_networks.pipeline import Pipeline
from custom_networks.report.organ_region import OrganRegion
from custom_networks.report.run import scout_notes
from custom_networks.report.verdict import BOX_TOO_SMALL
from custom_networks.result import Result, output_folder, write

Array = npt.NDArray[Any]
BACKGROUND_HU, LIVER_HU, TUMOR_HU = -120, 60, 220
STOCK_INFERER = {"_target_": "SlidingWindowInferer", "roi_size": [48, 48, -1], "overlap": 0.25}


class ThresholdNetwork(torch.nn.Module):
    """Classifies voxels above -20 HU as liver and voxels above 140 HU as tumor."""

    stride, halo = 1, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (B, 3, H, W, D) of intensities (B, 1, H, W, D), which are (HU + 160) / 400."""
        hu = x * 400 - 160
        tumor, organ = hu > 140, hu > -20
        return 20 * torch.cat([~organ, organ & ~tumor, tumor], dim=1).float()


class Segmenter:
    """The bundle's pipeline with thresholds in place of the network, and a folder for its results."""

    def __init__(self, output: Path, **overrides: Any) -> None:
        weights = output / "no_weights.pt"
        weights.parent.mkdir(parents=True, exist_ok=True)
        torch.save({}, weights)
        stub = {
            "network_def": {"_target_": f"{__name__}.ThresholdNetwork"},
            "checkpoint": str(weights),
            "device": "cpu",
            "precision": "float32",
            "progress": False,
        }
        self.pipeline, self.output = Pipeline(overrides={**stub, **overrides}), output / "results"

    def segment(self, path: Path) -> Result:
        """Segment the one case of a path and write its folder."""
        return write(self.pipeline.predict(only_case(path)), self.output, overlay=False, page="off")


def pipeline(output: Path, **overrides: Any) -> Segmenter:
    """A function that makes a `Segmenter` for a folder."""
    return Segmenter(output, **overrides)


def mask_of(result: Result) -> Path:
    """The file of a result's label map."""
    assert result.folder is not None
    return result.folder / result.report["files"]["mask"]


def truth_and_affine(spacing: tuple[float, float, float], shape: tuple[int, int, int]) -> tuple[Array, Array]:
    """A label map with liver and tumors, large enough for the pipeline to keep them, and its affine."""
    phantom = make_phantom(4, shape=shape, spacing=spacing, lesions=2)
    return phantom.label, phantom.affine


def save(path: Path, truth: Array, affine: Array) -> Path:
    """Write a CT whose HU determine each voxel's label; return its path."""
    hu = np.array([BACKGROUND_HU, LIVER_HU, TUMOR_HU], dtype=np.int16)[truth]
    nib.save(nib.Nifti1Image(hu, affine), path)
    return path


def labels_of(mask: Path) -> Array:
    return np.asarray(nib.load(mask).dataobj)


def points(labels: Array, affine: Array, label: int) -> set[tuple[float, ...]]:
    """Patient coordinates of the voxels with a label, rounded to 0.01 mm."""
    return {tuple(point) for point in np.round(apply_affine(affine, np.argwhere(labels == label)), 2) + 0.0}


def dice(one: Array, other: Array) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def turned(truth: Array, affine: Array, order: tuple[int, int, int], flips: tuple[int, ...]) -> tuple[Array, Array]:
    """The same anatomy with voxels stored in another order."""
    moved = np.flip(truth.transpose(order), flips)
    back = np.zeros((4, 4))  # indices of `moved` to indices of `truth`
    back[3, 3] = 1
    for axis, source in enumerate(order):
        back[source, axis] = -1 if axis in flips else 1
        back[source, 3] = moved.shape[axis] - 1 if axis in flips else 0
    return np.ascontiguousarray(moved), affine @ back


def rotation(degrees: float, axis: int) -> Array:
    """A rotation of the patient about one axis."""
    angle, (a, b) = np.radians(degrees), [i for i in range(3) if i != axis]
    matrix = np.eye(4)
    matrix[a, a] = matrix[b, b] = np.cos(angle)
    matrix[a, b], matrix[b, a] = -np.sin(angle), np.sin(angle)
    return matrix


GRIDS = {
    "the network's own grid": ((1.25, 1.25, 3.0), (96, 80, 40)),
    "coarser in-plane": ((2.3, 1.7, 4.0), (60, 64, 30)),
    "finer in-plane, thin slices": ((0.7, 0.9, 1.0), (128, 112, 60)),
}


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("inferer", ["ours", "stock"])
def test_the_mask_matches_the_anatomy_on_the_inputs_grid(tmp_path: Path, name: str, inferer: str) -> None:
    truth, affine = truth_and_affine(*GRIDS[name])
    ours = pipeline(tmp_path, **({} if inferer == "ours" else {"inferer": STOCK_INFERER}))
    result = ours.segment(save(tmp_path / "ct.nii.gz", truth, affine))
    image, mask = nib.load(tmp_path / "ct.nii.gz"), nib.load(mask_of(result))
    np.testing.assert_array_equal(result.ct.array, np.asarray(image.dataobj))
    assert result.ct.array.dtype == np.int16
    assert mask.shape == image.shape
    np.testing.assert_array_equal(mask.affine, image.affine)
    labels = labels_of(mask_of(result))
    assert dice(labels > 0, truth > 0) > 0.97
    assert dice(labels == 2, truth == 2) > 0.9
    voxel_ml = np.prod(GRIDS[name][0]) / 1000
    assert result.liver_ml == pytest.approx((labels > 0).sum() * voxel_ml, rel=1e-5)
    assert result.tumor_ml == pytest.approx((labels == 2).sum() * voxel_ml, rel=1e-5)
    assert (result.case, result.notes) == ("ct", ())


def test_without_resampling_the_mask_equals_the_truth(tmp_path: Path) -> None:
    truth = np.zeros((64, 48, 20), dtype=np.uint8)
    truth[10:50, 8:40, 4:16] = 1
    truth[20:32, 16:28, 8:12] = 2
    result = pipeline(tmp_path).segment(save(tmp_path / "ct.nii.gz", truth, np.diag([1.25, 1.25, 3.0, 1.0])))
    np.testing.assert_array_equal(labels_of(mask_of(result)), truth)
    assert result.liver_ml == pytest.approx(40 * 32 * 12 * 1.25 * 1.25 * 3 / 1000)
    assert result.tumor_ml == pytest.approx(12 * 12 * 4 * 1.25 * 1.25 * 3 / 1000)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Array, Array, Array]:
    """Truth, affine and mask of the unchanged phantom with unequal spacing, resampled along both in-plane axes."""
    folder = tmp_path_factory.mktemp("plain")
    truth, affine = truth_and_affine((0.9, 1.7, 4.0), (96, 56, 24))
    affine[:3, 3] = 43, 47, -500  # every voxel at whole tenths of a mm, so that places can be compared as numbers
    return truth, affine, labels_of(mask_of(pipeline(folder).segment(save(folder / "ct.nii.gz", truth, affine))))


@pytest.mark.parametrize(
    "order, flips",
    [
        ((0, 1, 2), (0,)),
        ((0, 1, 2), (1,)),
        ((0, 1, 2), (2,)),
        ((0, 1, 2), (0, 1, 2)),
        ((1, 0, 2), ()),
        ((2, 0, 1), (0,)),
        ((1, 2, 0), (1, 2)),
        ((2, 1, 0), (0, 1)),
    ],
)
def test_the_order_of_voxels_does_not_move_the_mask_in_the_patient(
    tmp_path: Path, plain: tuple[Array, Array, Array], order: tuple[int, int, int], flips: tuple[int, ...]
) -> None:
    truth, affine, expected = plain
    moved, moved_affine = turned(truth, affine, order, flips)
    assert points(moved, moved_affine, 1) == points(truth, affine, 1), "the test's own move"
    result = pipeline(tmp_path).segment(save(tmp_path / "ct.nii.gz", moved, moved_affine))
    image, mask = nib.load(tmp_path / "ct.nii.gz"), nib.load(mask_of(result))
    assert mask.shape == image.shape == moved.shape
    np.testing.assert_array_equal(mask.affine, image.affine)
    for label in (1, 2):
        assert points(labels_of(mask_of(result)), moved_affine, label) == points(expected, affine, label)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_rotated_patient_gets_the_same_mask_rotated(
    tmp_path: Path, plain: tuple[Array, Array, Array], axis: int
) -> None:
    truth, affine, expected = plain
    oblique = rotation(14, axis) @ affine
    result = pipeline(tmp_path).segment(save(tmp_path / "ct.nii.gz", truth, oblique))
    image, mask = nib.load(tmp_path / "ct.nii.gz"), nib.load(mask_of(result))
    np.testing.assert_array_equal(mask.affine, image.affine)
    np.testing.assert_allclose(mask.affine, oblique, atol=1e-4)
    # The spacing comes back from float32 cosines: a voxel on the border may round the other way.
    assert dice(labels_of(mask_of(result)) > 0, expected > 0) > 0.999
    assert dice(labels_of(mask_of(result)) == 2, expected == 2) > 0.995


def test_a_gantry_tilt_is_preserved_and_noted(tmp_path: Path, plain: tuple[Array, Array, Array]) -> None:
    truth, affine, _ = plain
    tilted = affine.copy()
    tilted[1, 2] = np.tan(np.radians(10)) * affine[2, 2]
    result = pipeline(tmp_path).segment(save(tmp_path / "ct.nii.gz", truth, tilted))
    np.testing.assert_array_equal(nib.load(mask_of(result)).affine, nib.load(tmp_path / "ct.nii.gz").affine)
    assert dice(labels_of(mask_of(result)) > 0, truth > 0) > 0.95
    assert len(result.notes) >= 1 and "10.0 degrees off a right angle" in result.notes[0]


def test_a_case_is_released_before_the_next_one_is_read(
    tmp_path: Path, plain: tuple[Array, Array, Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, affine, expected = plain
    ours = pipeline(tmp_path)
    (tmp_path / "bad.nii.gz").write_text("no image")
    seen: list[weakref.ref[Any]] = []
    original = ThresholdNetwork.forward

    def watched(self: ThresholdNetwork, x: torch.Tensor) -> torch.Tensor:
        answer = original(self, x)
        seen.extend([weakref.ref(x), weakref.ref(answer)])
        return answer

    monkeypatch.setattr(ThresholdNetwork, "forward", watched)
    first = ours.segment(save(tmp_path / "ct.nii.gz", truth, affine))
    gc.collect()
    assert seen and all(reference() is None for reference in seen)
    with pytest.raises(InputError, match="bad.nii.gz"):
        ours.segment(tmp_path / "bad.nii.gz")
    again = ours.segment(save(tmp_path / "again.nii.gz", truth, affine))
    np.testing.assert_array_equal(labels_of(mask_of(first)), labels_of(mask_of(again)))
    np.testing.assert_array_equal(labels_of(mask_of(again)), expected)


def test_logits_that_are_not_finite_are_refused_and_nothing_is_written(
    tmp_path: Path, plain: tuple[Array, Array, Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, affine, _ = plain
    monkeypatch.setattr(ThresholdNetwork, "forward", lambda self, x: x.expand(-1, 3, -1, -1, -1) * torch.nan)
    ours = pipeline(tmp_path, **{"inferer": STOCK_INFERER})
    with pytest.raises(InputError, match="must be finite"):
        ours.segment(save(tmp_path / "ct.nii.gz", truth, affine))
    assert [path.name for path in (tmp_path / "results").rglob("*")] == []


def test_missing_weights_a_missing_bundle_and_a_bad_folder_have_clear_errors(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="No weights at .*absent.pt: fetch or train them"):
        pipeline(tmp_path, checkpoint=str(tmp_path / "absent.pt"))
    with pytest.raises(BundleError, match=r"No bundle with configs/inference\.json in .*nowhere"):
        Pipeline(bundle=str(tmp_path / "nowhere"))
    (tmp_path / "file").touch()
    for make in (True, False):
        with pytest.raises(UsageError, match="file cannot be a folder for results"):
            output_folder(tmp_path / "file", make=make)
    assert output_folder(tmp_path / "a" / "b", make=False) == tmp_path / "a" / "b" and not (tmp_path / "a").exists()


def test_the_callers_state_is_restored(tmp_path: Path, plain: tuple[Array, Array, Array]) -> None:
    truth, affine, _ = plain
    names = ("", "ignite", "monai", "monai.bundle.workflows", "custom_networks")
    torch.set_default_dtype(torch.float64)
    try:
        levels = [logging.getLogger(name).level for name in names]
        before = torch.random.get_rng_state(), np.random.get_state()[1], random.getstate(), list(sys.path)
        pipeline(tmp_path).segment(save(tmp_path / "ct.nii.gz", truth, affine))
        after = torch.random.get_rng_state(), np.random.get_state()[1], random.getstate(), list(sys.path)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(before[0], after[0]) and np.array_equal(before[1], after[1]) and before[2:] == after[2:]
    assert levels == [logging.getLogger(name).level for name in names]


def test_a_file_replaced_after_it_was_read_is_another_input(tmp_path: Path, plain: tuple[Array, Array, Array]) -> None:
    truth, affine, _ = plain
    ours = pipeline(tmp_path)
    path = save(tmp_path / "ct.nii.gz", truth, affine)
    first = ours.pipeline.predict(only_case(path))
    save(path, np.ascontiguousarray(truth[:, :, :20]), affine)  # the next patient, at the same path
    second = ours.pipeline.predict(only_case(path))
    path.unlink()
    names = [write(result, ours.output, overlay=False).case for result in (first, second)]
    assert names == ["ct", "ct_2"]


def test_an_unexpected_error_keeps_its_cause(
    tmp_path: Path, plain: tuple[Array, Array, Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, affine, _ = plain

    def fail(*arguments: object) -> None:
        raise MemoryError("no room")

    ours = pipeline(tmp_path)
    monkeypatch.setattr("custom_networks.transforms.anatomy.find_lesions", fail)
    with pytest.raises(RuntimeError) as raised:
        ours.segment(save(tmp_path / "ct.nii.gz", truth, affine))
    assert isinstance(raised.value.__cause__, MemoryError)


def test_wrong_overrides_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match="Overrides must name ids of inference.json, which has no no_such_id: correct them"
    ):
        pipeline(tmp_path, no_such_id=1)
    with pytest.raises(UsageError, match=r"The bundle cannot be built with the given .*anatomy#9#neck_mm"):
        pipeline(tmp_path, **{"anatomy#9#neck_mm": 1.0})


def test_the_repr_of_a_result_is_one_line(tmp_path: Path, plain: tuple[Array, Array, Array]) -> None:
    truth, affine, _ = plain
    result = pipeline(tmp_path).segment(save(tmp_path / "ct.nii.gz", truth, affine))
    assert re.fullmatch(
        r"Result\('ct': liver \d+\.\d ml, tumor \d+\.\d ml in \d lesions?, 96 x 56 x 24 voxels\)", repr(result)
    )


def test_the_report_states_how_a_case_was_run(tmp_path: Path, plain: tuple[Array, Array, Array]) -> None:
    truth, affine, _ = plain
    ours = pipeline(tmp_path)
    first = ours.segment(save(tmp_path / "ct.nii.gz", truth, affine)).report["run"]
    second = ours.segment(tmp_path / "ct.nii.gz").report["run"]
    assert first["weights"] == {
        "sha256": hashlib.sha256((tmp_path / "no_weights.pt").read_bytes()).hexdigest(),
        "released": False,
    }
    assert (first["runtime"], first["precision"], first["device"]) == ("torch", "float32", "cpu")
    assert first["source"] == {
        "series_instance_uid": None,
        "series_number": None,
        "spacing_mm": [0.9, 1.7, 4.0],
        "slices": 24,
    }
    assert first["seconds"]["prepare"] > 0 == second["seconds"]["prepare"]  # the network is loaded once
    for name in ("date", "seconds"):
        first.pop(name), second.pop(name)
    assert first == second


# 208 x 216 x 110 mm; its liver lies in one half of it.
WIDE: dict[str, Any] = {"spacing": (2.0, 3.0, 5.0), "shape": (104, 72, 22)}
SCOUT = {"scout_network": {"_target_": f"{__name__}.ThresholdNetwork"}}


@pytest.mark.parametrize(("order", "flips"), [((0, 1, 2), ()), ((2, 0, 1), (0, 2))], ids=["straight", "turned"])
def test_the_scout_restricts_the_network_to_a_box_without_changing_the_result(
    tmp_path: Path, order: tuple[int, int, int], flips: tuple[int, ...]
) -> None:
    truth, affine = truth_and_affine(**WIDE)
    truth[..., :4], truth[..., 13:] = 0, 0
    moved, its_affine = turned(truth, affine, order, flips)
    path = save(tmp_path / "ct.nii.gz", moved, its_affine)
    on, off = (pipeline(tmp_path / name, scout=name == "on", **SCOUT).segment(path) for name in ("on", "off"))
    np.testing.assert_array_equal(on.labels, off.labels)
    assert on.report["lesions"] == off.report["lesions"] and on.notes == off.notes
    assert off.report["run"]["scout"] == {"state": "off", "sha256": None, "box": None}
    scout = on.report["run"]["scout"]
    assert scout["state"] == "found" and re.fullmatch("[0-9a-f]{64}", scout["sha256"])
    assert on.report["run"]["seconds"]["scout"] > 0 == off.report["run"]["seconds"]["scout"]
    box = tuple(slice(first, stop) for first, stop in scout["box"])
    assert moved[box].any() and (moved > 0).sum() == (moved[box] > 0).sum()
    slices = box[order.index(2)]
    assert slices.stop - slices.start == 13 - 4 + 2 * 3  # a margin of 15 mm at each end; no halo here


def test_a_scan_in_which_the_scout_finds_nothing_is_segmented_whole_with_a_note(tmp_path: Path) -> None:
    truth, affine = truth_and_affine(**WIDE)
    blind = {"scout_transforms#0#least_ml": 1e6}
    result = pipeline(tmp_path, **SCOUT, **blind).segment(save(tmp_path / "ct.nii.gz", truth, affine))
    assert (result.labels > 0).any()
    assert result.report["run"]["scout"] | {"sha256": None} == {"state": "nothing found", "sha256": None, "box": None}
    assert "The scout found no liver: the whole volume was segmented." in result.report["notes"]


@pytest.mark.parametrize(("axis", "side"), [(0, 0), (1, 1), (2, 0)])
def test_a_liver_that_reaches_the_border_of_the_scouts_box_is_noted(axis: int, side: int) -> None:
    labels = np.zeros((10, 10, 10), np.uint8)
    labels[2:8, 2:8, 2:8] = 1
    box = tuple(slice(first, first + 10) for first in (20, 30, 40))
    region = OrganRegion(labels, labels, box, (64, 64, 64), np.eye(4))
    around = [[first + 1, first + 9] for first in (20, 30, 40)]
    assert scout_notes({"state": "found", "box": around}, region) == []
    around[axis][side] += -1 if side else 1
    assert scout_notes({"state": "found", "box": around}, region) == [BOX_TOO_SMALL]
    whole = [[0, 64]] * 3
    assert scout_notes({"state": "found", "box": whole}, region) == []
    assert scout_notes({"state": "off", "box": None}, region) == []


def test_a_small_field_of_view_is_segmented_whole(tmp_path: Path, plain: tuple[Array, Array, Array]) -> None:
    truth, affine, _ = plain
    result = pipeline(tmp_path).segment(save(tmp_path / "ct.nii.gz", truth, affine))
    assert result.report["run"]["scout"]["state"] == "skipped" and result.report["run"]["scout"]["box"] is None


def test_damaged_weights_of_the_scout_stop_a_run_before_it_starts(tmp_path: Path) -> None:
    damaged = tmp_path / "scout.pt"
    damaged.write_bytes(Path(bundle_root() / "models" / "scout" / "scout.pt").read_bytes()[:-100])
    with pytest.raises(BundleError, match=r"scout\.pt is damaged"):
        pipeline(tmp_path, scout_checkpoint=str(damaged))
    torch.save({"no": torch.zeros(1)}, damaged)
    with pytest.raises(BundleError, match=r"scout\.pt does not contain weights of this network"):
        pipeline(tmp_path, scout_checkpoint=str(damaged))


def test_the_bundle_is_found_in_the_checkout_or_in_a_given_folder(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[1] / "bundle"
    assert bundle_root() == bundle_root(str(root)) == root
    (tmp_path / "other" / "configs").mkdir(parents=True)
    (tmp_path / "other" / "configs" / "inference.json").touch()
    assert bundle_root(str(tmp_path / "other")) == tmp_path / "other"


@pytest.mark.parametrize("text", ["plain/a b", "#1", "a @b#c", "$x", "@ref", "%macro", r"C:\#new", "it's 肝", '"'])
def test_any_text_passes_through_a_config(text: str) -> None:
    from monai.bundle import ConfigParser

    parser = ConfigParser({"name": config_text(text), "c": 1})
    assert parser.get_parsed_content("name") == text


def test_a_fast_result_is_nearly_the_same_and_marked(tmp_path: Path) -> None:
    path = save(tmp_path / "ct.nii.gz", *truth_and_affine((0.9, 0.9, 1.0), (112, 96, 60)))
    fast, full = (pipeline(tmp_path / name, fast=name == "fast").segment(path) for name in ("fast", "full"))
    assert (fast.report["run"]["fast"], full.report["run"]["fast"]) == (True, False)
    assert fast.report["confidence_calibrated"] is False
    assert fast.options["overrides"]["fast"] is True
    assert dice(fast.liver, full.liver) > 0.95
    assert not np.array_equal(fast.labels, full.labels)
