"""The files, classes and settings that a page names in code type exist in the repository."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = "architecture training performance operating-point scaling federated export".split()
PAGES = [*(ROOT / "docs" / f"{name}.md" for name in NAMES), *sorted((ROOT / "docs" / "decisions").glob("*.md"))]
CODE = ("bundle", "custom_networks", "tests", "docs")
ENDINGS = {".py", ".json", ".csv", ".pt", ".js", ".j2", ".txt", ".conf", ".cfg", ".toml"}
# Names of MONAI, torchrun, SLURM and data sets, and a file of this machine's neighbour.
OF_OTHERS = {"FillHolesd", "KeepLargestConnectedComponentd", "RemoveSmallObjectsd", "config_filters_filename"}
OF_OTHERS |= {"SLURM_ARRAY_TASK_ID", "requeue", "litsNNN", "ircadNN", "ku_leuven.py"}


@cache
def repository() -> tuple[list[str], str]:
    """Paths of all files, and the text of code and tables."""
    files = [path for folder in CODE for path in sorted((ROOT / folder).rglob("*")) if path.is_file()]
    files += [path for path in ROOT.iterdir() if path.is_file()]
    read = [path for path in files if path.suffix in ENDINGS - {".pt"} and path != Path(__file__)]
    paths = [path.relative_to(ROOT).as_posix() for path in files]
    return paths, "\n".join([*paths, *(path.read_text(encoding="utf-8") for path in read)])


def missing(words: str) -> Iterator[str]:
    """The parts of a text in code type that do not exist in the repository."""
    paths, text = repository()
    for word in words.split():
        if re.fullmatch(r"[\w./-]+\.(py|csv|js|j2|conf)", word):
            known = any(f"/{path}".endswith(f"/{word}") for path in paths) or word in text
            yield from [] if known else [word]
        else:
            yield from (name for name in re.findall(r"[A-Za-z_]\w{3,}", word) if name not in text)


def unknown(page: str) -> list[str]:
    """Names in code type, outside of fences, that do not exist in the repository."""
    prose = re.sub(r"^ *```.*?^ *```", "", page, flags=re.MULTILINE | re.DOTALL)
    named = {name for words in re.findall(r"`([^`\n]+)`", prose) for name in missing(words)}
    return sorted(name for name in named if name.rpartition("/")[2] not in OF_OTHERS)


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_everything_in_code_type_on_a_page_exists(page: Path) -> None:
    assert unknown(page.read_text(encoding="utf-8")) == []


def test_a_file_that_does_not_exist_is_detected() -> None:
    never_was = ["io/dicom/" + "series_choice_that_never_was.py", "a_setting" + "_of_none"]
    assert unknown(f"see `{never_was[0]}` and `{never_was[1]}`, but `io/checks.py`") == sorted(never_was)
