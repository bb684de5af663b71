"""The table of verdicts in docs/verdict.md, from the reports that `liverseg segment` wrote into a folder.

liverseg segment CT... --output OUT
python tests/benchmarks/verdict_table.py OUT docs/verdict.md
"""

import json
import sys
from pathlib import Path
from typing import Any

from custom_networks.report.verdict import contrast_phase

BEGIN, END = "<!-- table -->\n", "<!-- end of table -->\n"
TITLES = "case, level, findings, ml, ml / expected, liver HU, aorta HU, phase, cut %, left %".split(", ")
TITLES += ["unsure %", "unsure tumor %", "gap mm"]


def row(report: dict[str, Any]) -> str:
    """One case as a row of the table."""
    verdict = report["verdict"]
    n, codes = verdict["numbers"], dict.fromkeys(finding["code"] for finding in verdict["findings"])
    ratio = n["liver_ml"] / n["expected_ml"] if n["expected_ml"] and n["liver_ml"] else None
    cells = [report["case"], verdict["level"], ", ".join(codes) or "-", f"{n['liver_ml']:.0f}", shown(ratio, 1, 2)]
    cells += [shown(n["liver_hu"]), shown(n["aorta_hu"]), contrast_phase(n["liver_hu"], n["aorta_hu"]) or "-"]
    cells += [shown(n[name], 100) for name in ("cut_share", "left_share", "unsure_share")]
    cells += [shown(n["unsure_tumor_share"], 100, 1), shown(n["scout_gap_mm"])]
    return f"| {' | '.join(cells)} |"


def shown(value: float | None, factor: float = 1, digits: int = 0) -> str:
    """A number for the table; "-" where it was not measured."""
    return "-" if value is None else f"{value * factor:.{digits}f}"


def main(folder: Path, page: Path) -> None:
    """Put the table of a folder's reports between the marks of the page."""
    paths = sorted(folder.glob("[!.]*/report.json"))
    rows = [row(json.loads(path.read_text(encoding="utf-8"))) for path in paths]
    table = [f"| {' | '.join(TITLES)} |", "|---" * len(TITLES) + "|", *rows]
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    page.write_text(before + BEGIN + "\n".join(table) + "\n" + END + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
