"""Two commands, as a user runs them: an evaluation that keeps probabilities, and tuning."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import torch

from custom_networks.networks import ContextNet25D
from custom_networks.tuning.tune import SETTINGS, main

BundleRun = Callable[..., CompletedProcess[str]]
CONFIGS = Path(__file__).resolve().parents[2] / "bundle" / "configs"


@pytest.fixture(scope="module")
def lavish_weights(tmp_path_factory: pytest.TempPathFactory, small_network: dict[str, int]) -> Path:
    """Random weights with a head that predicts organ nearly everywhere, and tumor in much of it."""
    definition = json.loads((CONFIGS / "inference.json").read_text())["network_def"]
    definition |= {name.partition("#")[2]: value for name, value in small_network.items()}
    torch.manual_seed(0)
    network = ContextNet25D(**{name: value for name, value in definition.items() if name != "_target_"})
    state = network.state_dict()
    state["head.weight"] *= 1000  # features of untrained layers are about 1e-3
    state["head.bias"] = torch.tensor([0.0, 1.0, 1.0])
    path = tmp_path_factory.mktemp("weights") / "model.pt"
    torch.save(state, path)
    return path


def test_an_evaluation_keeps_its_cases_and_tuning_starts_from_its_scores(
    bundle_run: BundleRun, lavish_weights: Path, tmp_path: Path
) -> None:
    kept, scores = tmp_path / "kept", tmp_path / "scores"
    all_lesions = {"displayable_configs#min_lesion_confidence": 0.0}  # the released coefficients fit other weights
    given = {"output_dir": scores, "keep_probabilities": kept, "folds": 2, "checkpoint": lavish_weights}
    run = bundle_run("train", "evaluate", **given, **all_lesions)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert sorted(path.name for path in kept.iterdir()) == ["phantom_1.npz", "phantom_3.npz"]

    config = json.loads((CONFIGS / "inference.json").read_text())
    config["displayable_configs"]["min_lesion_confidence"] = 0.0
    settings = json.loads(SETTINGS.read_text())
    settings["grid"] = {"tumor_threshold": [0.4, 0.5], "min_lesion_mm3": [30.0, 100.0]}
    for name, content in (("config", config), ("settings", settings)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    given = ["--config", str(tmp_path / "config.json"), "--settings", str(tmp_path / "settings.json")]
    main([str(kept), str(tmp_path / "tuning"), *given])
    tuned = json.loads((tmp_path / "tuning" / "operating_point.json").read_text())
    with (scores / "cases.csv").open(newline="") as stream:
        cases = list(csv.DictReader(stream))
    # Decided on probabilities rounded to 1/255: a few voxels may differ.
    for ours, theirs in (("liver_dice", "liver_dice"), ("tumor_dice_with_tumor", "tumor_dice")):
        mean = np.mean([float(case[theirs]) for case in cases])
        assert 0.01 < mean < 0.99
        assert tuned["configured"]["scores"][ours] == pytest.approx(mean, abs=0.005)
    shipped = tuned["operating_points"]
    assert shipped["confidence"]["lesions"] > 0 and len(shipped["table"]) == 18
