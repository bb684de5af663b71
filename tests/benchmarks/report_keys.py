"""The table of report.json's keys in docs/outputs.md, made from the schema.

python tests/benchmarks/report_keys.py         # prints it
python tests/benchmarks/report_keys.py --write # puts it into docs/outputs.md
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "custom_networks" / "report" / "report.schema.json"
PAGE = ROOT / "docs" / "outputs.md"
EXPLAINED = "files."  # the page lists the files themselves
BEGIN, END = "<!-- keys: begin -->", "<!-- keys: end -->"


def keys(node: dict[str, Any], defs: dict[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Every key below a node of the schema with its description; `a.b` is a key of an object, `a[].b` of each entry."""
    for name, inner in node.get("properties", {}).items():
        yield f"{path}{name}", inner.get("description", "")
        entry = inner.get("items", {})
        below = defs[entry["$ref"].rpartition("/")[2]] if "$ref" in entry else entry
        yield from keys(inner, defs, f"{path}{name}.")
        yield from keys(below, defs, f"{path}{name}[].")


def table() -> str:
    """The table as Markdown, without files and without objects that have no description of their own."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    found = dict(keys(schema, schema["$defs"]))
    parents = {path.rpartition(".")[0].removesuffix("[]") for path in found}
    described = {path: text for path, text in found.items() if text or path not in parents}
    rows = [f"| `{path}` | {text} |" for path, text in described.items() if not path.startswith(EXPLAINED)]
    return "\n".join(["| key | |", "|---|---|", *rows])


def page() -> str:
    """The text of the page with an updated table."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(page(), encoding="utf-8")
    else:
        sys.stdout.write(f"{table()}\n")
