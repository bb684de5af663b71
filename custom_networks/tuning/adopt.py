"""Copy the results of tuning to the bundle's inference.json and evaluate.json.

    python -m custom_networks.tuning.adopt docs/training/operating_point.json

Only the confidence model and its threshold are copied. All other numbers of the operating point must already be the
same as in the bundle; otherwise nothing is written.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from custom_networks.bundle_files import bundle_root
from custom_networks.files import write_text

CONFIGS = bundle_root() / "configs"


def configured_numbers(config: dict[str, Any]) -> dict[str, float]:
    """The configured operating point: the numbers of the anatomy rules in inference.json or evaluate.json, by name."""
    arguments = {name: value for rule in config["anatomy"] for name, value in rule.items()}
    arguments |= config["displayable_configs"]  # the rules refer to these
    return {name: value for name, value in arguments.items() if isinstance(value, (int, float))}


def adopted(config: dict[str, Any], tuned: dict[str, Any]) -> dict[str, Any]:
    """A copy of a config, inference or evaluation, with the tuned confidence coefficients and threshold.

    `confidence_valid_for`, if the config has it, becomes None.

    Raises:
        SystemExit: another number of the tuned point differs from `config`; the message lists the differences.
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
            f"The tuned point differs from the bundle ({'; '.join(differing)}): write these numbers into "
            "inference.json and evaluate.json, or tune again."
        )
    least = point["min_lesion_confidence"]
    # The new coefficients have not been validated for the released weights yet.
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
    """Read the command line and write both configs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("operating_point", type=Path, help="operating_point.json, written by `tune`")
    tuned = json.loads(parser.parse_args().operating_point.read_text(encoding="utf-8"))
    paths = [CONFIGS / f"{name}.json" for name in ("inference", "evaluate")]
    configs = [adopted(json.loads(path.read_text(encoding="utf-8")), tuned) for path in paths]  # before any is written
    for path, config in zip(paths, configs):
        write_text(path, json.dumps(config, indent=4, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
