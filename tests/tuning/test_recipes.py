"""A comparison of recipes resumes after an interruption, and only with the same plan."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from custom_networks.tuning import recipes

PLAN: dict[str, Any] = {
    "shared": {"fold": 1},
    "stages": [{"spacing": 2.5}, {"epochs": 20}],
    "variants": {"stack of 9": {}, "stack of 1": {"depth": [1, 1]}},
}


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The overrides of all runs so far, which only create empty files."""
    done: list[dict[str, Any]] = []

    def bundle_run(configs: Sequence[str], overrides: Mapping[str, Any], threads: int, log: Path) -> None:
        done.append(dict(overrides))
        wrote = "cases.csv" if "evaluate.json" in configs else "model_final.pt"
        (Path(overrides["output_dir"]) / wrote).write_text("case,liver_dice\na,0.9\n")

    monkeypatch.setattr(recipes, "bundle_run", bundle_run)
    return done


def compare(plan: Mapping[str, Any], out: Path, *seeds: int) -> None:
    recipes.compare(plan, out, seeds or [0], 1, "data")


def test_finished_runs_keep_their_overrides_and_are_not_repeated(tmp_path: Path, ran: list[dict[str, Any]]) -> None:
    compare(PLAN, tmp_path)
    assert len(ran) == 6
    kept = json.loads((tmp_path / "stack_of_1-s0" / "stage2" / "overrides.json").read_text())
    assert kept == {"fold": 1, "depth": [1, 1], "seed": 0, "epochs": 20}
    assert ran[4]["start_from"] == str(tmp_path / "stack_of_1-s0" / "stage1" / "model_final.pt")
    assert "stages" not in ran[5] and ran[5]["checkpoint"] == ran[4]["output_dir"] + "/model_final.pt"
    compare(json.loads(json.dumps(PLAN)), tmp_path)
    assert len(ran) == 6
    assert (tmp_path / "cases.csv").read_text().splitlines()[1:] == ["stack of 9,0,a,0.9", "stack of 1,0,a,0.9"]


@pytest.mark.parametrize(
    "changed, said",
    [
        ({"shared": {"fold": 2}}, "stage1/overrides.json differs from the plan (fold: 1 then, 2 now)"),
        ({"stages": [{"spacing": 2.5}, {"epochs": 30}]}, "stage2/overrides.json differs from the plan (epochs: 20"),
        ({"scoring": {"folds": 4}}, "scores/overrides.json differs from the plan (folds: None then, 4 now)"),
        ({"stages": [{"epochs": 20}]}, "scores/overrides.json differs from the plan (stages: [{'spacing': 2.5}, "),
    ],
)
def test_a_changed_plan_is_refused_before_anything_is_run(
    tmp_path: Path, ran: list[dict[str, Any]], changed: dict[str, Any], said: str
) -> None:
    compare(PLAN, tmp_path)
    with pytest.raises(SystemExit) as refused:
        compare({**PLAN, **changed, "variants": {"new": {}, **PLAN["variants"]}}, tmp_path)
    assert said in str(refused.value) and len(ran) == 6


def test_runs_without_kept_overrides_are_read_with_a_warning(
    tmp_path: Path, ran: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    compare(PLAN, tmp_path)
    for path in tmp_path.rglob("overrides.json"):
        path.unlink()
    compare({**PLAN, "shared": {"fold": 2}}, tmp_path)
    assert len(ran) == 6
    assert f"{tmp_path}/stack_of_9-s0/stage1 has no overrides.json" in capsys.readouterr().err


def test_probabilities_of_two_seeds_never_share_a_folder(tmp_path: Path, ran: list[dict[str, Any]]) -> None:
    plan = {**PLAN, "scoring": {"keep_probabilities": "out/probabilities"}}
    with pytest.raises(SystemExit, match="one folder: use a single seed, such as --seeds 0"):
        compare(plan, tmp_path, 0, 1)
    assert ran == []
    compare(plan, tmp_path, 1)
    assert len(ran) == 6
