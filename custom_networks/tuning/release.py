"""Put new weights of the main network into the bundle, with their hash and their scores.

    python -m custom_networks.tuning.release out/train/models/model_final.pt --dataset_dir DATA --output_dir out/release

The weights are scored on the "dev" cases of the data list. Their SHA-256 and scores are written to metadata.json, and
`confidence_valid_for` in inference.json becomes null, because the confidence has not been validated for them.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from custom_networks.bundle_files import bundle_network, bundle_root, config_text
from custom_networks.files import file_digest, write_text
from custom_networks.training.checkpoints import save_whole
from custom_networks.training.data.cases import ALL, validation_cases


def release(weights: Path, root: Path, score: Callable[[Path], Mapping[str, float]]) -> dict[str, float]:
    """Score weights, copy them into the bundle in `root`, and update its metadata.json and inference.json.

    Args:
        weights: file of the weights, a state dict.
        root: the bundle's folder.
        score: takes the file of the weights and returns their scores by name, as `dev_scores` does.

    Returns:
        The scores that are now in metadata.json.

    Raises:
        BundleError: the weights are not for the bundle's network; nothing is written, as after an error of `score`.
    """
    network = bundle_network(root, weights)
    summary = score(weights)
    path, metadata = root / "models" / "model.pt", root / "configs" / "metadata.json"
    save_whole(network.state_dict(), path)
    released = json.loads(metadata.read_text(encoding="utf-8"))
    scores = {name: round(float(summary[name]), 3) for name in released["eval_metrics"]}
    _replace(metadata, {"weights": released["weights"] | {"sha256": file_digest(path)}, "eval_metrics": scores})
    _replace(root / "configs" / "inference.json", {"confidence_valid_for": None})
    return scores


def dev_scores(weights: Path, root: Path, dataset_dir: str, output_dir: Path) -> dict[str, float]:
    """Score weights on the "dev" cases with evaluate.json; return each column's mean and the pooled scores by name."""
    from monai.bundle import run

    configs = [str(root / "configs" / name) for name in ("train.json", "evaluate.json")]
    overrides = {"bundle_root": root, "dataset_dir": dataset_dir, "checkpoint": weights, "output_dir": output_dir}
    # Float32, so that the scores do not depend on what the processor has instructions for.
    run(
        config_file=configs,
        fold=ALL,
        precision="float32",
        **{name: config_text(str(value)) for name, value in overrides.items()},
    )
    summary = json.loads((output_dir / "summary.json").read_text(encoding="utf-8"))
    return {name: column["mean"] for name, column in summary["columns"].items()} | summary["pooled"]


def _replace(path: Path, values: Mapping[str, Any]) -> None:
    """Replace values in a JSON file, by key."""
    content = json.loads(path.read_text(encoding="utf-8")) | values
    write_text(path, json.dumps(content, indent=4, ensure_ascii=False) + "\n")


def main() -> None:
    """Read the command line, release the weights, and print their scores."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("weights", type=Path, help="file of the weights, a state dict such as model_final.pt")
    parser.add_argument("--dataset_dir", required=True, help="folder of the data, as for train.json")
    parser.add_argument("--output_dir", type=Path, required=True, help="folder for the tables of the evaluation")
    arguments = parser.parse_args()
    root = bundle_root()
    if not validation_cases(str(Path(arguments.dataset_dir) / "dataset.json"), arguments.dataset_dir, ALL):
        raise SystemExit(f'The data list in {arguments.dataset_dir} has no "dev" to score the weights on: add one.')
    scores = release(
        arguments.weights, root, lambda path: dev_scores(path, root, arguments.dataset_dir, arguments.output_dir)
    )
    print(json.dumps(scores))


if __name__ == "__main__":
    main()
