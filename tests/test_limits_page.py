"""docs/limits.md lists every limit and sentence of the readers, as the code has them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "benchmarks"))

from sentences import PAGE, READERS, limits, page, sentences_of  # noqa: E402


def test_the_page_says_what_the_code_says() -> None:
    assert page() == PAGE.read_text(encoding="utf-8"), "run: python tests/benchmarks/sentences.py --write"


def test_the_table_tells_limits_on_memory_from_limits_on_bodies() -> None:
    assert "| across the patient | 100 to 1,000 mm | no body is smaller or larger | no |" in limits()
    assert "| yes |" in next(line for line in limits().splitlines() if line.startswith("| voxels |"))


def test_refusals_and_notes_are_among_them_and_docstrings_are_not() -> None:
    found = sentences_of(READERS / "cases.py")
    assert "No such file or folder: ...; check the spelling." in found
    assert not [sentence for sentence in found if sentence.startswith("The case of an input")]
