"""Puts what a tuning chose into the bundle: inference.json and evaluate.json.

    python -m custom_networks.tuning.adopt docs/training/operating_point.json

That is the confidence and its threshold alone. The point's other numbers must be those of the bundle already; otherwise
nothing is written.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from custom_networks.bundle_files import bundle_root
from custom_networks.files import write_text

CONFIGS = bundle_root() / "configs"


def configured_numbers(config: dict[str, Any]) -> dict[str, float]:
    """The numbers of an operating point, by name, as the anatomy rules of inference or evaluation have them."""
    arguments = {name: value for rule in config["anatomy"] for name, value in rule.items()}
    arguments |= config["displayable_configs"]  # what the rules refer to
    return {name: value for name, value in arguments.items() if isinstance(value, (int, float))}


def adopted(config: dict[str, Any], tuned: dict[str, Any]) -> dict[str, Any]:
    """`config`, one of inference or evaluation, with the confidence as `tuned`: its coefficients and its threshold.

    Raises:
        SystemExit: with the other numbers of the tuned point that are not those of `config`.
    """
    point, numbers = tuned["chosen"]["operating_point"], configured_numbers(config)
    names = sorted((point.keys() | numbers.keys()) - {"min_lesion_confidence"})
    differing = [
        f"{name}: {point.get(name)} tuned, {numbers.get(name)} configured"
        for name in names
        if point.get(name) != numbers.get(name)
    ]
    if differing:
        raise SystemExit(
            f"The tuned point is not that of the bundle ({'; '.join(differing)}): write these numbers into "
            "inference.json and evaluate.json, or tune again."
        )
    least = point["min_lesion_confidence"]
    # Nobody has yet seen that the new coefficients hold for the weights that ship.
    unproven = {"confidence_valid_for": None} if "confidence_valid_for" in config else {}
    return (
        config
        | unproven
        | {
            "confidence_coefficients": tuned["confidence_coefficients"],
            "displayable_configs": config["displayable_configs"] | {"min_lesion_confidence": least},
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("operating_point", type=Path, help="operating_point.json of a tuning")
    tuned = json.loads(parser.parse_args().operating_point.read_text(encoding="utf-8"))
    paths = [CONFIGS / f"{name}.json" for name in ("inference", "evaluate")]
    configs = [adopted(json.loads(path.read_text(encoding="utf-8")), tuned) for path in paths]  # before any is written
    for path, config in zip(paths, configs):
        write_text(path, json.dumps(config, indent=4, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
