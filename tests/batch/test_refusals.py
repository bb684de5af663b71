"""Records of refused inputs in an output folder, and the rows of inputs in summary.csv."""

import csv
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from custom_networks.batch import refusals
from custom_networks.batch.outcomes import outcomes
from custom_networks.batch.refusals import Refusal, forget, remember, remembered
from custom_networks.case_folder import Input, claim
from custom_networks.io.case import place_of
from custom_networks.report.summary import Finished, Summary

REPORT: dict[str, Any] = {
    "liver": {"volume_ml": 1500.0, "volume_without_tumor_ml": 1490.0, "touches_border": False},
    "tumor": {"volume_ml": 10.0, "burden_percent": 0.667, "lesion_count": 1},
    "lesions": [{"longest_mm": 27.0}],
    "notes": [],
}


def finish(output: Path, source: str, content: str = "bytes", geometry: str = "grid") -> Path:
    """Write results of an input, as a run does."""
    name = Path(source).name.partition(".")[0]
    output.mkdir(exist_ok=True)
    of = Input(name, place_of(source), f"{source} {content}", geometry, place_of(source))
    with claim(output, of) as claimed:
        report = {**REPORT, "case": claimed.name, "input": source}
        (claimed.staging / "report.json").write_text(json.dumps(report))
        return claimed.commit({})


def rows(output: Path) -> list[tuple[str, str, str]]:
    """Case, status and input of each row of a new summary."""
    Summary(output, lambda: outcomes(output)).write()
    with (output / "summary.csv").open(newline="") as stream:
        return [(row["case"], row["status"], row["input"]) for row in csv.DictReader(stream)]


def refuse(output: Path, source: str, **known: str) -> None:
    name = Path(source).name.partition(".")[0]
    remember(output, place_of(source), Refusal(name, source, f"{source} is damaged.", **known))


def test_a_refusal_is_kept_although_another_run_removes_the_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = refusals.write_text
    writes: list[Path] = []

    def removed_meanwhile(path: Path, text: str) -> None:
        writes.append(path)
        if len(writes) == 1:
            raise FileNotFoundError(path.parent)
        whole(path, text)

    monkeypatch.setattr(refusals, "write_text", removed_meanwhile)
    refuse(tmp_path, "/in/a.nii")
    assert [refusal.input for _, _, refusal in remembered(tmp_path)] == ["/in/a.nii"]


def test_a_refusal_is_remembered_until_the_input_succeeds(tmp_path: Path) -> None:
    refuse(tmp_path, "/data/a.nii.gz")
    refuse(tmp_path, "/data/b.nii.gz")
    kept = {place: refusal.message for place, _, refusal in remembered(tmp_path)}
    assert kept == {place_of(f"/data/{name}.nii.gz"): f"/data/{name}.nii.gz is damaged." for name in "ab"}
    (tmp_path / ".refused" / "damaged.json").write_text("{")
    (tmp_path / ".refused" / "other.json").write_text('{"case": 1}')
    assert len(list(remembered(tmp_path))) == 2
    for place in kept:
        forget(tmp_path, place)
    forget(tmp_path, "never refused")
    assert list(remembered(tmp_path)) == []
    forget(tmp_path / "no folder", "never refused")


def test_summary_rows_follow_the_order_in_which_inputs_finished(tmp_path: Path) -> None:
    finish(tmp_path, "/data/z.nii.gz")
    refuse(tmp_path, "/data/m.nii.gz")
    finish(tmp_path, "/data/a.nii.gz")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "report.json").write_text(json.dumps({**REPORT, "case": "foreign", "input": "x"}))
    assert rows(tmp_path) == [
        ("z", "done", "/data/z.nii.gz"),
        ("m", "failed", "/data/m.nii.gz"),
        ("a", "done", "/data/a.nii.gz"),
    ]


def test_an_input_refused_after_success_is_listed_as_failed(tmp_path: Path) -> None:
    folder = finish(tmp_path, "/data/a.nii.gz")
    refuse(tmp_path, "/data/a.nii.gz")
    assert rows(tmp_path) == [("a", "failed", "/data/a.nii.gz")]
    assert (folder / "report.json").is_file()  # nothing that was whole is taken away
    forget(tmp_path, place_of("/data/a.nii.gz"))
    finish(tmp_path, "/data/a.nii.gz", "other bytes")
    assert rows(tmp_path) == [("a", "done", "/data/a.nii.gz")]


def test_results_newer_than_the_refusal_count_as_done(tmp_path: Path) -> None:
    """As after a kill between the last rename and the removal of the refusal."""
    refuse(tmp_path, "/data/a.nii.gz")
    folder = finish(tmp_path, "/data/a.nii.gz")
    later = (folder / "manifest.json").stat().st_mtime_ns + 10**9
    os.utime(folder / "manifest.json", ns=(later, later))
    assert rows(tmp_path) == [("a", "done", "/data/a.nii.gz")]


def test_a_refused_patient_does_not_hide_results_of_another_one_at_the_same_path(tmp_path: Path) -> None:
    finish(tmp_path, "/in/ct.nii.gz", "bytes a", "grid a")
    refuse(tmp_path, "/in/ct.nii.gz", content="bytes b", geometry="grid b")
    assert [row[1] for row in rows(tmp_path)] == ["done", "failed"]


def test_concurrent_runs_lose_no_row(tmp_path: Path) -> None:
    """While one run writes the table, another one finishes a case and has already written its own table."""
    finish(tmp_path, "/data/a.nii.gz")
    late = iter([lambda: finish(tmp_path, "/data/b.nii.gz")])

    def looked_at() -> Iterator[Finished]:
        found = list(outcomes(tmp_path))
        next(late, lambda: None)()  # type: ignore[operator]
        yield from found

    Summary(tmp_path, looked_at).write()
    assert [line.partition(",")[0] for line in (tmp_path / "summary.csv").read_text().splitlines()[1:]] == ["a", "b"]


def test_concurrent_threads_lose_no_row(tmp_path: Path) -> None:
    def work(name: str) -> None:
        summary = Summary(tmp_path, lambda: outcomes(tmp_path))
        for number in range(6):
            finish(tmp_path, f"/data/{name}{number}.nii.gz")
            summary.write()

    workers = [threading.Thread(target=work, args=(name,)) for name in "abc"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len((tmp_path / "summary.csv").read_text().splitlines()) == 19
    assert [name for name in os.listdir(tmp_path) if name.startswith(".")] == []


@pytest.mark.parametrize("place", ["", "~nobody_of_this_name/x", "x" * 5000])
def test_any_path_has_a_digest_for_its_place(place: str) -> None:
    assert len(place_of(place)) == 64
