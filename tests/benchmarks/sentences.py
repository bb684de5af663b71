"""Every limit and every sentence of the readers, taken from the code, for docs/limits.md.

python tests/benchmarks/sentences.py         # prints them
python tests/benchmarks/sentences.py --write # puts them into docs/limits.md
"""

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from custom_networks.io.limits import LIMITS  # noqa: E402

PAGE = ROOT / "docs" / "limits.md"
READERS = ROOT / "custom_networks" / "io"
MARKS = "<!-- {}: begin -->", "<!-- {}: end -->"
FEWEST_WORDS = 4


def sentences_of(path: Path) -> list[str]:
    """Texts of a module with at least four words that are no docstrings; "..." stands for what is filled in."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    bare = (node.value for node in ast.walk(tree) if isinstance(node, ast.Expr))
    docstrings = {id(node) for node in bare if isinstance(node, ast.Constant)}
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    found: dict[str, None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = "".join(part.value if isinstance(part, ast.Constant) else "..." for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings | inner:
            text = node.value
        else:
            continue
        text = " ".join(text.split())
        if len(re.findall(r"[A-Za-z]{2,}", text)) >= FEWEST_WORDS and " " in text and "\\" not in text:
            found[text.replace("`", "'")] = None
    return sorted(found)


def sentences() -> str:
    """A list of sentences for each module of the readers."""
    parts = []
    for path in sorted(READERS.rglob("*.py")):
        lines = [f"- `{sentence}`" for sentence in sentences_of(path)]
        if lines:
            parts.append("\n".join([f"`{path.relative_to(ROOT).as_posix()}`", "", *lines]))
    return "\n\n".join(parts)


def limits() -> str:
    """A table of what sizes are accepted, and which of the limits can be lifted."""
    rows = [f"| {one.what} | {one.range} | {one.why} | {'yes' if one.memory else 'no'} |" for one in LIMITS]
    return "\n".join(["| what | accepted | why | `--allow-large` lifts it |", "|---|---|---|---|", *rows])


def page() -> str:
    """The page, with what the code says between its marks."""
    text = PAGE.read_text(encoding="utf-8")
    for name, part in (("limits", limits()), ("sentences", sentences())):
        begin, end = (mark.format(name) for mark in MARKS)
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n\n{part}\n\n{end}{rest.partition(end)[2]}"
    return text


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(page(), encoding="utf-8")
    else:
        sys.stdout.write(f"{limits()}\n\n{sentences()}\n")
