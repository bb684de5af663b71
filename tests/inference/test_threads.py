"""The number of threads is that of the cores that the process may use."""

import os
from pathlib import Path

import pytest

from custom_networks.inference import threads


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def test_the_affinity_mask_limits_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_quotas", lambda: [])
    assert threads.usable_cores() == 8
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3})
    assert threads.usable_cores() == 1


@pytest.mark.parametrize("quotas, cores", [([2.5], 3), ([0.2], 1), ([4.0, 2.0], 2), ([64.0], 8)])
def test_a_containers_quota_limits_the_cores(quotas: list[float], cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_quotas", lambda: quotas)
    assert threads.usable_cores() == cores


@pytest.mark.parametrize("text, cores", [("3", 3), ("3,2", 3), ("0", 1), ("many", 8), ("", 8)])
def test_the_users_thread_count_limits_the_cores(text: str, cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_quotas", lambda: [])
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    assert threads.usable_cores() == cores


def test_quotas_of_this_group_and_of_those_above_it_are_read_in_both_versions(tmp_path: Path) -> None:
    files = {
        "fs/cpu.max": "max 100000",
        "fs/pod/cpu.max": "400000 100000",
        "fs/pod/box/cpu.max": "150000 100000",
        "fs/cpu/docker/cpu.cfs_quota_us": "250000",
        "fs/cpu/docker/cpu.cfs_period_us": "100000",
        "fs/cpu/cpu.cfs_quota_us": "-1",
        "fs/cpu/cpu.cfs_period_us": "100000",
        "groups": "4:memory:/docker\n3:cpu,cpuacct:/docker\n0::/pod/box\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert list(threads._quotas(tmp_path / "groups", tmp_path / "fs")) == [2.5, 1.5, 4.0]
    assert list(threads._quotas(tmp_path / "none", tmp_path / "fs")) == []
