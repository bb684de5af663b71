"""Rules for which series of a study is segmented, for a department that knows better than the usual choice.

A file of rules is a JSON list. A rule may have `description` and `kernel`, regular expressions that are searched in
SeriesDescription and ConvolutionKernel without regard to case, and `thickness_mm`, the least and the most of
SliceThickness. The first rule that any image of a study meets decides; the usual choice is made among the images that
meet it.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite
from pathlib import Path
from typing import Any

from custom_networks.errors import InputError, UsageError, one_line
from custom_networks.io.dicom.header import SliceHeader
from custom_networks.io.dicom.listing import FileScan

LONGEST_TEXT = 1024  # characters; SeriesDescription has at most 64
KEYS = {"description", "kernel", "thickness_mm"}


@dataclass(frozen=True)
class Rule:
    """What an image must be to be taken; any image meets None.

    Attributes:
        description: searched in SeriesDescription.
        kernel: searched in ConvolutionKernel.
        thickness_mm: least and most SliceThickness, mm.
    """

    description: re.Pattern[str] | None = None
    kernel: re.Pattern[str] | None = None
    thickness_mm: tuple[float, float] = (-inf, inf)

    def is_met_by(self, header: SliceHeader) -> bool:
        """Whether a slice meets the rule."""
        texts = ((self.description, header.description), (self.kernel, " ".join(header.kernel)))
        if not all(pattern is None or pattern.search(text[:LONGEST_TEXT]) for pattern, text in texts):
            return False
        least, most = self.thickness_mm
        return (least, most) == (-inf, inf) or least <= header.thickness <= most  # no thickness, NaN, is in no range


def read_rules(path: str | None) -> tuple[Rule, ...]:
    """The rules in a file, none if no file is named; UsageError if they cannot be used."""
    if path is None:
        return ()
    file = Path(path).expanduser()
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(values, list) or not values:
            raise ValueError("a list of rules is needed")
        return tuple(_rule(value) for value in values)
    except (OSError, ValueError, TypeError, re.error, RecursionError) as error:
        raise UsageError(f"The rules in {file} cannot be used ({one_line(error)}): correct them.") from error


def by_rules(scan: FileScan, rules: Sequence[Rule]) -> tuple[FileScan, tuple[str, ...]]:
    """The images that meet the first rule that any image meets, and a note; without rules, all images.

    Raises:
        InputError: no image meets any rule.
    """
    for number, rule in enumerate(rules, start=1):
        if met := tuple(header for header in scan.headers if rule.is_met_by(header)):
            note = f"Rule {number} of the node took {len(met)} of {len(scan.headers)} images."
            return replace(scan, headers=met), (note,)
    if rules:
        raise InputError(
            f"None of its {len(scan.headers)} images meets a rule of the node (--rules): add a rule for such images."
        )
    return scan, ()


def _rule(value: Mapping[str, Any]) -> Rule:
    if not isinstance(value, dict) or not value or set(value) - KEYS:
        raise ValueError(f"a rule has some of {', '.join(sorted(KEYS))}, got {one_line(value)}")
    patterns = {key: re.compile(value[key], re.IGNORECASE) for key in ("description", "kernel") if key in value}
    least, most = map(float, value.get("thickness_mm", (-inf, inf)))
    if "thickness_mm" in value and not (isfinite(least) and isfinite(most) and least <= most):
        raise ValueError(f"thickness_mm is the least and the most, got {one_line(value['thickness_mm'])}")
    return Rule(**patterns, thickness_mm=(least, most))
