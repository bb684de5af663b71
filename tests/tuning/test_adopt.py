"""A tuned point is adopted only if the bundle already has its other numbers."""

import copy
import json
from typing import Any

import pytest

from custom_networks.tuning import adopt

CONFIG: dict[str, Any] = json.loads((adopt.CONFIGS / "inference.json").read_text(encoding="utf-8"))


def tuned(**changed: float) -> dict[str, Any]:
    """A tuning result with the configured point, except for the given numbers."""
    coefficients = {"intercept": -1.0, "mean_probability": 2.0}
    point = adopt.configured_numbers(CONFIG) | changed
    return {"chosen": {"operating_point": point}, "confidence_coefficients": coefficients}


def test_only_the_confidence_and_its_threshold_are_adopted() -> None:
    before = copy.deepcopy(CONFIG)
    after = adopt.adopted(CONFIG, tuned(min_lesion_confidence=0.25))
    assert CONFIG == before
    assert after["confidence_coefficients"] == {"intercept": -1.0, "mean_probability": 2.0}
    assert after["displayable_configs"] == before["displayable_configs"] | {"min_lesion_confidence": 0.25}
    assert after == before | {name: after[name] for name in ("confidence_coefficients", "displayable_configs")}


def test_a_point_that_differs_from_the_configuration_is_refused_with_the_names() -> None:
    numbers = adopt.configured_numbers(CONFIG)
    assert {"organ_threshold", "tumor_threshold", "gap_mm", "max_hole_mm2", "capsule_mm"} < set(numbers)
    point = tuned(gap_mm=numbers["gap_mm"] + 1, tumor_threshold=0.75)
    del point["chosen"]["operating_point"]["capsule_mm"]
    with pytest.raises(SystemExit) as refused:
        adopt.adopted(CONFIG, point)
    said = str(refused.value)
    assert f"gap_mm: {numbers['gap_mm'] + 1} tuned, {numbers['gap_mm']} configured" in said
    assert "tumor_threshold: 0.75 tuned" in said and "capsule_mm: None tuned" in said
    assert "organ_threshold" not in said and "\n" not in said
