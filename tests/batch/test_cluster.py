"""Cases on the workers of a Dask cluster: a real scheduler and real workers on this machine."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from text_cases import TextCase, TextWork

from custom_networks.batch.cluster_workers import Workers
from custom_networks.batch.start import opened, to_do
from custom_networks.batch.verify import verified
from custom_networks.errors import ClusterLost, UsageError
from custom_networks.io import Case

pytest.importorskip("distributed", reason="Dask is not installed")

Texts = Callable[..., list[Case]]
ROOT = Path(__file__).resolve().parents[2]


class Machines:
    """A scheduler with its workers, as processes on this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.processes = folder, dict[str, subprocess.Popen[bytes]]()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
        port = self.address.rpartition(":")[2]
        self.start("scheduler", "scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard", "--no-jupyter")
        while True:
            with socket.socket() as knock:
                if not knock.connect_ex(("127.0.0.1", int(port))):
                    return
            assert self.processes["scheduler"].poll() is None, (folder / "scheduler.log").read_text()
            time.sleep(0.2)

    def start(self, name: str, kind: str, *arguments: str) -> None:
        paths = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
        environment = {**os.environ, "PYTHONPATH": paths}
        command = [sys.executable, "-m", "dask", kind, *arguments]
        with (self._folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, cwd=self._folder, start_new_session=True
            )

    def add_worker(self, name: str, *arguments: str) -> None:
        flags = ("--nthreads", "1", "--no-dashboard", "--name", name, "--local-directory", str(self._folder))
        self.start(name, "worker", self.address, *flags, *arguments)

    def kill(self, name: str) -> None:
        self.processes[name].send_signal(signal.SIGKILL)
        self.processes[name].wait()


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    """A scheduler without workers."""
    started = Machines(tmp_path)
    yield started
    for process in started.processes.values():
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # a worker's nanny and its child, too
        process.wait()


@contextmanager
def cluster(machines: Machines, output: Path) -> Iterator[Any]:
    with opened(TextWork(output, {}), cluster=machines.address) as runner:
        yield runner


def run_over(machines: Machines, output: Path, cases: list[Case]) -> dict[str, str]:
    """Run the cases; returns "" or the error message of each."""
    with cluster(machines, output) as runner:
        return {outcome.case.name: outcome.message for outcome in runner.outcomes(cases)}


@pytest.mark.slow
def test_a_worker_that_dies_costs_no_other_case(texts: Texts, tmp_path: Path, machines: Machines) -> None:
    machines.add_worker("one")
    machines.add_worker("two")
    cases = texts(a="1", b="die once", c="2", d="bad", e="3", f="die")
    messages = run_over(machines, tmp_path / "out", cases)
    assert {name for name, message in messages.items() if not message} == {"a", "b", "c", "e"}
    assert "in/d.nii.gz is damaged: copy it again." in messages["d"]
    assert "in/f.nii.gz was tried 3 times. The worker at tcp://127.0.0.1:" in messages["f"]
    found = verified(tmp_path / "out")
    assert (found.folders, found.refused, found.faults) == (4, 2, ())


@pytest.mark.slow
def test_a_lost_scheduler_ends_the_run_in_one_line_and_a_rerun_continues(
    texts: Texts, tmp_path: Path, machines: Machines
) -> None:
    machines.add_worker("one", "--no-nanny")
    cases = texts(a="1", b="2", c="wait 300", d="3")
    done = []
    with pytest.raises(ClusterLost, match=rf"Dask scheduler at {machines.address} is lost: .* again for the rest"):
        with cluster(machines, tmp_path / "out") as runner:
            for outcome in runner.outcomes(cases):
                done.append(outcome.case.name)
                if outcome.case.name == "b":
                    machines.kill("scheduler")
    assert done == ["a", "b"]
    cases = [TextCase(case.name, case.source) for case in texts(a="1", b="2", c="4", d="3")]
    work = TextWork(tmp_path / "out", {})
    with opened(work, jobs=2) as here:
        reasons = to_do(work, cases, {})  # what the manifests of these texts state
        assert [case.name for case in reasons] == ["c", "d"], reasons
        assert all(outcome.result for outcome in here.outcomes(list(reasons)))
    found = verified(tmp_path / "out")
    assert (found.folders, found.faults) == (4, ())


@pytest.mark.slow
def test_losing_the_last_worker_ends_the_run_after_a_wait(
    texts: Texts, tmp_path: Path, machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines.add_worker("one", "--no-nanny")
    (case,) = texts(a="wait 300")

    def kill_at_work() -> None:
        while not Path(f"{case.source}.tried").exists():
            time.sleep(0.1)
        monkeypatch.setattr("custom_networks.batch.cluster_workers.WORKERS_WITHIN", 3.0)
        machines.kill("one")

    killer = threading.Thread(target=kill_at_work)
    killer.start()
    with pytest.raises(ClusterLost, match="has no workers: start one with `dask worker tcp://127.0.0.1"):
        run_over(machines, tmp_path / "out", [case])
    killer.join()


def test_an_unreachable_scheduler_is_a_usage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("custom_networks.batch.cluster_workers.CONNECTED_WITHIN", 0.5)
    with pytest.raises(UsageError, match=r"No Dask scheduler answers at tcp://127.0.0.1:9 .*: start one with"):
        with opened(TextWork(tmp_path / "out", {}), cluster="tcp://127.0.0.1:9"):
            pytest.fail("connected to nothing")


@pytest.mark.parametrize("worker, result, waited", [("gone", None, [2.0]), ("slow", "answer", [2.0, 4.0])])
def test_a_result_is_awaited_as_long_as_its_worker_exists(worker: str, result: Any, waited: list[float]) -> None:
    tried: list[float] = []

    def fetched(seconds: float) -> str:
        tried.append(seconds)
        if len(tried) == 1:
            raise asyncio.TimeoutError
        return "answer"

    workers, connected = Workers.__new__(Workers), {"workers": {"slow": {"status": "running"}}}
    workers._client = SimpleNamespace(status="running", scheduler_info=lambda n_workers: connected)
    assert (workers.result(SimpleNamespace(result=fetched), worker), tried) == (result, waited)
