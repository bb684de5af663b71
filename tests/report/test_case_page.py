"""report.html is a single file, requests nothing from outside, and escapes all text."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from page_case import TWO, PageCase, case_of, page_case
from pydicom.dataset import Dataset

from custom_networks.errors import UsageError
from custom_networks.report.page.assets import NIIVUE, niivue
from custom_networks.report.page.case_page import case_page
from custom_networks.report.page.content import patient_text, segments_of
from custom_networks.report.page.viewer import viewer_volumes
from custom_networks.report.page.written import check_page, write_page

EVIL = '<script>alert(1)</script> & "quoted" \'</title>'
VERDICT = {"level": "look", "findings": [{"code": "fov_cut", "level": "look", "text": f"The liver is cut. {EVIL}"}]}


class Elements(HTMLParser):
    """Start tags with their attributes, and the text of each kind of element."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._in: list[str] = []
        self.feed(page.replace(niivue()["code"], ""))  # two megabytes that take this parser long

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        self._in.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._in and self._in.pop() != tag:
            continue

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self._in):
            self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of each element of a kind."""
        return [attributes for name, attributes in self.tags if name == tag]


def full(case: PageCase, patient: Mapping[str, str] | None = None) -> str:
    return case_page(case.report, case.pictures, viewer_volumes(*case.parts), patient or {})


def light(case: PageCase, patient: Mapping[str, str] | None = None, **more: Any) -> str:
    return case_page({**case.report, **more}, case.pictures, None, patient or {})


@pytest.fixture(scope="module")
def page() -> str:
    return full(page_case(notes=("A note.",)))


def test_the_lesion_table_has_the_numbers_of_the_report(page: str) -> None:
    elements, case = Elements(page), page_case()
    assert [row["data-lesion"] for row in elements.named("tr") if "data-lesion" in row] == ["1", "2"]
    for lesion in case.report["lesions"]:
        assert f"{lesion['longest_mm']:.1f} x {lesion['perpendicular_mm']:.1f}" in elements.text
        assert f"{lesion['volume_mm3'] / 1000:.2f}" in elements.text
    assert f"{case.report['liver']['volume_ml']:.0f} ml" in elements.text
    assert "Research use only" in elements.text and "A note." in elements.text
    assert "patient's right is on the left" in elements.text


def test_the_page_requests_nothing_from_outside(page: str) -> None:
    elements = Elements(page)
    addresses = [a[name] or "" for _, a in elements.tags for name in ("src", "href", "action", "data") if name in a]
    assert addresses and all(address.startswith("data:image/jpeg;base64,") for address in addresses)
    (policy,) = [m["content"] or "" for m in elements.named("meta") if "http-equiv" in m]
    assert "default-src 'none'" in policy and "http" not in policy and "unsafe" not in policy
    assert not re.search(r"url\(", "".join(re.findall(r"<style>(.*?)</style>", page, re.DOTALL)))


def test_the_content_policy_allows_only_the_pages_own_scripts_and_style(page: str) -> None:
    import base64

    (policy,) = [m["content"] or "" for m in Elements(page).named("meta") if "http-equiv" in m]
    run = re.findall(
        r"<(?:script|style)>(.*?)</(?:script|style)>", page.replace(code := niivue()["code"], ""), re.DOTALL
    )
    run = [text or code for text in run]
    hashes = {f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}'" for text in run}
    assert len(run) == 3 and hashes == set(re.findall(r"'sha256-[^']+'", policy))
    assert "\r" not in page  # a browser reads it as a line feed, and the hash would be another


def test_scripts_in_any_text_are_escaped() -> None:
    case = page_case(notes=(EVIL,), case=EVIL)
    run = {**case.report["run"], "processor": EVIL}
    for html in (full(case, {EVIL: EVIL}), light(case, {EVIL: EVIL}, verdict=VERDICT, run=run)):
        elements = Elements(html)
        assert elements.text.count(EVIL) >= 4
        assert all("alert" not in str(attributes) or "alt" in attributes for _, attributes in elements.tags)
        scripts = [a.get("type") for a in elements.named("script")]
        assert scripts in ([], ["application/json"] + ["text/plain"] * 4 + [None, None])


def test_the_viewers_data_agree_with_the_report(page: str) -> None:
    found = re.search(r'id="case-data">(.*?)</script>', page, re.DOTALL)
    assert found
    data = json.loads(found[1])
    lesions = page_case().report["lesions"]
    assert [lesion["centroid"] for lesion in data["lesions"]] == [list(lesion["centroid"]) for lesion in lesions]
    assert [lesion["longestEnds"] for lesion in data["lesions"]] == [
        [list(end) for end in lesion["longest_ends"]] for lesion in lesions
    ]


def test_a_light_page_has_no_script_and_is_small() -> None:
    plain = page_case(TWO[:1], (3.0, 3.0, 5.0), notes=tuple(f"Note {n}." for n in range(30)))
    noise = np.random.default_rng(0).normal(0, 30, plain.ct.array.shape)  # which compresses worst
    noisy = plain._replace(ct=replace(plain.ct, array=(plain.ct.array + noise).astype(np.int16)))
    case = noisy.times(79)  # as many as any known scan has
    html = light(case, verdict=VERDICT)
    assert len(case.report["lesions"]) == 79
    assert "<script" not in html and "<canvas" not in html and len(Elements(html).named("img")) == 82
    assert len(html.encode()) < 500_000


def test_a_full_page_that_is_too_large_is_compressed_more(monkeypatch: pytest.MonkeyPatch) -> None:
    case, module = page_case(TWO[:1], (3.0, 3.0, 5.0)), "custom_networks.report.page.case_page"
    volumes, lengths = viewer_volumes(*case.parts), []
    for most in (7_900_000, 0):
        monkeypatch.setattr(f"{module}.FULL_CHARACTERS", most)
        lengths.append(len(case_page(case.report, case.pictures, volumes, {})))
    assert lengths[1] < lengths[0] < 7_900_000


def test_lesions_beyond_the_printed_pages_are_marked() -> None:
    elements = Elements(light(page_case(TWO[:1], (3.0, 3.0, 5.0)).times(25)))
    unprinted = [(tag, a) for tag, a in elements.tags if a.get("class") == "unprinted"]
    assert [tag for tag, _ in unprinted] == ["tr"] * 5 + ["figure"] * 5
    assert "The 20 largest of 25 lesions are printed" in elements.text


def test_a_case_without_liver_or_lesion_says_so() -> None:
    empty = np.zeros((30, 20, 10), np.uint8)
    case = case_of(empty, np.zeros(empty.shape, np.int16), np.diag([2.0, 2.0, 5.0, 1.0]))
    assert "No liver was found." in Elements(full(case)).text
    assert "No lesion was found." in Elements(light(page_case([]))).text


def test_verdict_and_segments_are_shown_if_the_report_has_them() -> None:
    case = page_case()
    plain = Elements(light(case)).text
    assert "What to look at" not in plain and "Segments" not in plain
    shares = [{"segment": 4, "share": 0.9}, {"segment": 5, "share": 0.1}]
    lesions = [{**lesion, "segments": shares} for lesion in case.report["lesions"]]
    table = [{"segment": 4, "roman": "IV", "volume_ml": 120.4}, {"segment": 5, "roman": "V", "volume_ml": 9.0}]
    segments = {"state": "found", "table": table}
    shown = Elements(light(case, verdict=VERDICT, segments=segments, lesions=lesions)).text
    assert "Look at the result before you use it." in shown and "The liver is cut." in shown
    assert "IV, V" in shown and "120 ml" in shown
    assert segments_of(case.report) == {"volumes": [], "of_lesions": {}}


def test_patient_text_is_that_of_the_header() -> None:
    header = Dataset()
    header.PatientName, header.PatientID, header.SeriesDescription = "Doe^Jane", "", "Portal <b>venous</b>"
    assert patient_text([header]) == {"Patient": "Doe^Jane", "Series": "Portal <b>venous</b>"}
    assert patient_text([]) == {}
    assert "Portal <b>venous</b>" in Elements(light(page_case(), patient_text([header]))).text


def test_page_and_thumbnail_are_written_and_returned_by_kind(tmp_path: Any) -> None:
    case = page_case()
    files = write_page(tmp_path, "light", case.report, case.pictures, *case.parts, {})
    assert files == {"page": "report.html", "thumbnail": "thumbnail.jpg"}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(files.values())
    assert (tmp_path / "thumbnail.jpg").stat().st_size < 15_000


def test_an_unknown_kind_of_page_is_refused() -> None:
    with pytest.raises(UsageError, match="page must be full, light or off, got 'heavy'"):
        check_page("heavy")


def test_niivue_has_the_stated_hash_and_its_licence() -> None:
    about = json.loads((NIIVUE / "niivue.json").read_text())
    assert sha256((NIIVUE / about["file"]).read_bytes()).hexdigest() == about["sha256"]
    assert "Redistribution and use" in (NIIVUE / "LICENSE").read_text()
    assert "</script" not in niivue()["code"].lower() and "<!--" not in niivue()["code"]
