"""Site-specific rules for selecting the series of a study to segment.

A rules file is a JSON list of objects. A rule may have `description` and `kernel`, case-insensitive regular expressions
that are searched for in SeriesDescription and ConvolutionKernel, and `thickness_mm`, the minimum and maximum
SliceThickness. The first rule that matches any image of a study is applied: the series is chosen as usual, but among
the matching images only.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite, nan
from pathlib import Path
from typing import Any

from custom_networks.errors import InputError, UsageError, one_line
from custom_networks.io.dicom.header import SliceHeader
from custom_networks.io.dicom.listing import FileScan

LONGEST_TEXT = 1024  # characters; SeriesDescription has at most 64
KEYS = {"description", "kernel", "thickness_mm"}


@dataclass(frozen=True)
class Rule:
    """Conditions on an image; a pattern that is None matches any image.

    Attributes:
        description: pattern to search for in SeriesDescription.
        kernel: pattern to search for in ConvolutionKernel.
        thickness_mm: minimum and maximum SliceThickness in mm; by default also matches images without one.
    """

    description: re.Pattern[str] | None = None
    kernel: re.Pattern[str] | None = None
    thickness_mm: tuple[float, float] = (-inf, inf)

    def matches(self, header: SliceHeader) -> bool:
        """Whether an image meets all conditions."""
        texts = ((self.description, header.description), (self.kernel, " ".join(header.kernel)))
        if not all(pattern is None or pattern.search(text[:LONGEST_TEXT]) for pattern, text in texts):
            return False
        least, most = self.thickness_mm
        return (least, most) == (-inf, inf) or least <= header.thickness <= most  # a missing thickness is NaN


def read_rules(path: str | None) -> tuple[Rule, ...]:
    """Return the rules in a file, () if `path` is None; raises UsageError if it cannot be read or is not valid."""
    if path is None:
        return ()
    file = Path(path).expanduser()
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(values, list) or not values:
            raise ValueError("expected a non-empty list of rules")
        return tuple(_rule(value) for value in values)
    except (OSError, ValueError, TypeError, re.error, RecursionError) as error:
        raise UsageError(
            f"The rules in {file} cannot be used ({one_line(error)}): correct the file or its path."
        ) from error


def apply_rules(scan: FileScan, rules: Sequence[Rule]) -> tuple[FileScan, tuple[str, ...]]:
    """Return the images selected by the first rule that matches any, and a note; without rules, all images and ().

    Raises:
        InputError: no image matches any rule.
    """
    for number, rule in enumerate(rules, start=1):
        if matching := tuple(header for header in scan.headers if rule.matches(header)):
            note = f"Rule {number} of the node selected {len(matching)} of {len(scan.headers)} images."
            return replace(scan, headers=matching), (note,)
    if rules:
        raise InputError(
            f"None of the study's {len(scan.headers)} images matches a rule of the node (--rules): add a rule for "
            "these images."
        )
    return scan, ()


def _rule(value: Mapping[str, Any]) -> Rule:
    if not isinstance(value, dict) or not value or set(value) - KEYS:
        raise ValueError(f"a rule must be an object with keys among {', '.join(sorted(KEYS))}, got {one_line(value)}")
    patterns = {key: re.compile(value[key], re.IGNORECASE) for key in ("description", "kernel") if key in value}
    thickness = _range(value["thickness_mm"]) if "thickness_mm" in value else (-inf, inf)
    return Rule(**patterns, thickness_mm=thickness)


def _range(given: Any) -> tuple[float, float]:
    """Return a minimum and a maximum thickness in mm; raises ValueError if `given` is not a pair of them."""
    try:
        least, most = map(float, given)
    except (TypeError, ValueError):
        least = most = nan
    if not (isfinite(least) and isfinite(most) and least <= most):
        raise ValueError(f"thickness_mm must be [minimum, maximum], got {one_line(given)}")
    return least, most
