"""Every sentence that the readers can say, taken from the code, for docs/limits.md.

python tests/benchmarks/sentences.py         # prints them
python tests/benchmarks/sentences.py --write # puts them into docs/limits.md
"""

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "limits.md"
READERS = ROOT / "custom_networks" / "io"
BEGIN, END = "<!-- sentences: begin -->", "<!-- sentences: end -->"
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


def page_part() -> str:
    """What stands between the marks of the page: a list for each module."""
    parts = []
    for path in sorted(READERS.rglob("*.py")):
        lines = [f"- `{sentence}`" for sentence in sentences_of(path)]
        if lines:
            parts.append("\n".join([f"`{path.relative_to(ROOT).as_posix()}`", "", *lines]))
    return f"{BEGIN}\n\n" + "\n\n".join(parts) + f"\n\n{END}"


def page_with(part: str) -> str:
    """The page, with that part in the place of its own."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    return before + part + rest.partition(END)[2]


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(page_with(page_part()), encoding="utf-8")
    else:
        sys.stdout.write(page_part() + "\n")
