"""The table of verdicts in decision 0018, from the reports that `liverseg segment` wrote into a folder.

liverseg segment CT... --output OUT
python tests/benchmarks/verdict_table.py OUT docs/decisions/0018-verdict-thresholds.md

EXEMPT names the findings that come from how this project's volumes were stored, not from the patient or the mask; the
table puts them in brackets, and "of the patient" is the level without them. CAUSES says what a reader saw in the
pictures of the scans that are above ok all the same.
"""

import json
import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from custom_networks.report.verdict import LEVELS, OK, contrast_phase

BEGIN, END = "<!-- table -->\n", "<!-- end of table -->\n"
TITLES = "case, level, of the patient, findings, what a reader sees, ml, ml / expected, liver HU, aorta HU, phase"
TITLES += ", cut %, left %, unsure %, unsure tumor %, gap mm"

STORED = "_ct"  # how the names of the labelled volumes end
LABELLED = re.compile(r"(ircad|lits)\d+" + STORED)
ENDS_IN_THE_LIVER = ("lits000_ct", "lits001_ct", "lits006_ct", "lits117_ct", "lits127_ct", "lits128_ct")
EXEMPT: dict[str, Callable[[str], bool]] = {
    # They are stored as -300 to 400 HU, some of them from narrower windows.
    "clipped": lambda case: case.endswith(STORED),
    # One was cropped to a box around the liver, the other in-plane to the body.
    "fov_cut": lambda case: case in ("lits117_ct", "lits012_ct"),
    # Only the slices of the liver, 94 % of it, or a box around it were kept.
    "liver_cut": lambda case: case in ENDS_IN_THE_LIVER,
}
PART = "a part of a series: the liver is cut"
CAUSES = {
    "ircad16_ct": "a very fatty liver",
    "ircad17_ct": "a calcified rim of a lesion",
    "lits008_ct": "the mask runs into the heart, up to the border of the box",
    "lits009_ct": "the mask runs into the heart, up to the border of the box; 0.5 ml of the left lobe lie outside",
    "lits012_ct": "the last slice cuts the dome of the liver",
    "lits023_ct": "false alarm: the scout's box is as wide as the body, the mask is right (Dice .97)",
    "acrin_flt_001_ct": "no contrast, as its index says",
    "lidc_0001_ct": "late arterial, as its index says",
    "tcga_bc_a10x_ct": "after right hepatectomy, 8 mm slices; the mask misses liver and takes in heart; renal "
    "cortex brighter than medulla",
    "liver_ge_lidc0001_for_per_slice": f"{PART}; late arterial",
    "liver_ge_petct_two_studies_jpegls": f"{PART}; no contrast",
    "liver_siemens_2mm_j2k_empty_uids": PART,
    "liver_siemens_kits00072_plus_foreign_topogram": f"{PART}; portal vein bright, hepatic veins dark, one of them "
    "taken for a tumor",
}


def row(report: dict[str, Any]) -> list[str]:
    """The cells of a case's row."""
    verdict, case = report["verdict"], report["case"]
    n, findings = verdict["numbers"], verdict["findings"]
    codes = dict.fromkeys(f"({code})" if exempt(case, code) else code for code in (f["code"] for f in findings))
    ratio = n["liver_ml"] / n["expected_ml"] if n["expected_ml"] and n["liver_ml"] else None
    cells = [case, verdict["level"], own_level(report), ", ".join(codes) or "-", CAUSES.get(case, "")]
    cells += [f"{n['liver_ml']:.0f}", shown(ratio, 1, 2), shown(n["liver_hu"]), shown(n["aorta_hu"])]
    cells += [contrast_phase(n["liver_hu"], n["aorta_hu"]) or "-"]
    cells += [shown(n[name], 100) for name in ("cut_share", "left_share", "unsure_share")]
    return cells + [shown(n["unsure_tumor_share"], 100, 1), shown(n["scout_gap_mm"])]


def exempt(case: str, code: str) -> bool:
    """Whether a finding comes from how a volume was stored."""
    return code in EXEMPT and EXEMPT[code](case)


def own_level(report: dict[str, Any]) -> str:
    """The level without the exempt findings."""
    levels = [f["level"] for f in report["verdict"]["findings"] if not exempt(report["case"], f["code"])]
    return max(levels, key=LEVELS.index, default=OK)


def shown(value: float | None, factor: float = 1, digits: int = 0) -> str:
    """A number for the table; "-" if it was not measured."""
    return "-" if value is None else f"{value * factor:.{digits}f}"


def counts(reports: list[dict[str, Any]]) -> list[str]:
    """A row for each code: numbers of labelled and of other cases with it, without exempt ones, and of exempt ones."""
    found, spared = Counter[tuple[str, bool]](), Counter[str]()
    for report in reports:
        for code in {finding["code"] for finding in report["verdict"]["findings"]}:
            if exempt(report["case"], code):
                spared[code] += 1
            else:
                found[code, bool(LABELLED.fullmatch(report["case"]))] += 1
    codes = sorted({code for code, _ in found} | set(spared))
    return [f"| `{code}` | {found[code, True]} | {found[code, False]} | {spared[code]} |" for code in codes]


def main(folder: Path, page: Path) -> None:
    """Write the table of a folder's reports, and how often each code was found, between the marks on the page."""
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("[!.]*/report.json"))]
    reports.sort(key=lambda report: (not LABELLED.fullmatch(report["case"]), report["case"]))
    titles = TITLES.split(", ")
    table = ["| code | labelled scans | others | exempt |", "|---" * 4 + "|", *counts(reports), ""]
    table += [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    table += [f"| {' | '.join(row(report))} |" for report in reports]
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    page.write_text(before + BEGIN + "\n".join(table) + "\n" + END + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
