"""Write the tables and plots of docs/performance.md from docs/performance/*.json."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from custom_networks.files import write_text
from tests.benchmarks.cost.clock import STAGES
from tests.benchmarks.cost.plots import CONTEXT, GROWN, draw_plots, with_context, with_growth
from tests.benchmarks.cost.rows import FORMATS, GROWTH, ROWS, RUNTIMES, Row

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
NOTHING = "No machine was measured for this version yet: `make bench`."
REFERENCES = {"dynunet": "DynUNet : this", "spleen": "spleen UNet : this"}


def measurements(folder: Path) -> list[dict[str, Any]]:
    """The measurements of each machine, by file name."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def update_page(docs: Path) -> None:
    """Write the tables between the marks of performance.md, and the plots."""
    found = measurements(docs / "performance")
    page = docs / "performance.md"
    write_text(page, with_tables(page.read_text(encoding="utf-8"), found))
    draw_plots(found, docs / "images")


def with_tables(page: str, found: Sequence[Mapping[str, Any]]) -> str:
    """The text of the page with new tables between its marks."""
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    sections = "\n\n".join([*(machine_section(one) for one in found), *pictures(found)]) or NOTHING
    return f"{before}{BEGIN}\n\n{sections}\n\n{END}{after}"


def pictures(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """The plots for which there are data, with captions."""
    shown = {
        CONTEXT: (
            with_context,
            "Computation of a labelled voxel and eager time of a slice, by the slices that it sees",
        ),
        GROWN: (with_growth, "A whole run and its memory, by the slices of a scan"),
    }
    return [f"![{text}](images/{name})\n\n*{text}.*" for name, (chosen, text) in shown.items() if chosen(found)]


def machine_section(found: Mapping[str, Any]) -> str:
    """The page's section on one machine."""
    parts = [f"### {machine_name(found)}", machine_line(found), main_table(found)]
    stages = [[label(ROWS[i]), *stage_cells(r)] for i, r in found["rows"].items() if "stages" in r]
    if stages:
        parts += ["Where a whole run's time goes, s (medians):", table(["", *STAGES], stages)]
    parts += [table_or_none for table_or_none in (growth_table(found), longer_table(found)) if table_or_none]
    parts += [skipped_line(found)] if found["skipped"] else []
    return "\n\n".join(parts)


def machine_name(found: Mapping[str, Any]) -> str:
    """Model of the processor and its instruction sets."""
    machine = found["machine"]
    return (
        f"{machine['name']}, {machine['cores']} cores, {', '.join(machine['features']) or 'no known instruction set'}"
    )


def machine_line(found: Mapping[str, Any]) -> str:
    """Date and versions of the measurement, and the machine's peak rates."""
    rates = found["machine_rates"]
    gemm = [f"{n} {with_spread(rates[n])} GFLOP/s" for n in ("float32", "bfloat16") if n in rates]
    software = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return (
        f"{found['date']}, version {found['bundle']}, {software}, {found['threads']} threads, load "
        f"{found['load_before']} before the start. Product of two 2048 x 2048 matrices: {', '.join(gemm)}; copying "
        f"memory: {with_spread(rates['copy_gb_s'])} GB/s."
    )


def main_table(found: Mapping[str, Any]) -> str:
    """The rows beside each other, without those that are a multiple of another."""
    head = ["", "network part, s", "windows", "kFLOP a voxel", *REFERENCES.values()]
    head += ["whole run, s", "peak MB", "parameters"]
    rows = [row for row in ROWS.values() if row.id in found["rows"] and row.times == 1]
    return table(head, [main_cells(found, row) for row in rows])


def main_cells(found: Mapping[str, Any], row: Row) -> list[str]:
    """One line of the main table."""
    record = found["rows"][row.id]
    return [
        label(row),
        with_spread(record["network"]),
        windows_cell(record),
        figure(record["flop"] / record["labelled"] / 1e3),
        *(ratio_cell(found, row, peer) for peer in REFERENCES),
        with_spread(record["whole"]) if "whole" in record else "",
        "" if record["peak_mb"] is None else f"{record['peak_mb']:,}",
        f"{record['parameters']:,}",
    ]


def windows_cell(record: Mapping[str, Any]) -> str:
    """The number of windows of a scan and, for a sample, how many were measured in all rounds."""
    measured, rounds = record.get("windows_measured"), record["network"]["n"]
    sampled = measured is not None and measured < record["windows"] * rounds
    return f"{record['windows']}, from {measured}" if sampled else f"{record['windows']}"


def ratio_cell(found: Mapping[str, Any], row: Row, peer: str) -> str:
    """The peer's time relative to ours in the same number format: in eager PyTorch / in its faster runtime."""
    rivals = {runtime: f"{peer}-{runtime}-{FORMATS[row.precision]}" for runtime in RUNTIMES}
    seconds = {name: found["rows"][i]["network"]["median"] for name, i in rivals.items() if i in found["rows"]}
    own = found["rows"][row.id]["network"]["median"]
    eager = figure(seconds["torch"] / own) if "torch" in seconds else "-"
    return f"{eager} / {figure(min(seconds.values()) / own)}" if seconds else ""


def stage_cells(record: Mapping[str, Any]) -> list[str]:
    """Seconds of each stage."""
    return [f"{record['stages'][stage]:.2f}" for stage in STAGES]


def growth_table(found: Mapping[str, Any]) -> str:
    """Time and memory over the number of slices, with the fitted exponents."""
    rows = []
    for kind, growth in found.get("growth", {}).items():
        if points := growth.get("points"):
            slopes = [f"n^{growth[name]}" if name in growth else "" for name in ("slope_whole", "slope_peak_mb")]
            times = " / ".join(f"{point['whole']:.3g}" for point in points)
            memory = " / ".join(f"{point['peak_mb']:,}" for point in points if point["peak_mb"])
            rows.append([kind, " / ".join(str(p["slices"]) for p in points), times, slopes[0], memory, slopes[1]])
    return rows and table(["growth", "slices", "whole run, s", "fit", "peak MB", "fit"], rows) or ""


def longer_table(found: Mapping[str, Any]) -> str:
    """Time of the network for longer scans: ours measured, the peers' extrapolated from their windows."""
    records = [(ROWS[i], r["longer"]) for i, r in found["rows"].items() if r.get("longer") and ROWS[i].times == 1]
    if not records:
        return ""
    lengths = list(records[0][1])
    rows = [[f"this pipeline, {k}", *(measured_at(found, k, n) for n in lengths)] for k in GROWTH]
    rows += [[label(row), *(figure(own[n]) for n in lengths)] for row, own in records]
    rows = [row for row in rows if any(row[1:])]
    return table(["network part, s (peers: from their windows)", *(f"{n} slices" for n in lengths)], rows)


def measured_at(found: Mapping[str, Any], kind: str, slices: str) -> str:
    """Seconds of the network in the growth measurement of one kind."""
    points = found.get("growth", {}).get(kind, {}).get("points", [])
    return next((figure(point["network"]) for point in points if str(point["slices"]) == slices), "")


def skipped_line(found: Mapping[str, Any]) -> str:
    """The rows that were not run, by reason."""
    by_reason: dict[str, list[str]] = {}
    for row, reason in found["skipped"].items():
        if ROWS[row].times == 1:
            by_reason.setdefault(reason, []).append(f"`{row}`")
    return "Not run here: " + "; ".join(f"{', '.join(rows)} ({reason})" for reason, rows in by_reason.items()) + "."


def label(row: Row) -> str:
    """The name of a row in a table."""
    return f"{row.title}; {RUNTIMES[row.runtime]} {FORMATS[row.precision]}"


def with_spread(values: Mapping[str, float]) -> str:
    """Format the median with minimum and maximum."""
    median, least, most = (figure(values[name]) for name in ("median", "min", "max"))
    return median if values["n"] == 1 else f"{median} ({least} to {most})"


def figure(value: float) -> str:
    """A number with three digits, or as a whole number from 1000 on."""
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table with right-aligned numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
