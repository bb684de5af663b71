"""How many cases fit into memory at once: how much there is, and how much a case takes."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from custom_networks.io import Case

# Bytes, more than what whole processes were measured to take (docs/performance.md): wider voxels, PyTorch in place of
# OpenVINO, and livers that fill more of the scan take more.
PROCESS = 1_200_000_000  # libraries and networks of a process
SLAB = 1_400_000_000  # what the layers may take while slabs are run, by the inferer's own budget
ANSWERED = 14  # a voxel of the case that is being answered
HELD = 8  # a voxel of a case that was read ahead or is being written
USABLE = 0.9  # of what is free


class Room:
    """Whether cases fit into the memory that was free when it was made, beside the process itself.

    Args:
        available: bytes; None where that is not known, and then no two cases fit.
    """

    def __init__(self, available: int | None) -> None:
        self._most = 0 if available is None else int(available * USABLE)

    def __call__(self, answered: Case, *held: Case) -> bool:
        """Whether one case can be answered while others are read or written."""
        return SLAB + ANSWERED * answered.voxels + HELD * sum(case.voxels for case in held) <= self._most


def fitting_processes(wanted: int, cases: Sequence[Case], available: int | None) -> int:
    """How many processes have room for the largest case each: at least one, and all where free memory is not known."""
    if available is None:
        return wanted
    each = PROCESS + SLAB + ANSWERED * max((case.voxels for case in cases), default=0)
    return max(1, min(wanted, int(available * USABLE) // each))


def available_memory(
    info: Path = Path("/proc/meminfo"), own: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> int | None:
    """Bytes that this process can still take: of the machine, and of each control group above it; None if not known."""
    free = [int(line.split()[1]) << 10 for line in _lines(info) if line.startswith("MemAvailable:")]
    return min([*free, *_left_in_groups(own, root)], default=None)


def _left_in_groups(own: Path, root: Path) -> Iterator[int]:
    """Bytes left in each control group of this process that has a limit (versions 1 and 2)."""
    for line in _lines(own):
        _, controllers, path = (line.split(":", 2) + ["", ""])[:3]
        group = Path(path.lstrip("/"))
        for place in (group, *group.parents):
            if not controllers:
                names = root / place / "memory.max", root / place / "memory.current"
            elif "memory" in controllers.split(","):
                limit = "memory.limit_in_bytes"
                names = root / "memory" / place / limit, root / "memory" / place / "memory.usage_in_bytes"
            else:
                break
            numbers = [line for name in names for line in _lines(name)[:1] if line.isdecimal()]
            if len(numbers) == 2:
                yield max(0, int(numbers[0]) - int(numbers[1]))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:  # another system, or a limit that is not set
        return []
