"""index.html lists every input of an output folder, with links to its results."""

import json
import os
from pathlib import Path
from typing import Any

from page_case import page_case
from test_case_page import EVIL, Elements

from custom_networks.report.report import write_report
from custom_networks.report.summary import Finished, Summary, refused_row


def finished(folder: Path, case: str, **more: Any) -> Finished:
    report = {**page_case(case=case).report, **more}
    write_report(report, folder / case)
    (folder / case / "manifest.json").write_text("{}")
    return Finished(folder / case / "manifest.json")


def refused(folder: Path, case: str, message: str) -> Finished:
    (folder / f"{case}.json").write_text("{}")
    return Finished(folder / f"{case}.json", refused_row(case, f"scans/{case}", message))


def index_of(folder: Path, found: list[Finished]) -> Elements:
    for number, one in enumerate(found):
        os.utime(one.path, ns=(number, number))
    Summary(folder, lambda: found, index=True).write()
    return Elements((folder / "index.html").read_text())


def test_cases_link_to_their_pages_and_refusals_give_their_reasons(tmp_path: Path) -> None:
    files = {"mask": "a_seg.nii.gz", "page": "report.html", "thumbnail": "thumbnail.jpg"}
    verdict = {"level": "look", "findings": []}
    found = [finished(tmp_path, "a b#1", files=files, verdict=verdict), refused(tmp_path, "c", "c.nii.gz is constant.")]
    index = index_of(tmp_path, found)
    assert [link["href"] for link in index.named("a")] == ["a%20b%231/report.html"] * 2
    assert [picture["src"] for picture in index.named("img")] == ["a%20b%231/thumbnail.jpg"]
    assert "1 case, 1 refused input." in index.text and "c.nii.gz is constant." in index.text
    assert "look" in index.text and "Verdict" in index.text
    assert f"{page_case().report['liver']['volume_ml']:.0f}" in index.text


def test_a_case_without_a_page_links_to_its_report(tmp_path: Path) -> None:
    index = index_of(tmp_path, [finished(tmp_path, "a")])
    assert [link["href"] for link in index.named("a")] == ["a/report.json"] and index.named("img") == []
    assert "Verdict" not in index.text


def test_text_in_the_index_is_escaped(tmp_path: Path) -> None:
    index = index_of(tmp_path, [refused(tmp_path, "c", EVIL)])
    assert EVIL in index.text and len(index.named("script")) == 1 and "No case was segmented." in index.text


def test_without_pages_there_is_no_index(tmp_path: Path) -> None:
    found = [finished(tmp_path, "a")]
    Summary(tmp_path, lambda: found).write()
    assert (tmp_path / "summary.csv").is_file() and not (tmp_path / "index.html").exists()
    assert json.loads((tmp_path / "a" / "report.json").read_text())["case"] == "a"
