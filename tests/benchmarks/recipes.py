"""Compares recipes: trains and scores each variant with each seed on a fixed fold, and gathers one row a case.

    python tests/benchmarks/recipes.py docs/training/claim.json out/claim --seeds 0 1 --dataset_dir DATA

The first file holds overrides of train.json: those that all variants share, and each variant's own::

    {"shared": {"fold": 1, "folds": 3, "epochs": 18},
     "variants": {"stack of 9": {}, "stack of 1": {"network_def#depth_kernels": [1, 1, 1, 1, 1]}}}

Optional: `"stages"`, a list of further overrides, one training after another, each from the weights of the one before
(coarse to fine); `"scoring"`, overrides of the evaluation alone.

Runs go on where they were cut off: a training takes up its last state, a finished one is only scored, a scored one only
read. Two variants run side by side on one thread each (`--parallel`): more runs an hour than one after the other.
"""

import argparse
import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "bundle" / "configs"


def bundle_run(configs: Sequence[str], overrides: Mapping[str, Any], threads: int, log: Path) -> None:
    """Run configs of the bundle in a process of its own, with its output in `log`.

    Raises:
        RuntimeError: if it fails.
    """
    files = [str(CONFIGS / name) for name in configs]
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(files), "--bundle_root"]
    command += [str(ROOT / "bundle")]
    for name, value in overrides.items():
        command += [f"--{name}", value if isinstance(value, str) else json.dumps(value)]
    threading = {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
    with log.open("w", encoding="utf-8") as output:
        done = subprocess.run(command, env={**os.environ, **threading}, stdout=output, stderr=subprocess.STDOUT)
    if done.returncode:
        raise RuntimeError(f"{configs} failed: see {log}")


def train_and_score(
    folder: Path,
    overrides: Mapping[str, Any],
    stages: Sequence[Mapping[str, Any]],
    scoring: Mapping[str, Any],
    threads: int,
) -> None:
    """Train a variant stage by stage and score its last averaged weights, as far as that was not done before."""
    final: Path | None = None
    for number, stage in enumerate(stages, start=1):
        here = folder / f"stage{number}" if len(stages) > 1 else folder
        here.mkdir(parents=True, exist_ok=True)
        own = {"ckpt_dir": here, "output_dir": here, "val_interval": 10**6, "resume": True}
        own |= {} if final is None else {"start_from": final}
        final = here / "model_final.pt"
        if not final.exists():
            bundle_run(["train.json"], {**overrides, **stage, **_texts(own)}, threads, here / "train.log")
    scores = folder / "scores"
    if not (folder / "scored").exists():
        own = {"checkpoint": final, "output_dir": scores}
        configs = ["train.json", "evaluate.json"]
        bundle_run(configs, {**overrides, **stages[-1], **scoring, **_texts(own)}, threads, folder / "scores.log")
        (folder / "scored").touch()  # the tables are there after the first case


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items()}


def rows(out: Path, variants: Sequence[str], seeds: Sequence[int]) -> Iterator[dict[str, str]]:
    """Scores of all cases of all runs, each with its variant and seed."""
    for variant in variants:
        for seed in seeds:
            with (out / run_name(variant, seed) / "scores" / "cases.csv").open(encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file):
                    yield {"variant": variant, "seed": str(seed), **row}


def run_name(variant: str, seed: int) -> str:
    """Folder of a run."""
    return re.sub(r"\W+", "_", variant) + f"-s{seed}"


def compare(plan: Mapping[str, Any], out: Path, seeds: Sequence[int], parallel: int, **shared: Any) -> None:
    """Run all variants of a plan with all seeds and write `cases.csv` into `out`."""
    stages, scoring = plan.get("stages", [{}]), plan.get("scoring", {})
    threads = max(1, (os.cpu_count() or 1) // parallel)
    with ThreadPoolExecutor(parallel) as pool:
        runs = [
            pool.submit(
                train_and_score,
                out / run_name(variant, seed),
                {**plan["shared"], **own, **shared, "seed": seed},
                stages,
                scoring,
                threads,
            )
            for seed in seeds
            for variant, own in plan["variants"].items()
        ]
        for run in runs:
            run.result()
    table = list(rows(out, list(plan["variants"]), seeds))
    with (out / "cases.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)


def main() -> None:
    """Read the command line and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plan", type=Path, help="JSON file of overrides: shared ones and each variant's own")
    parser.add_argument("out", type=Path, help="folder of the runs")
    parser.add_argument("--dataset_dir", required=True, help="folder of the data, as for train.json")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--parallel", type=int, default=2, help="runs at a time")
    given = parser.parse_args()
    plan = json.loads(given.plan.read_text(encoding="utf-8"))
    compare(plan, given.out, given.seeds, given.parallel, dataset_dir=given.dataset_dir)


if __name__ == "__main__":
    main()
