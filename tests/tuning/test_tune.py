"""Tuning on cases in which false lesions have low and real ones high probabilities."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from custom_networks.errors import InputError, UsageError
from custom_networks.tuning.operating_point import Limits
from custom_networks.tuning.tune import tune_operating_point

CONFIGURED = {
    "organ_threshold": 0.5,
    "min_part_ml": 20.0,
    "gap_mm": 10.0,
    "neck_mm": 8.0,
    "max_hole_mm2": 100.0,
    "tumor_threshold": 0.5,
    "capsule_mm": 10.0,
    "min_lesion_mm3": 0.0,
    "min_lesion_height_mm": 0.0,
    "min_lesion_confidence": 0.3,
}
LIMITS = Limits(false_lesions_per_case=2.0, tumor_free_ml=0.5, penalty=0.1)
GRID = {"tumor_threshold": [0.3, 0.5, 0.9], "min_lesion_confidence": [0.0, 0.3, 0.5]}


LARGE = (slice(12, 16), slice(12, 16), slice(5, 12))
LIKE_THE_FALSE_ONES = (slice(6, 8), slice(6, 8), slice(9, 10))  # their size, and as far from the liver's centre


def keep(folder: Path, name: str, tumor: bool = True, false_tumor: int = 140, place: tuple[slice, ...] = LARGE) -> None:
    """A liver of 16 ml, four false lesions of 16 mm3 at `false_tumor`; with `tumor`, a real one of 448 mm3 at 200."""
    probabilities = np.zeros((2, 30, 30, 14), np.uint8)
    probabilities[0, 5:25, 5:25, 2:12] = 250
    label = (probabilities[0] > 0).astype(np.uint8)
    for row, column in ((6, 6), (6, 22), (22, 6), (22, 22)):
        probabilities[:, row : row + 2, column : column + 2, 4:5] = np.reshape(
            [250 - false_tumor, false_tumor], (2, 1, 1, 1)
        )
    if tumor:
        probabilities[(slice(None), *place)] = np.reshape([50, 200], (2, 1, 1, 1))
        label[place] = 2
    spacing, source = np.array([2.0, 2.0, 1.0]), np.array(f"train/{name}.nii.gz")
    np.savez(
        folder / f"{name}.npz",
        probabilities=probabilities,
        label=label,
        spacing=spacing,
        tumor_labelled=np.array(True),
        source=source,
    )


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    for name in "abcde":
        keep(folder, name)
    keep(folder, "healthy", tumor=False)
    groups = [{"image": f"train/{name}.nii.gz", "group": "ab" if name in "ab" else name} for name in "abcde"]
    (folder / "dataset.json").write_text(json.dumps({"name": "x", "training": groups, "test": ["f.nii.gz"]}))
    return folder


@pytest.fixture(scope="module")
def tuned(kept: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    folder = tmp_path_factory.mktemp("tuned") / "new"
    datalist = str(kept / "dataset.json")
    return tune_operating_point(str(kept), str(folder), CONFIGURED, GRID, LIMITS, datalist=datalist), folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_calibrated_confidence_removes_the_faint_false_lesions(tuned: tuple[dict[str, Any], Path]) -> None:
    result, folder = tuned
    before, after = (result[name]["scores"] for name in ("configured", "chosen"))
    # As configured the confidence is the mean probability: 140 / 255 is above the threshold of 0.3.
    assert before["false_lesions_per_case"] == 4.0 and before["within_limits"] == 0
    assert before["tumor_dice_with_tumor"] == pytest.approx(2 * 448 / (448 + 64 + 448), abs=1e-4)
    assert after["false_lesions_per_case"] == 0.0 and after["within_limits"] == 1
    assert after["tumor_dice_with_tumor"] == after["lesion_recall_10mm"] == 1.0
    # The lowest threshold of the table does, and of the search's points none is better than the configured one.
    assert result["chosen"]["operating_point"] == CONFIGURED | {"min_lesion_confidence": 0.1}
    assert result["search_best"]["operating_point"] == CONFIGURED
    assert result["operating_points"]["default"] == result["chosen"]["operating_point"]
    assert json.loads((folder / "operating_point.json").read_text()) == result
    assert result["cases"] == 6 and result["patients"] == 5


def test_the_calibration_is_measured_on_held_out_patients(tuned: tuple[dict[str, Any], Path]) -> None:
    result, folder = tuned
    lesions = rows(folder / "lesions.csv")
    assert len(lesions) == 29 and {row["patient"] for row in lesions} == {"ab", "c", "d", "e", "healthy"}
    assert {row["volume_mm3"] for row in lesions if row["real"] == "1"} == {"448"}
    assert {row["volume_mm3"] for row in lesions if row["real"] == "0"} == {"16"}
    quality = result["operating_points"]["confidence"]
    assert (quality["lesions"], quality["real_lesions"]) == (29, 5)
    assert quality["brier"] < 0.05 < quality["brier_of_mean_probability"]
    confidences = np.array([float(row["held_out_confidence"]) for row in lesions])
    real = np.array([row["real"] == "1" for row in lesions])
    assert quality["brier"] == pytest.approx(np.mean((confidences - real) ** 2), abs=1e-4)
    assert result["confidence_coefficients"]["mean_probability"] > 0
    assert sum(int(row["lesions"]) for row in rows(folder / "reliability.csv")) == 29


def test_all_trials_and_all_other_thresholds_are_listed(tuned: tuple[dict[str, Any], Path]) -> None:
    _, folder = tuned
    settings = rows(folder / "settings.csv")
    assert [row["confidence"] for row in settings[:2]] == ["configured", "calibrated"]
    assert len(settings) == 1 + 1 + 2 + 2  # the start, and two other values of each number
    true = rows(folder / "true_lesions.csv")
    assert [(row["case"], row["patient"]) for row in true] == [
        (name, "ab" if name in "ab" else name) for name in "abcde"
    ]
    size = {"slice_mm": "1", "volume_mm3": "448", "longest_mm": "10", "found": "1"}  # 4 x 4 pixels of 2 mm: hypot(3, 4)
    assert all(row == {**row, **size} for row in true)
    operating = rows(folder / "operating.csv")
    assert [row["threshold"] for row in operating] == ["tumor_threshold"] * 9 + ["min_lesion_confidence"] * 9
    by_threshold = {(row["threshold"], row["value"]): row for row in operating}
    assert by_threshold["tumor_threshold", "0.8"]["lesion_recall"] == "1"  # 200 of 250 is a share of 0.8
    assert by_threshold["tumor_threshold", "0.9"]["lesion_recall"] == "0"
    assert by_threshold["min_lesion_confidence", "0.5"]["false_lesions_per_case"] == "0"


@pytest.mark.parametrize(("allowed", "least"), [(4.0, 0.1), (2.0, 0.3)])
def test_the_lowest_threshold_within_the_limit_on_false_lesions_is_chosen(
    tmp_path: Path, allowed: float, least: float
) -> None:
    for name in "abcde":
        keep(tmp_path, name, false_tumor=200, place=LIKE_THE_FALSE_ONES)
    # All are alike; of the 20 of other patients 4 are real: Platt's targets give (4 * 5 / 6 + 16 / 18) / 20 = 0.211.
    result = tune_operating_point(
        str(tmp_path), str(tmp_path / "out"), CONFIGURED, {}, replace(LIMITS, false_lesions_per_case=allowed)
    )
    assert result["chosen"]["operating_point"]["min_lesion_confidence"] == least
    assert result["chosen"]["scores"]["false_lesions_per_case"] == (4.0 if allowed == 4.0 else 0.0)


def test_if_all_thresholds_exceed_the_limit_the_highest_is_used_with_a_warning(
    kept: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    result = tune_operating_point(
        str(kept), str(tmp_path), CONFIGURED, {}, replace(LIMITS, false_lesions_per_case=-1.0)
    )
    assert result["chosen"]["operating_point"]["min_lesion_confidence"] == 0.9
    assert (
        "No value tried for min_lesion_confidence keeps false lesions within the limit: the highest, 0.9" in caplog.text
    )


def test_known_scans_of_the_same_patient_are_kept_together_without_a_list(tmp_path: Path) -> None:
    for name in ("liver_0", "liver_1", "liver_2"):
        keep(tmp_path, name)
    assert tune_operating_point(str(tmp_path), str(tmp_path / "out"), CONFIGURED, {}, LIMITS)["patients"] == 2


def test_wrong_arguments_are_refused_before_any_work(kept: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    with pytest.raises(InputError, match="keep_probabilities"):
        tune_operating_point(str(tmp_path), out, CONFIGURED, GRID, LIMITS)
    with pytest.raises(UsageError, match="missing or unknown: .*tumour_threshold"):
        tune_operating_point(str(kept), out, CONFIGURED, {"tumour_threshold": [0.5]}, LIMITS)
    with pytest.raises(UsageError, match="missing or unknown: gap_mm"):
        tune_operating_point(str(kept), out, {k: v for k, v in CONFIGURED.items() if k != "gap_mm"}, GRID, LIMITS)
    with pytest.raises(UsageError, match="got 0.1"):
        tune_operating_point(str(kept), out, CONFIGURED, {"organ_threshold": [0.1, 0.5]}, LIMITS)
    assert not (tmp_path / "out").exists()
