"""Sentences and limits of the readers, to generate or check parts of docs/limits.md.

python tests/benchmarks/sentences.py         # prints every sentence of the readers
python tests/benchmarks/sentences.py --write # puts the table of sizes into docs/limits.md
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
# Modules that do little else than refuse: each of their sentences must be quoted on the page.
REFUSING = ("checks.py", "limits.py", "dicom/files.py", "dicom/geometry.py", "dicom/pixel_element.py", "dicom/rules.py")


def sentences_of(path: Path, raised: bool = False) -> list[str]:
    """Texts of a module with at least four words that are no docstrings; "..." stands for what is filled in.

    With `raised`, only those of its `raise` statements.
    """
    tree: ast.AST = ast.parse(path.read_text(encoding="utf-8"))
    bare = (node.value for node in ast.walk(tree) if isinstance(node, ast.Expr))
    docstrings = {id(node) for node in bare}
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    roots = [node for node in ast.walk(tree) if isinstance(node, ast.Raise)] if raised else [tree]
    texts = (_text(node) for root in roots for node in ast.walk(root) if id(node) not in docstrings | inner)
    return sorted({text for text in texts if _is_sentence(text)})


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.JoinedStr):
        node = ast.Constant("".join(part.value if isinstance(part, ast.Constant) else "..." for part in node.values))
    value = node.value if isinstance(node, ast.Constant) else None
    return " ".join(value.split()).replace("`", "'") if isinstance(value, str) else ""


def _is_sentence(text: str) -> bool:
    return len(re.findall(r"[A-Za-z]{2,}", text)) >= FEWEST_WORDS and " " in text and "\\" not in text


def sentences() -> dict[str, list[str]]:
    """The sentences of each module of the readers."""
    return {path.relative_to(READERS).as_posix(): sentences_of(path) for path in sorted(READERS.rglob("*.py"))}


def refusals() -> list[str]:
    """The sentences that the page must quote: refusals of inputs, in modules that do little else."""
    return [
        text for name in REFUSING for text in sentences_of(READERS / name, raised=name in ("checks.py", "limits.py"))
    ]


def quoted() -> list[str]:
    """The parts of messages that are quoted in the page's tables."""
    begin, end = (re.escape(mark.format("refused")) for mark in MARKS)
    tables = re.findall(f"{begin}(.*?){end}", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    rows = [line for table in tables for line in table.splitlines() if line.startswith("| ")][1:]
    return [part for row in rows for part in re.findall(r"`([^`]+)`", row.rsplit(" | ", 1)[1])]


def limits() -> str:
    """A table of the accepted sizes, and of which limits can be lifted."""
    rows = [f"| {one.what} | {one.range} | {one.why} | {'yes' if one.memory else 'no'} |" for one in LIMITS]
    return "\n".join(["| what | accepted | why | `--allow-large` lifts it |", "|---|---|---|---|", *rows])


def page() -> str:
    """The text of the page with an updated table of sizes."""
    text = PAGE.read_text(encoding="utf-8")
    begin, end = (mark.format("limits") for mark in MARKS)
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n\n{limits()}\n\n{end}{rest.partition(end)[2]}"


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(page(), encoding="utf-8")
    else:
        for name, found in sentences().items():
            sys.stdout.write("\n".join([name, *(f"    {text}" for text in found), ""]))
