"""Several processes work on a batch; if one dies, only its current case fails."""

import csv
import logging
import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from text_cases import TextWork

from custom_networks.batch import processes
from custom_networks.batch.processes import Processes
from custom_networks.batch.verify import verified
from custom_networks.batch.work import Work
from custom_networks.errors import BundleError
from custom_networks.io import Case

Texts = Callable[..., list[Case]]


class Unbuilt(TextWork):
    """Work whose weights are missing."""

    def pipeline(self) -> object:
        raise BundleError("There are no weights: fetch them.")


def test_if_a_process_dies_only_its_current_case_fails(texts: Texts, tmp_path: Path) -> None:
    cases = texts(a="1", b="die", c="2", d="bad", e="3")
    with Processes(TextWork(tmp_path / "out", {}), 2) as runner:
        assert runner.options == {"weights": "none", "runtime": "none", "precision": "none"}
        outcomes = {outcome.case.name: outcome for outcome in runner.outcomes(cases)}
        assert runner.sum_up() == ""
    assert {name for name, outcome in outcomes.items() if outcome.result} == {"a", "c", "e"}
    assert "in/b.nii.gz: the process that segmented it was killed by signal 9" in outcomes["b"].message
    assert "in/d.nii.gz is damaged: copy it again." in outcomes["d"].message
    assert all(outcomes[case.name].case is case for case in cases)
    with (tmp_path / "out" / "summary.csv").open(newline="") as stream:
        rows = {row["case"]: row["status"] for row in csv.DictReader(stream)}
    assert rows == {"a": "done", "b": "failed", "c": "done", "d": "failed", "e": "done"}
    found = verified(tmp_path / "out")
    assert (found.folders, found.refused, found.faults) == (3, 2, ())
    assert multiprocessing.active_children() == []


def test_a_process_that_died_is_replaced(texts: Texts, tmp_path: Path) -> None:
    with Processes(TextWork(tmp_path / "out", {}), 1) as runner:
        dead, alive = runner.outcomes(texts(a="die", b="1"))
    assert "was killed by signal 9" in dead.message and dead.result is None
    assert alive.message == "" and alive.result is not None


@pytest.mark.slow
def test_interrupting_a_run_ends_its_processes_at_once(texts: Texts, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Processes(TextWork(tmp_path / "out", {}), 2) as runner:
        for outcome in runner.outcomes(texts(a="1", b="wait 300", c="wait 300")):
            assert outcome.case.name == "a"
            given_up = time.monotonic()
            raise KeyboardInterrupt
    assert time.monotonic() - given_up < processes.SECONDS_TO_LEAVE
    assert multiprocessing.active_children() == []
    assert verified(tmp_path / "out").faults == ()


@pytest.mark.slow
def test_a_process_that_cannot_segment_says_why(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="There are no weights: fetch them."):
        Processes(Unbuilt(tmp_path / "out", {}), 2)
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("cases, fit, number", [(9, 9, 4), (3, 9, 3), (9, 1, 1), (0, 9, 1)])
def test_processes_are_limited_by_the_number_of_cases_and_by_memory(
    cases: int, fit: int, number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    runner = Processes.__new__(Processes)
    runner._number = 4
    monkeypatch.setattr(processes, "fitting_processes", lambda wanted, cases, available: min(wanted, fit))
    with caplog.at_level(logging.WARNING):
        assert runner._number_for([None] * cases) == number  # type: ignore[list-item]
    assert ("--jobs 4 is reduced to 1: there is not enough memory for more." in caplog.text) == (fit == 1)


@pytest.mark.parametrize("shared_by, threads", [(1, 8), (3, 2), (20, 1)])
def test_processes_share_the_available_cores(
    shared_by: int, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[int] = []
    monkeypatch.setattr("custom_networks.batch.work._cores", 8)
    monkeypatch.setattr("custom_networks.batch.work.tune_this_process", used.append)
    Work(tmp_path, {}).share(shared_by)
    assert used == [threads]
