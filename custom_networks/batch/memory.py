"""Estimate how many cases fit into memory at once."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from custom_networks.io import Case

# In bytes. These exceed the peaks measured for whole processes (docs/performance.md), because wider voxel types,
# PyTorch instead of OpenVINO, and livers that fill more of the scan need more.
PROCESS = 1_200_000_000  # libraries and networks of one process
SLAB = 1_400_000_000  # activations while slabs are run; the inferer's own budget
VOXEL_SEGMENTED = 14  # per voxel of the case being segmented
VOXEL_HELD = 8  # per voxel of a case that was read ahead or is being written
USABLE = 0.9  # fraction of the free memory


class Room:
    """A function object that tells whether cases fit into the available memory together.

    Args:
        available: available memory in bytes, or None if unknown; then nothing fits.
    """

    def __init__(self, available: int | None) -> None:
        self._most = 0 if available is None else int(available * USABLE)

    def __call__(self, segmented: Case, *held: Case) -> bool:
        """Whether the first case can be segmented while the others are in memory."""
        return SLAB + VOXEL_SEGMENTED * segmented.voxels + VOXEL_HELD * sum(case.voxels for case in held) <= self._most


def fitting_processes(wanted: int, cases: Sequence[Case], available: int | None) -> int:
    """How many processes, at most `wanted`, have enough memory to segment the largest case all at the same time.

    The result is at least 1, and `wanted` if the available memory (bytes) is unknown.
    """
    if available is None:
        return wanted
    each = PROCESS + SLAB + VOXEL_SEGMENTED * max((case.voxels for case in cases), default=0)
    return max(1, min(wanted, int(available * USABLE) // each))


def available_memory(
    info: Path = Path("/proc/meminfo"), own: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> int | None:
    """Memory in bytes that this process can still allocate, or None if unknown.

    The smallest of the amounts left on the machine and in each of the process's control groups.
    """
    free = [int(line.split()[1]) << 10 for line in _lines(info) if line.startswith("MemAvailable:")]
    return min([*free, *_left_in_groups(own, root)], default=None)


def _left_in_groups(own: Path, root: Path) -> Iterator[int]:
    """Yield the bytes left in each control group (v1 or v2) of this process, or parent of one, that has a limit."""
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
    except OSError:  # not Linux, or no limit is set
        return []
