"""docs/limits.md lists the limits and quotes the refusals of the readers exactly as in the code."""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "benchmarks"))

from sentences import PAGE, READERS, limits, page, quoted, refusals, sentences, sentences_of  # noqa: E402


def test_the_table_of_sizes_matches_the_code() -> None:
    assert page() == PAGE.read_text(encoding="utf-8"), "run: python tests/benchmarks/sentences.py --write"


def test_the_table_distinguishes_limits_on_memory_and_on_body_size() -> None:
    assert "| across the patient | 100 to 1,000 mm | no body is smaller or larger | no |" in limits()
    assert "| yes |" in next(line for line in limits().splitlines() if line.startswith("| voxels |"))


def test_every_quoted_message_exists_in_the_readers() -> None:
    said = [text for found in sentences().values() for text in found]
    assert len(quoted()) > 50
    assert [part for part in quoted() if not any(part in text for text in said)] == []


def test_messages_quoted_on_the_page_about_exports_exist_in_the_readers() -> None:
    said = [text for found in sentences().values() for text in found]
    section = (PAGE.parent / "how-to" / "pacs-export.md").read_text(encoding="utf-8").partition("## When an export")[2]
    parts = [part for line in section.splitlines() for part in re.findall(r"`([^`]+)`", line.partition(" | ")[0])]
    assert len(parts) > 8
    assert [part for part in parts if not any(part in text for text in said)] == []


def test_every_refusal_is_quoted() -> None:
    assert len(refusals()) > 40
    assert [text for text in refusals() if not any(part in text for part in quoted())] == []


def test_sentences_include_refusals_and_notes_but_not_docstrings() -> None:
    found = sentences_of(READERS / "cases.py")
    assert "No such file or folder: ...; check the spelling." in found
    assert not [sentence for sentence in found if sentence.startswith("The case of an input")]
