"""The pages of the project, their links, headings and snippets."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "bundle" / "docs").glob("*.md")])
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


def text_of(page: Path) -> str:
    """The text of a page without fenced blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[str]:
    """Targets of a page's links and images."""
    return re.findall(r"\]\(([^()\s]+)\)", text_of(page))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as on GitHub."""
    headings = re.findall(r"^#+ +(.+)$", text_of(page), re.MULTILINE)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


def snippets(page: Path, language: str) -> list[str]:
    """The fenced blocks in a language."""
    return [text for name, text in FENCE.findall(page.read_text(encoding="utf-8")) if name == language]


def commands(page: Path) -> list[str]:
    """The commands in a page's bash blocks, each on one line and without comment."""
    joined = "\n".join(snippets(page, "bash")).replace("\\\n", " ")
    lines = [re.split(r"(?:^|\s)#", line)[0].strip() for line in joined.splitlines()]
    return [command for line in lines for command in re.split(r" (?:&&|\|) ", line) if command]
