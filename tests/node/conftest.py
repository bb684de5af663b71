"""Small studies, and settings for nodes that listen on separate ports."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from node_accounts import ACCOUNTS, table
from node_scene import as_study, phantom_slices
from pydicom.dataset import Dataset

pytest.importorskip("pynetdicom", reason="pip install pynetdicom")

from custom_networks.node.settings import Settings  # noqa: E402

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="session", autouse=True)
def importable_elsewhere() -> None:
    """Let processes forked for a node import the package and this folder's modules."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE.parents[1]), str(HERE), os.environ.get("PYTHONPATH", "")])


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], list[Dataset]]:
    """The eight slices of study n."""
    slices = phantom_slices(tmp_path_factory.mktemp("phantom") / "series")
    return lambda number: as_study(slices, number)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    """Settings of a node in tmp_path that considers a study complete after a second, and polls often."""
    monkeypatch.setattr("custom_networks.node.node.TICK", 0.05)

    def make(**others: object) -> Settings:
        usual = {"port": 0, "http_port": None, "quiet_seconds": 1.0, "first_pause": 0.2}
        return Settings(tmp_path / "out", tmp_path / "spool", **{**usual, **others})  # type: ignore[arg-type]

    return make


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what became of images and results, as a table."""
    if ACCOUNTS:
        terminalreporter.section("images and results after faults")
        for line in table(ACCOUNTS):
            terminalreporter.write_line(line)
