"""The verdict on a case: findings that say whether its mask can be trusted.

A verdict is a pure function of measured numbers and changes neither the mask nor the exit code.
docs/decisions/0018-verdict-thresholds.md explains the thresholds and lists the numbers of real scans.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from custom_networks.report.verdict_numbers import VerdictNumbers

CUT = (
    "The liver reaches the border of the image and may be cut off: volumes cover only the visible part. Segment a scan "
    "of the whole liver if you need its volume."
)
BOX_TOO_SMALL = (
    "The mask reaches the border of the box that the scout found: the liver may be cut off there, or the mask may "
    "extend into a neighbouring organ. Check the mask there, or segment the whole volume with --scout=false (in Python "
    "scout=False)."
)
OK, LOOK, STOP = LEVELS = ("ok", "look", "stop")
DIGITS = 3

# Thresholds for the scan.
LEAST_TISSUE, LEAST_IN_RANGE, LEAST_FAT, MOST_OF_ONE_VALUE = 0.03, 0.8, 0.02, 0.3
MOST_AT_TOP, HIGHEST_CLIPPED, AIR_HU = 1e-4, 1500.0, -900.0
THICKEST_MM = 5.5  # the thickest slices of the training volumes are 5 mm apart
MOST_METAL_ML, MOST_DENSE_ML = 0.5, 0.5
MOST_CUT = 0.1
# Thresholds for the mask.
SMALLEST_ML, LARGEST_ML = 200.0, 6000.0
STOP_RATIO, LOOK_RATIO = (0.2, 3.5), (0.45, 2.0)
MOST_ON_THE_LEFT = 0.75
MOST_IN_PARTS = 0.05
LIVER_HU = (50.0, 180.0)  # the training volumes but one (25 HU) have medians of 65 to 165 HU
UNENHANCED_AORTA, ARTERIAL_AORTA, ARTERIAL_RATIO = 80.0, 200.0, 1.7
MOST_UNSURE, MOST_UNSURE_TUMOR = 0.2, 0.05
MOST_SCOUT_GAP_MM = 110.0
REVIEW_BELOW = 0.7
MOST_NAMED = 8


@dataclass(frozen=True)
class Finding:
    """One finding of a verdict.

    Attributes:
        code: fixed identifier of the kind of finding.
        level: ok, look or stop.
        text: a sentence for the user.
    """

    code: str
    level: str
    text: str


@dataclass(frozen=True)
class Verdict:
    """The findings on a case, most severe first, and the numbers that they are based on."""

    findings: tuple[Finding, ...]
    numbers: VerdictNumbers

    @property
    def level(self) -> str:
        """Level of the most severe finding, "ok" without findings."""
        return max((finding.level for finding in self.findings), key=LEVELS.index, default=OK)

    def remarks(self) -> tuple[str, ...]:
        """Return the verdict as sentences: its level, then the text of each finding."""
        return (f"Verdict: {self.level}.", *(finding.text for finding in self.findings))

    def as_json(self) -> dict[str, Any]:
        """Return the `verdict` block of report.json."""
        numbers = {name: _rounded(value) for name, value in asdict(self.numbers).items()}
        return {"level": self.level, "findings": [asdict(finding) for finding in self.findings], "numbers": numbers}


def verdict(numbers: VerdictNumbers) -> Verdict:
    """Apply all rules to the numbers of a case, and return the verdict."""
    found = [finding for rule in RULES for finding in rule(numbers)]
    return Verdict(tuple(sorted(found, key=lambda finding: -LEVELS.index(finding.level))), numbers)


def _hounsfield(n: VerdictNumbers) -> Iterator[Finding]:
    """Yield a finding if intensities are probably not HU.

    Examples are grey values from 0 to 255 with dark padding, and HU with an offset. Files without any voxel as dark as
    fat have been refused earlier.
    """
    signs = [
        (n.tissue_share < LEAST_TISSUE, f"only {n.tissue_share:.1%} of the voxels are denser than -300 HU"),
        (n.in_range_share < LEAST_IN_RANGE, f"only {n.in_range_share:.0%} of the body lies between -200 and 300 HU"),
        (n.fat_share < LEAST_FAT, f"only {n.fat_share:.1%} of the body is as dark as fat"),
        (n.one_value_share > MOST_OF_ONE_VALUE, f"{n.one_value_share:.0%} of the body has the same value"),
    ]
    if odd := next((text for holds, text in signs if holds), ""):
        text = f"The intensities may not be Hounsfield units ({odd}): export the original CT and segment that."
        yield Finding("not_hu", LOOK, text)


def _clipped(n: VerdictNumbers) -> Iterator[Finding]:
    if n.lowest_hu > AIR_HU or (n.highest_hu < HIGHEST_CLIPPED and n.at_highest_share > MOST_AT_TOP):
        text = f"The intensities are clipped to {n.lowest_hu:.0f} to {n.highest_hu:.0f} HU, which may hide metal, "
        yield Finding("clipped", LOOK, text + "lipiodol or air: segment the original CT if you have it.")


def _slice_distance(n: VerdictNumbers) -> Iterator[Finding]:
    if n.slice_mm > THICKEST_MM:
        text = (
            f"The slices are {n.slice_mm:.1f} mm apart, but the network was trained on at most 5 mm: look for missed "
        )
        yield Finding("slice_distance", LOOK, text + "small lesions, or segment a series with thinner slices.")


def _dense_material(n: VerdictNumbers) -> Iterator[Finding]:
    if n.metal_ml > MOST_METAL_ML:
        text = f"There is metal at the level of the liver ({n.metal_ml:.1f} ml above 2500 HU): check the mask there."
        yield Finding("dense_material", LOOK, text)
    if n.dense_ml > MOST_DENSE_ML:
        text = f"The liver contains {n.dense_ml:.1f} ml above 300 HU (lipiodol, metal or calcium): check lesions there."
        yield Finding("dense_material", LOOK, text)


def _field_of_view(n: VerdictNumbers) -> Iterator[Finding]:
    if n.cut_share > MOST_CUT:
        text = f"The field of view cuts off the body along {n.cut_share:.0%} of its outline at the level of the liver: "
        yield Finding("fov_cut", LOOK, text + "check that the liver is complete.")


def _no_liver(n: VerdictNumbers) -> Iterator[Finding]:
    if not n.liver_ml:
        yield Finding("no_liver", STOP, "No liver was found: check that the scan shows one.")


def _volume(n: VerdictNumbers) -> Iterator[Finding]:
    """Yield a finding if the liver volume is implausible in any adult, or for the size of the body if that is known.

    A liver that reaches the border of the image may be cut off, so it may be small.
    """
    if not n.liver_ml:
        return
    too_small = n.liver_ml < SMALLEST_ML and not n.touches_border
    level = STOP if too_small or n.liver_ml > LARGEST_ML else OK
    text = f"A liver of {n.liver_ml:.0f} ml is implausible in an adult"
    if n.expected_ml and level == OK:
        ratio = n.liver_ml / n.expected_ml
        level = _level_of_ratio(ratio, bool(n.touches_border))
        text = f"The liver measures {n.liver_ml:.0f} ml, but {n.expected_ml:.0f} ml are expected from {n.expected_by}"
    if level != OK:
        yield Finding("volume", level, f"{text}: check the mask.")


def _level_of_ratio(ratio: float, cut: bool) -> str:
    """Return the level of a finding for a ratio of measured to expected liver volume.

    If the image may cut off a part of the liver (`cut`), small ratios are accepted.
    """
    for level, (least, most) in ((STOP, STOP_RATIO), (LOOK, LOOK_RATIO)):
        if ratio > most or (ratio < least and not cut):
            return level
    return OK


def _region(n: VerdictNumbers) -> Iterator[Finding]:
    if n.left_share is not None and n.left_share > MOST_ON_THE_LEFT:
        text = f"{n.left_share:.0%} of the mask lies on the left side of the body: check whether the image is mirrored "
        yield Finding("region", STOP, text + "or the mask is not the liver.")


def _pieces(n: VerdictNumbers) -> Iterator[Finding]:
    if n.parts_ml > MOST_IN_PARTS * n.liver_ml:
        text = f"The mask is in pieces ({n.parts_ml:.0f} of {n.liver_ml:.0f} ml are separate from the largest piece): "
        yield Finding("pieces", LOOK, text + "check whether they are liver, and what lies between them.")


def _liver_cut(n: VerdictNumbers) -> Iterator[Finding]:
    if n.touches_border:
        yield Finding("liver_cut", LOOK, CUT)


def _liver_hu(n: VerdictNumbers) -> Iterator[Finding]:
    low, high = LIVER_HU
    if n.liver_hu is not None and not low <= n.liver_hu <= high:
        text = f"The liver's median is {n.liver_hu:.0f} HU, and the network was trained on livers of 65 to 165 HU and "
        yield Finding("liver_hu", LOOK, text + "one of 25 HU: check that the mask is the liver, and check the lesions.")


def _phase(n: VerdictNumbers) -> Iterator[Finding]:
    """Yield a finding if the contrast phase is known and is not portal venous, for which the network was trained."""
    phase = contrast_phase(n.liver_hu, n.aorta_hu)
    if phase in PHASE_LOOKS:
        looks, check = PHASE_LOOKS[phase]
        text = (
            f"The scan looks {looks} (liver {n.liver_hu:.0f}, aorta {n.aorta_hu:.0f} HU), but the network was trained "
        )
        check = f"segment a portal venous scan if there is one, otherwise {check}"
        yield Finding("phase", LOOK, f"{text}on portal venous scans: {check}.")


def contrast_phase(liver_hu: float | None, aorta_hu: float | None) -> str:
    """Classify the contrast phase by the median HU of liver and aorta; "" if one of them is unknown.

    The other results are "unenhanced", "arterial" (or early portal venous) and "portal".
    """
    if liver_hu is None or aorta_hu is None:
        return ""
    if aorta_hu < UNENHANCED_AORTA:
        return "unenhanced"
    return "arterial" if aorta_hu > max(ARTERIAL_AORTA, ARTERIAL_RATIO * liver_hu) else "portal"


def _unsure(n: VerdictNumbers) -> Iterator[Finding]:
    if n.unsure_share is not None and n.unsure_share > MOST_UNSURE:
        text = f"The network was unsure of the liver's outline (in as many voxels as {n.unsure_share:.0%} of the liver)"
        yield Finding("unsure", LOOK, f"{text}: check the outline.")
    elif n.unsure_tumor_share is not None and n.unsure_tumor_share > MOST_UNSURE_TUMOR:
        text = f"The network was unsure whether {n.unsure_tumor_share:.0%} of the liver is tumor"
        yield Finding("unsure", LOOK, f"{text}: check the lesions.")


def _scout(n: VerdictNumbers) -> Iterator[Finding]:
    if n.scout_reached:
        yield Finding("scout_disagrees", LOOK, BOX_TOO_SMALL)
    elif n.scout_gap_mm is not None and n.scout_gap_mm > MOST_SCOUT_GAP_MM:
        text = f"The mask ends {n.scout_gap_mm:.0f} mm inside the box in which the scout found the liver: check "
        yield Finding("scout_disagrees", LOOK, text + "whether a part is missing.")
    elif n.scout_saw_nothing and n.liver_ml:
        text = "The scout found no liver, but the network did: check that the mask is the liver."
        yield Finding("scout_disagrees", LOOK, text)


def _review(n: VerdictNumbers) -> Iterator[Finding]:
    """Yield a finding of level ok that names the lesions of low confidence, at most `MOST_NAMED` of them."""
    unsure = [str(number) for number, confidence in n.confidence.items() if confidence < REVIEW_BELOW]
    if unsure:
        named = ", ".join(unsure[:MOST_NAMED]) + ", ..." * (len(unsure) > MOST_NAMED)
        plural = "s" * (len(unsure) > 1)
        text = f"Review lesion{plural} {named}: confidence below {REVIEW_BELOW:g}."
        yield Finding("review_lesion", OK, text)


PHASE_LOOKS = {
    "unenhanced": ("unenhanced", "look for missed lesions"),
    "arterial": ("arterial or early portal venous", "look for missed lesions and for dark veins mistaken for lesions"),
}
Rule = Callable[[VerdictNumbers], Iterator[Finding]]
RULES: tuple[Rule, ...] = (_no_liver, _volume, _region, _hounsfield, _clipped, _slice_distance, _dense_material)
RULES += (_field_of_view, _liver_cut, _pieces, _liver_hu, _phase, _unsure, _scout, _review)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _rounded(item) for name, item in value.items()}
    return float(f"{value:.{DIGITS + 2}g}") if isinstance(value, float) else value
