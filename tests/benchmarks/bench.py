"""Compare time and memory of this pipeline with its alternatives and peers on this machine, in one table.

    python tests/benchmarks/bench.py                  measure everything (about 25 minutes), then write page and plots
    python tests/benchmarks/bench.py --quick          try the script on a tiny scan (under a minute)
    python tests/benchmarks/bench.py --rows full-torch-float32,dynunet-torch-float32
    python tests/benchmarks/bench.py --page           only rewrite docs/performance.md and its plots

A whole measurement is kept as docs/performance/<processor>.json; one of some rows, or a trial, in out/bench/. The page
docs/performance.md says what the rows mean. Measure on a quiet machine.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from custom_networks.files import write_text  # noqa: E402
from tests.benchmarks.cost.contestants import Setting  # noqa: E402
from tests.benchmarks.cost.machine import slug  # noqa: E402
from tests.benchmarks.cost.measuring import measure, measure_context, measure_growth  # noqa: E402
from tests.benchmarks.cost.page import machine_section, update_page  # noqa: E402
from tests.benchmarks.cost.rows import ROWS  # noqa: E402
from tests.benchmarks.cost.volumes import MAIN, TINY  # noqa: E402

LENGTHS, TINY_LENGTHS = (50, 100, 200, 400, 600, 800, 1000), (12, 16)
EXTRA = ("growth", "context")


def chosen_rows(text: str | None, quick: bool, parser: argparse.ArgumentParser) -> list[str]:
    """The ids named by `--rows`; by default all, or for a trial those that need little conversion."""
    known = [*ROWS, *EXTRA]
    tried = [
        name for name, row in ROWS.items() if row.group == "ours" or row.runtime == "torch" or row.name == "spleen"
    ]
    rows = [name for name in text.split(",") if name] if text else [*tried, *EXTRA] if quick else known
    if unknown := [name for name in rows if name not in known]:
        parser.error(f"--rows has {', '.join(unknown)}; it takes {', '.join(known)}")
    return rows


def results(rows: list[str], folder: Path, quick: bool, repeats: int) -> dict[str, Any]:
    """Measure the requested rows."""
    if quick:
        setting = Setting(folder, TINY, budget=0.0, lengths=TINY_LENGTHS, side=64)
    else:
        setting = Setting(folder, MAIN, budget=4.0, lengths=(600, 1000))
    found = measure(rows, setting, repeats, apart=not quick)
    if "context" in rows:
        found["context"] = measure_context(32 if quick else 288, repeats=1 if quick else 3)
    if "growth" in rows:
        found["growth"] = measure_growth(setting, TINY_LENGTHS if quick else LENGTHS, apart=not quick)
    return found


def main() -> None:
    """Measure, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny scan, one repeat, one process")
    parser.add_argument("--rows", help="ids with commas between them, growth and context among them; default all")
    parser.add_argument("--repeats", type=int, default=5, help="timed rounds after the warm-up, default 5")
    parser.add_argument("--folder", type=Path, default=ROOT / "out" / "bench", help="for scans; default out/bench")
    parser.add_argument("--page", action="store_true", help="only write docs/performance.md and its plots anew")
    options = parser.parse_args()
    if options.repeats < 1:
        parser.error(f"--repeats must be at least 1, got {options.repeats}")
    if not options.page:
        rows = chosen_rows(options.rows, options.quick, parser)
        found = results(rows, options.folder, options.quick, 1 if options.quick else options.repeats)
        whole = not options.quick and options.rows is None
        kept = ROOT / "docs" / "performance" if whole else options.folder
        path = kept / f"{slug(found['machine'])}.json"
        write_text(path, json.dumps(found, indent=1) + "\n")
        print(f"{machine_section(found)}\n\n{path}")
    if options.page or whole:
        update_page(ROOT / "docs")


if __name__ == "__main__":
    main()
