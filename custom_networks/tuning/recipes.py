"""Compare training recipes: train and score each variant with each seed on a fixed fold, and write a row per case.

    python -m custom_networks.tuning.recipes docs/training/claim.json out/claim --seeds 0 1 --dataset_dir DATA

The first file contains overrides of train.json: shared ones, and those of each variant::

    {"shared": {"fold": 1, "folds": 3, "epochs": 18},
     "variants": {"stack of 9": {}, "stack of 1": {"network_def#depth_kernels": [1, 1, 1, 1, 1]}}}

It may also have `"stages"`, a list of further overrides for consecutive training runs, each of which starts from the
weights of the one before (coarse to fine), and `"scoring"`, overrides of the evaluation.

Interrupted runs continue: training resumes from its last state, a trained variant is only scored, and a scored one is
only read. The overrides of a run are kept as `overrides.json` beside the weights and the scores; if the plan has
changed since, it is refused. By default, two variants run in parallel (`--parallel`), which completes more runs per
hour.
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
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from custom_networks.bundle_files import bundle_root
from custom_networks.files import write_csv, write_text

ROOT = Path(__file__).parents[2]
BUNDLE = bundle_root()
CONFIGS = BUNDLE / "configs"
# The whole fold is scored after training, so validating on it at the end would only double the time.
WITHOUT_VALIDATION = "$[h for h in @train#handlers if not isinstance(h, monai.handlers.ValidationHandler)]"


def bundle_run(configs: Sequence[str], overrides: Mapping[str, Any], threads: int, log: Path) -> None:
    """Run configs of the bundle in a separate process, with its output in `log`.

    Raises:
        RuntimeError: the run failed.
    """
    files = [str(CONFIGS / name) for name in configs]
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(files), "--bundle_root"]
    command += [str(BUNDLE)]
    for name, value in overrides.items():
        command += [f"--{name}", value if isinstance(value, str) else json.dumps(value)]
    threading = {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
    with log.open("w", encoding="utf-8") as output:
        done = subprocess.run(command, env={**os.environ, **threading}, stdout=output, stderr=subprocess.STDOUT)
    if done.returncode:
        raise RuntimeError(f"{' with '.join(configs)} failed: see {log}")


@dataclass(frozen=True)
class Work:
    """A training or scoring run: its folder, the plan's overrides, and a file that exists once it is done."""

    folder: Path
    overrides: Mapping[str, Any]
    done: Path

    def check(self) -> None:
        """Refuse an earlier run whose overrides differ from the plan.

        Raises:
            SystemExit: overrides differ; the message lists them.
        """
        kept = self.folder / "overrides.json"
        if not kept.exists():
            if self.done.exists():
                text = f"{self.folder} has no overrides.json, so it is unknown whether it was run as planned"
                print(text, file=sys.stderr)
            return
        before = json.loads(kept.read_text(encoding="utf-8"))
        names = sorted(before.keys() | self.overrides.keys())
        then_and_now = {name: (before.get(name), self.overrides.get(name)) for name in names}
        differing = [f"{name}: {then} then, {now} now" for name, (then, now) in then_and_now.items() if then != now]
        if differing:
            raise SystemExit(
                f"{kept} differs from the plan ({'; '.join(differing)}): choose another folder for the runs, or delete "
                "the folder of this run."
            )

    def keep(self) -> None:
        """Save the overrides of the run that is about to start."""
        write_text(self.folder / "overrides.json", json.dumps(self.overrides, indent=4) + "\n")


def planned(folder: Path, overrides: Mapping[str, Any], plan: Mapping[str, Any]) -> list[Work]:
    """The training runs of a variant with one seed, stage by stage, followed by its scoring run."""
    stages: Sequence[Mapping[str, Any]] = plan.get("stages", [{}])
    folders = [folder / f"stage{n}" for n in range(1, len(stages) + 1)] if len(stages) > 1 else [folder]
    trainings = [Work(f, {**overrides, **stage}, f / "model_final.pt") for f, stage in zip(folders, stages)]
    scoring = {**trainings[-1].overrides, **plan.get("scoring", {}), "stages": stages}
    return [*trainings, Work(folder / "scores", scoring, folder / "scored")]


def train_and_score(work: Sequence[Work], dataset_dir: str, threads: int) -> None:
    """Train a variant stage by stage and score its last averaged weights; finished parts are skipped."""
    *trainings, scoring = work
    start: dict[str, Path] = {}
    for training in trainings:
        here = training.folder
        if not training.done.exists():
            training.keep()
            own = {"dataset_dir": dataset_dir, "ckpt_dir": here, "output_dir": here, "resume": True, **start}
            own |= {"val_interval": 10**6, "train#trainer#train_handlers": WITHOUT_VALIDATION}
            bundle_run(["train.json"], {**training.overrides, **_as_texts(own)}, threads, here / "train.log")
        start = {"start_from": training.done}
    if not scoring.done.exists():
        scoring.keep()
        own = {"dataset_dir": dataset_dir, "checkpoint": trainings[-1].done, "output_dir": scoring.folder}
        asked = {name: value for name, value in scoring.overrides.items() if name != "stages"}
        log = scoring.folder.parent / "scores.log"
        bundle_run(["train.json", "evaluate.json"], {**asked, **_as_texts(own)}, threads, log)
        scoring.done.touch()  # a separate file, because the tables already exist after the first case


def _as_texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items()}


def rows(out: Path, variants: Sequence[str], seeds: Sequence[int]) -> Iterator[dict[str, str]]:
    """Yield the scores of every case in every run, with the run's variant and seed."""
    for variant in variants:
        for seed in seeds:
            with (out / run_name(variant, seed) / "scores" / "cases.csv").open(encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file):
                    yield {"variant": variant, "seed": str(seed), **row}


def run_name(variant: str, seed: int) -> str:
    """The name of a run's folder."""
    return re.sub(r"\W+", "_", variant) + f"-s{seed}"


def compare(plan: Mapping[str, Any], out: Path, seeds: Sequence[int], parallel: int, dataset_dir: str) -> None:
    """Run all variants of a plan with all seeds and write `cases.csv` to `out`.

    Raises:
        SystemExit: several seeds would keep their probabilities in one folder, or a run in `out` has other overrides.
    """
    if len(seeds) > 1 and plan.get("scoring", {}).get("keep_probabilities"):
        raise SystemExit("The plan keeps probabilities in one folder: use a single seed, such as --seeds 0")
    runs = [
        planned(out / run_name(variant, seed), {**plan["shared"], **own, "seed": seed}, plan)
        for seed in seeds
        for variant, own in plan["variants"].items()
    ]
    for work in chain.from_iterable(runs):
        work.check()
    threads = max(1, (os.cpu_count() or 1) // parallel)
    with ThreadPoolExecutor(parallel) as pool:
        for running in [pool.submit(train_and_score, run, dataset_dir, threads) for run in runs]:
            running.result()
    table = list(rows(out, list(plan["variants"]), seeds))
    columns = list(table[0])
    write_csv(out / "cases.csv", columns, ([_cell(name, row[name]) for name in columns] for row in table))


def _cell(column: str, text: str) -> str | float:
    """The text of a table's cell, converted to a number if it is one."""
    if column in ("variant", "case"):
        return text
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def main() -> None:
    """Read the command line and compare the variants."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plan", type=Path, help="JSON file with shared overrides and each variant's overrides")
    parser.add_argument("out", type=Path, help="folder for the runs")
    parser.add_argument("--dataset_dir", required=True, help="folder of the data, as for train.json")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1], help="random seeds; each variant runs with each"
    )
    parser.add_argument("--parallel", type=int, default=2, help="number of runs at a time")
    given = parser.parse_args()
    plan = json.loads(given.plan.read_text(encoding="utf-8"))
    compare(plan, given.out, given.seeds, given.parallel, given.dataset_dir)


if __name__ == "__main__":
    main()
