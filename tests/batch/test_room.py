"""How many cases and processes fit into memory."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from custom_networks.batch.memory import (
    PROCESS,
    SLAB,
    USABLE,
    VOXEL_HELD,
    VOXEL_SEGMENTED,
    Room,
    available_memory,
    fitting_processes,
)


def case(voxels: int) -> Any:
    return SimpleNamespace(voxels=voxels)


def test_cases_read_ahead_count_towards_memory() -> None:
    least = int((SLAB + 10 * VOXEL_SEGMENTED + 7 * VOXEL_HELD) / USABLE) + 1
    assert Room(least)(case(10), case(3), case(4))
    assert not Room(least)(case(10), case(3), case(5))
    assert not Room(None)(case(0))


@pytest.mark.parametrize("room_for, processes", [(0, 1), (1, 1), (3, 3), (9, 4)])
def test_jobs_are_cut_to_what_the_largest_case_leaves_memory_for(room_for: int, processes: int) -> None:
    each = PROCESS + SLAB + 1000 * VOXEL_SEGMENTED
    available = int(room_for * each / USABLE) + 10
    assert fitting_processes(4, [case(10), case(1000)], available) == processes


def test_if_free_memory_is_unknown_the_requested_number_is_used() -> None:
    assert fitting_processes(4, [case(10)], None) == 4


def test_free_memory_is_the_minimum_of_machine_and_control_groups(tmp_path: Path) -> None:
    files = {
        "meminfo": "MemTotal: 9000 kB\nMemAvailable: 8000 kB\n",
        "groups": "4:memory:/docker\n0::/pod/box\n",
        "fs/memory.max": "max",
        "fs/memory.current": "5",
        "fs/pod/memory.max": "5000000",
        "fs/pod/memory.current": "1000000",
        "fs/pod/box/memory.max": "7000000",
        "fs/pod/box/memory.current": "900000",
        "fs/memory/docker/memory.limit_in_bytes": "4500000",
        "fs/memory/docker/memory.usage_in_bytes": "100000",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    here = {name: tmp_path / name for name in ("meminfo", "groups", "none", "fs")}
    assert available_memory(here["meminfo"], here["groups"], here["fs"]) == 4_000_000
    assert available_memory(here["meminfo"], here["none"], here["fs"]) == 8000 * 1024
    assert available_memory(here["none"], here["none"], here["fs"]) is None
