"""Split the inputs of a run into shards for machines that do not communicate, such as tasks of a SLURM array."""

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
            f"--shard must be i/N with i from 1 to N, such as 3/8, got {text!r}: number the tasks of an array from 1."
        )
    return shard


def own_inputs(shard: Shard | None, inputs: Sequence[str]) -> tuple[list[str], Shard | None]:
    """Return the inputs to list, and the shard to apply to their cases, or None if the inputs were split.

    The inputs are split if there are at least as many as shards. Otherwise all of them are listed by every shard, and
    their cases are split.
    """
    if shard and len(inputs) >= shard.parts:
        return shard.of(inputs), None
    return list(inputs), shard


def absolute(inputs: Sequence[str]) -> list[str]:
    """Return the inputs as absolute paths, which are valid on any machine that mounts the same folders."""
    return [os.path.abspath(os.path.expanduser(path)) if path.strip() else path for path in inputs]
