"""Puts what tune.json chose into the bundle: inference.json, evaluate.json and metadata.json.

python tests/benchmarks/adopt_tuning.py docs/training/operating_point.json
"""

import argparse
import json
from pathlib import Path
from typing import Any

CONFIGS = Path(__file__).parents[2] / "bundle" / "configs"


def adopted(config: dict[str, Any], tuned: dict[str, Any]) -> dict[str, Any]:
    """`config`, one of inference or evaluation, with the confidence as `tuned`: its coefficients and its threshold."""
    least = tuned["chosen"]["operating_point"]["min_lesion_confidence"]
    return config | {
        "confidence_coefficients": tuned["confidence_coefficients"],
        "displayable_configs": config["displayable_configs"] | {"min_lesion_confidence": least},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("operating_point", type=Path, help="operating_point.json of tune.json")
    tuned = json.loads(parser.parse_args().operating_point.read_text(encoding="utf-8"))
    for name in ("inference", "evaluate", "metadata"):
        path = CONFIGS / f"{name}.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        if name == "metadata":
            config["operating_points"] = tuned["operating_points"]
        else:
            config = adopted(config, tuned)
        path.write_text(json.dumps(config, indent=4, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
