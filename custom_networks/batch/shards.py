"""Split the inputs of a run into shards for machines that do not communicate, as in a SLURM job array."""

import os
import re
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from custom_networks.errors import UsageError

T = TypeVar("T")


class Shard(NamedTuple):
    """Shard `number` (from 1) of `parts`."""

    number: int
    parts: int

    def of(self, things: Sequence[T]) -> list[T]:
        """Return this shard's elements: every `parts`-th one, starting with element `number`."""
        return list(things[self.number - 1 :: self.parts])


def shard_of(text: str) -> Shard:
    """Parse the value of `--shard`, "i/N"; raises UsageError if it is not valid."""
    matched = re.fullmatch(r"(\d+)/(\d+)", text)
    shard = Shard(int(matched[1]), int(matched[2])) if matched else None
    if shard is None or not 1 <= shard.number <= shard.parts:
        raise UsageError(
            f"--shard must be i/N with i from 1 to N, such as 3/8, got {text!r}: number the "
            "tasks of a job array from 1."
        )
    return shard


def own_inputs(shard: Shard | None, inputs: Sequence[str]) -> tuple[list[str], Shard | None]:
    """Return the inputs whose cases this process must list, and the shard that it must then apply to the cases.

    If there are at least as many inputs as shards, the inputs are split and the returned shard is None. Otherwise every
    shard lists all inputs, and the cases are split. Without a shard, all inputs and None are returned.
    """
    if shard and len(inputs) >= shard.parts:
        return shard.of(inputs), None
    return list(inputs), shard


def absolute(inputs: Sequence[str]) -> list[str]:
    """Return the inputs as absolute paths, for machines that mount the same folders; blank inputs are kept."""
    return [os.path.abspath(os.path.expanduser(path)) if path.strip() else path for path in inputs]
