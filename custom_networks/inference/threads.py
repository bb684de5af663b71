"""How many cores this process may use: what scheduler, container and user leave to it."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Cores that the affinity mask, the CPU quota of the control groups and OMP_NUM_THREADS leave, at least one."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    limits = [affinity, *map(math.ceil, _quotas()), *([int(wanted)] if wanted.isdecimal() else [])]
    return max(1, min(limits))


def _quotas(groups: Path = Path("/proc/self/cgroup"), root: Path = _CGROUPS) -> Iterator[float]:
    """Cores that each control group above this process may use at once, where it has a limit (versions 1 and 2)."""
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
    except OSError:  # another system, or a limit that is not set
        return ""
