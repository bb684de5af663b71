"""Files that an evaluation of three small cases writes, with one process and with two."""

import csv
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from monai.data import DataLoader, MetaTensor
from monai.engines import SupervisedEvaluator
from monai.inferers import SimpleInferer

from custom_networks.errors import InputError
from custom_networks.evaluation import CaseScoresHandler
from custom_networks.evaluation.case_report import case_names
from custom_networks.evaluation.summary import column_statistics, pooled_scores

AFFINE = torch.diag(torch.tensor([1.0, 2.0, 5.0, 1.0], dtype=torch.float64))


def volume(values: list[int], path: str) -> MetaTensor:
    """Label map (1, n, 1, 1) with voxels of 10 mm3."""
    labels = torch.tensor(values, dtype=torch.float32).reshape(1, -1, 1, 1)
    return MetaTensor(labels, affine=AFFINE, meta={"filename_or_obj": path})


def case(name: str, pred: list[int], truth: list[int], tumor_labelled: bool = True) -> dict[str, Any]:
    """A data item whose image is the output of an identity network."""
    image, label = volume(pred, f"/data/{name}_ct.nii.gz"), volume(truth, f"/data/{name}_label.nii.gz")
    return {"image": image, "label": label, "tumor_labelled": tumor_labelled}


CASES = [
    case("a", pred=[0, 1, 2, 2], truth=[1, 1, 1, 2]),  # tumor Dice 2/3, one voxel shared of 2 and 1
    case("b", pred=[1, 1, 2, 0], truth=[1, 1, 1, 0]),  # a false tumor voxel in a healthy liver
    case("c", pred=[1, 1, 2, 2], truth=[1, 1, 1, 1], tumor_labelled=False),
    case("d", pred=[1, 2, 2, 2], truth=[1, 2, 2, 2]),
]


def evaluate(cases: list[dict[str, Any]], folder: Path) -> SupervisedEvaluator:
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(cases, batch_size=1),
        network=torch.nn.Identity(),
        inferer=SimpleInferer(),
        val_handlers=[CaseScoresHandler(str(folder))],
    )
    evaluator.run()
    return evaluator


def table(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    first = next(iter(rows[0]))
    return {row[first]: row for row in rows}


def test_evaluation_without_a_case_is_refused_before_it_runs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Each process needs at least one case to evaluate, got none"):
        evaluate([], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_cases_csv_has_one_row_per_case_and_empty_cells_for_unlabelled_tumors(tmp_path: Path) -> None:
    evaluate(CASES, tmp_path)
    rows = table(tmp_path / "cases.csv")
    assert list(rows) == ["a_ct", "b_ct", "c_ct", "d_ct"]
    assert float(rows["a_ct"]["tumor_dice"]) == pytest.approx(2 / 3, abs=1e-6)
    assert float(rows["a_ct"]["liver_ml_truth"]) == pytest.approx(4 * 0.01)
    assert rows["b_ct"]["tumor_rvd"] == "" and float(rows["b_ct"]["false_lesions"]) == 1
    assert rows["c_ct"]["tumor_dice"] == rows["c_ct"]["lesions_truth"] == ""
    assert float(rows["c_ct"]["liver_dice"]) == 1


def test_the_summary_distinguishes_tumor_dice_with_and_without_tumor_free_cases(tmp_path: Path) -> None:
    metrics = evaluate(CASES, tmp_path).state.metrics
    summary = json.loads((tmp_path / "summary.json").read_text())
    columns, pooled = summary["columns"], summary["pooled"]
    assert summary["cases"] == 4
    assert columns["tumor_dice"]["n"] == 3
    assert columns["tumor_dice"]["mean"] == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert columns["tumor_dice_with_tumor"]["n"] == 2
    assert columns["tumor_dice_with_tumor"]["mean"] == pytest.approx((2 / 3 + 1) / 2)
    # voxels: shared 1 + 0 + 3, predicted 2 + 1 + 3, true 1 + 0 + 3
    assert pooled["tumor_dice_pooled"] == pytest.approx(2 * 4 / 10)
    assert pooled["lesion_recall"] == 1 and pooled["lesion_precision"] == pytest.approx(2 / 3)
    assert pooled["false_lesions_per_case"] == pytest.approx(1 / 3)
    for name in ("tumor_dice_with_tumor", "liver_dice"):
        assert metrics[name] == columns[name]["mean"]
    assert metrics["mean_dice"] == pooled["mean_dice"]
    assert metrics["mean_dice"] == pytest.approx((metrics["liver_dice"] + metrics["tumor_dice_with_tumor"]) / 2)


def test_summary_csv_agrees_with_the_json(tmp_path: Path) -> None:
    evaluate(CASES, tmp_path)
    rows, summary = table(tmp_path / "summary.csv"), json.loads((tmp_path / "summary.json").read_text())
    assert list(rows) == [*summary["columns"], *summary["pooled"]]
    assert float(rows["tumor_hd95_mm"]["max"]) == pytest.approx(summary["columns"]["tumor_hd95_mm"]["max"], rel=1e-5)
    assert float(rows["tumor_dice_pooled"]["mean"]) == pytest.approx(summary["pooled"]["tumor_dice_pooled"], rel=1e-5)


def test_columns_without_any_value_are_null(tmp_path: Path) -> None:
    metrics = evaluate(CASES[2:3], tmp_path).state.metrics
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["columns"]["tumor_dice"] == {"n": 0, "mean": None, "median": None, "min": None, "max": None}
    assert summary["pooled"]["tumor_dice_pooled"] is None and "tumor_dice" not in metrics
    assert summary["pooled"]["mean_dice"] == metrics["liver_dice"] == 1


def test_after_a_crash_the_earlier_cases_are_in_the_files(tmp_path: Path) -> None:
    broken = case("x", pred=[0, 1, 3, 0], truth=[0, 1, 2, 0])
    with pytest.raises(InputError, match="/data/x_ct.nii.gz cannot be scored. The prediction .* maximum of 3"):
        evaluate([CASES[0], CASES[1], broken], tmp_path)
    assert list(table(tmp_path / "cases.csv")) == ["a_ct", "b_ct"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cases.csv", "summary.csv", "summary.json"]


def test_a_second_run_starts_empty_and_a_repeated_case_counts_once(tmp_path: Path) -> None:
    evaluator = evaluate([CASES[0], CASES[1], CASES[0]], tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text())["cases"] == 2
    evaluator.state.dataloader = evaluator.data_loader = DataLoader(CASES[3:], batch_size=1)
    evaluator.state.epoch_length = 1
    evaluator.run(2)
    assert list(table(tmp_path / "cases.csv")) == ["d_ct"]


def test_prediction_on_another_grid_is_refused(tmp_path: Path) -> None:
    item = case("x", pred=[0, 1, 2, 0], truth=[0, 1, 2, 0])
    item["image"].affine = torch.diag(torch.tensor([-1.0, 2.0, 5.0, 1.0], dtype=torch.float64))
    with pytest.raises(InputError, match="on the same grid, got positions up to 8 mm apart"):
        evaluate([item], tmp_path)


def test_fractional_label_values_are_refused(tmp_path: Path) -> None:
    item = case("x", pred=[0, 1, 2, 0], truth=[0, 1, 2, 0])
    item["label"] = item["label"] * 0.5
    with pytest.raises(InputError, match="whole numbers"):
        evaluate([item], tmp_path)


def test_a_case_without_a_file_name_is_refused(tmp_path: Path) -> None:
    item = case("x", pred=[0, 1, 2, 0], truth=[0, 1, 2, 0])
    for key in ("image", "label"):
        del item[key].meta["filename_or_obj"]
    with pytest.raises(InputError, match="needs a file name"):
        evaluate([item], tmp_path)


def test_each_case_is_logged_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="custom_networks"):
        evaluate(CASES[:3], tmp_path)
    lines = [record.message for record in caplog.records if record.name.startswith("custom_networks")]
    assert len(lines) == 3 and lines[0].endswith("tumor Dice 0.667, 1 of 1 lesions found, 0 false")
    assert lines[2].endswith("tumors not labelled")


def test_names_of_cases_are_as_short_as_possible() -> None:
    names = case_names(["/x/one/ct.nii.gz", "/x/two/ct.nii.gz", "/x/liver.5.mha", "/y/one/a.nii", "/z/one/a.nii"])
    assert list(names.values()) == ["one/ct", "two/ct", "liver.5", "/y/one/a.nii", "/z/one/a.nii"]


def test_a_summary_of_no_cases_has_no_columns_and_undefined_means() -> None:
    assert column_statistics({}) == {}
    assert np.isnan(pooled_scores({})["mean_dice"])


PARTS = [[CASES[0], CASES[2]], [CASES[1], CASES[0]]]


def _rank(rank: int, folder: str) -> None:
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=len(PARTS))
    metrics = evaluate(PARTS[rank], Path(folder) / "out").state.metrics
    (Path(folder) / f"metrics{rank}.json").write_text(json.dumps(metrics))
    dist.destroy_process_group()


def in_two_processes(folder: str) -> None:
    """Evaluate half of the cases in each of two processes."""
    torch.multiprocessing.start_processes(_rank, (folder,), nprocs=len(PARTS), start_method="fork")


def test_two_processes_write_one_report_that_counts_the_repeated_case_once(
    python: Callable[..., Any], tmp_path: Path
) -> None:
    here = Path(__file__).resolve().parent
    script = "import sys, test_case_report; test_case_report.in_two_processes(sys.argv[1])"
    paths = os.pathsep.join([str(here.parents[1]), str(here)])
    done = python("-c", script, tmp_path, env={**os.environ, "PYTHONPATH": paths})
    assert done.returncode == 0, done.stderr
    assert sorted(table(tmp_path / "out" / "cases.csv")) == ["a_ct", "b_ct", "c_ct"]
    first, second = (json.loads((tmp_path / f"metrics{rank}.json").read_text()) for rank in range(2))
    assert first == second and first["tumor_dice"] == pytest.approx((2 / 3 + 0) / 2)
