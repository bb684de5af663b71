"""docs/limits.md lists every sentence of the readers, as the code has it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "benchmarks"))

from sentences import PAGE, READERS, page_part, page_with, sentences_of  # noqa: E402


def test_the_page_holds_the_sentences_of_the_code() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page_with(page_part()) == text, "run: python tests/benchmarks/sentences.py --write"


def test_refusals_and_notes_are_among_them_and_docstrings_are_not() -> None:
    found = sentences_of(READERS / "cases.py")
    assert "No such file or folder: ...; check the spelling." in found
    assert not [sentence for sentence in found if sentence.startswith("The case of an input")]
