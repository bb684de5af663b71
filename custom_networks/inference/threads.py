"""How many cores this process may use, given its scheduler, container and user."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """The number of cores allowed by affinity mask, CPU quotas of control groups and OMP_NUM_THREADS; at least 1."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    limits = [affinity, *map(math.ceil, _quotas()), *([int(wanted)] if wanted.isdecimal() else [])]
    return max(1, min(limits))


def _quotas(groups: Path = Path("/proc/self/cgroup"), root: Path = _CGROUPS) -> Iterator[float]:
    """Yield the CPU limits, in cores, of this process's control groups and their parents (cgroup v1 and v2)."""
    for line in _text(groups).splitlines():
        _, controllers, path = (line.split(":", 2) + ["", ""])[:3]
        own = Path(path.lstrip("/"))
        for group in (own, *own.parents):
            if not controllers:
                quota, _, period = _text(root / group / "cpu.max").partition(" ")
            elif "cpu" in controllers.split(","):
                quota = _text(root / "cpu" / group / "cpu.cfs_quota_us")
                period = _text(root / "cpu" / group / "cpu.cfs_period_us")
            else:
                break
            if quota.strip().isdecimal() and period.strip().isdecimal() and int(period):
                yield int(quota) / int(period)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:  # another operating system, or no limit
        return ""
