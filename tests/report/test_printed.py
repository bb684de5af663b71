"""The PDF has two pages and the report's numbers as text."""

import re
import zlib
from typing import Any

import numpy as np
from page_case import case_of, page_case

from custom_networks.report.printed import printed_report


def pages(pdf: bytes) -> int:
    return len(re.findall(rb"/Type /Page\b(?!s)", pdf))


def glyphs(pdf: bytes) -> int:
    """The number of strings on the pages."""
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    shown = 0
    for stream in streams:
        try:
            shown += zlib.decompress(stream).upper().count(b"TJ")
        except zlib.error:
            continue
    return shown


def test_the_pdf_has_two_pages_and_is_reproducible() -> None:
    case = page_case(notes=("A note.",))
    first, again = (printed_report(case.report, case.pictures, {}) for _ in range(2))
    assert first.startswith(b"%PDF") and pages(first) == 2 and first == again
    named = printed_report(case.report, case.pictures, {"Patient": "Doe", "Sex": "F"})
    assert glyphs(named) == glyphs(first) + 2 > 30


def test_any_text_is_printed_on_two_pages() -> None:
    text = "<script>alert(1)</script> $x^2$ \\frac{ \u540d\u524d " + "a" * 500
    case = page_case(notes=(text,) * 40)
    verdict: dict[str, Any] = {"level": "stop", "findings": [{"code": "x", "level": "stop", "text": text}] * 30}
    assert pages(printed_report({**case.report, "verdict": verdict}, case.pictures, {"Patient": text})) == 2


def test_a_case_without_a_liver_prints_on_two_pages() -> None:
    empty = np.zeros((30, 20, 10), np.uint8)
    case = case_of(empty, np.zeros(empty.shape, np.int16), np.diag([2.0, 2.0, 5.0, 1.0]))
    assert pages(printed_report(case.report, case.pictures, {})) == 2
