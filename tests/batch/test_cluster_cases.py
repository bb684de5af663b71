"""Which worker of a cluster gets a case, and how failed cases are retried; without Dask."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from text_cases import TextCase, TextWork

from custom_networks import __version__
from custom_networks.batch import cluster_worker
from custom_networks.batch.cluster import Cluster, _Pending
from custom_networks.batch.cluster_worker import Answer, Order
from custom_networks.batch.work import Work
from custom_networks.errors import BundleError, UsageError
from custom_networks.io import Case

Texts = Callable[..., list[Case]]
OPTIONS = {"weights": "none", "runtime": "none", "precision": "none"}
FULL = Answer(None, "No space left on device.")


class Scripted:
    """Workers with scripted failures: a cause for a case, or for all cases (""); otherwise success."""

    def __init__(self, answers: Mapping[tuple[str, str], Any], addresses: str) -> None:
        self._answers, self._addresses, self._unfit = answers, {*addresses}, set[str]()
        self.given: list[str] = []

    def close(self) -> None:
        """Do nothing."""

    def submit(self, worker: str, function: Any, *arguments: Any) -> tuple[str, str]:
        name = arguments[1].name if function is cluster_worker.segment_on_worker else ""
        self.given += [f"{name} to {worker}"] if name else []
        return worker, name

    def run_on_all(self, function: Any, *arguments: Any) -> list[bool]:
        return [True]

    def ready(self) -> set[str]:
        return self._addresses - self._unfit

    wait_until_ready = ready

    def wait_for_ended(self, given: Mapping[Any, str]) -> Iterator[Any]:
        return iter(list(given))

    def dismiss(self, worker: str, reason: str) -> None:
        self._unfit.add(worker)

    def result(self, future: tuple[str, str], worker: str) -> Any:
        _, name = future
        if not name:
            return self._answers.get((worker, "first"), (__version__, OPTIONS))
        done: Any = object()
        answer = self._answers.get((worker, name), self._answers.get((worker, ""), Answer(done)))
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def run(texts: Texts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[list[str], list[str]]]:
    """Run cases named by letters on scripted workers; returns which worker got which case, and lines for failures."""

    def ran(names: str, answers: Mapping[tuple[str, str], Any], addresses: str = "AB") -> tuple[list[str], list[str]]:
        workers = Scripted(answers, addresses)
        monkeypatch.setattr("custom_networks.batch.cluster.Workers", lambda address: workers)
        with Cluster(TextWork(tmp_path / "out", {}), "tcp://host:1") as cluster:
            outcomes = list(cluster.outcomes(texts(**{name: name for name in names})))
        assert sorted(outcome.case.name for outcome in outcomes) == sorted(names)
        return workers.given, [outcome.message for outcome in outcomes if outcome.message]

    return ran


def test_a_case_that_failed_goes_to_another_worker(run: Callable[..., Any]) -> None:
    assert run("a", {("A", "a"): FULL}) == (["a to A", "a to B"], [])


def test_a_case_is_given_up_after_three_tries_with_its_reasons(run: Callable[..., Any], tmp_path: Path) -> None:
    given, messages = run("ab", {("A", "a"): None, ("B", "a"): FULL})
    assert given == ["a to A", "b to B", "a to B", "a to A"]
    gone = "The worker at A is gone (often because memory is short; see its log)."
    assert messages == [f"{tmp_path}/in/a.nii.gz was tried 3 times. {gone} No space left on device."]


def test_a_refused_input_is_tried_once(run: Callable[..., Any]) -> None:
    assert run("a", {("A", "a"): Answer(None, "a is damaged.", refused=True)}) == (["a to A"], ["a is damaged."])


def test_a_worker_that_cannot_segment_gets_no_more_cases(run: Callable[..., Any]) -> None:
    given, messages = run("abc", {("A", ""): Answer(None, "it has no weights.", unfit=True)})
    assert (given, messages) == (["a to A", "b to B", "c to B", "a to B"], [])


def test_a_worker_that_cannot_be_reached_gets_no_more_cases(run: Callable[..., Any]) -> None:
    given, messages = run("abc", {("A", ""): ModuleNotFoundError("No module named 'custom_networks'")})
    assert (given, messages) == (["a to A", "b to B", "c to B", "a to B"], [])


def test_a_first_worker_that_dies_or_has_another_version_ends_the_run_before_it_begins(run: Callable[..., Any]) -> None:
    answers: dict[tuple[str, str], Any] = {("A", "first"): None}
    with pytest.raises(UsageError, match="The workers at tcp://host:1 stopped before the first case"):
        run("a", answers, "A")
    with pytest.raises(UsageError, match=f"The worker at A has version 0.0.1, but this is {__version__}"):
        run("a", {("A", "first"): ("0.0.1", OPTIONS)})


def test_the_reason_why_the_first_worker_cannot_segment_is_reported(run: Callable[..., Any]) -> None:
    with pytest.raises(BundleError, match="The worker at A cannot segment: No weights at"):
        run("a", {("A", "first"): BundleError("No weights at x.")})


def test_a_worker_returns_why_it_cannot_segment_and_raises_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(work: Work, run: str) -> None:
        error = BundleError("No weights at x.")
        raise error from error  # a circle of causes, which Dask would follow for ever

    monkeypatch.setattr(cluster_worker, "_pipeline", fail)
    assert str(cluster_worker.capability(TextWork(tmp_path, {}), "run")) == "No weights at x."
    answer = cluster_worker.segment_on_worker(
        Order("run", TextWork(tmp_path, {}), __version__, {}, None), TextCase("a", "a")
    )
    assert (answer.message, answer.unfit) == ("No weights at x.", True)


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"version": "0.0.1"}, f"it has version {__version__}, but the run needs 0.0.1"),
        ({"options": {**OPTIONS, "weights": "other"}}, "it differs from the first worker in weights"),
        ({"run": "another"}, "it cannot access .*, or may not write there"),
    ],
)
def test_a_worker_that_differs_from_the_run_is_rejected(
    change: dict[str, Any], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_worker, "_pipeline", lambda work, run: work.pipeline())
    monkeypatch.setattr("custom_networks.batch.run.write", None)  # put back after the test: TextWork replaces it
    (tmp_path / ".staged").mkdir()
    probe = tmp_path / ".staged" / "probe"
    probe.write_text("run")
    order = Order("run", TextWork(tmp_path, {}), __version__, OPTIONS, probe)
    cluster_worker._checked_pipeline(order)
    with pytest.raises(UsageError, match=reason):
        cluster_worker._checked_pipeline(order._replace(**change))


def test_a_volume_that_was_read_ahead_is_not_counted_again(texts: Texts, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, (case,) = Cluster.__new__(Cluster), texts(a="a")
    cluster._order = Order("run", TextWork(Path(), {}), __version__, {}, None)
    monkeypatch.setattr("custom_networks.batch.cluster.available_memory", lambda: 0)
    monkeypatch.setattr(TextCase, "voxels", 1)
    busy: Any = {"future": _Pending(case)}
    assert not cluster._has_memory(_Pending(case), busy)
    assert cluster._has_memory(_Pending(case), {})
    assert cluster._has_memory(_Pending(case, read=object()), busy)  # type: ignore
