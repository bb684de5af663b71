"""One of several equal parts of the work, for machines that know nothing of each other."""

import os
import re
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from custom_networks.errors import UsageError

T = TypeVar("T")


class Shard(NamedTuple):
    """Part `number`, counted from 1, of `parts`."""

    number: int
    parts: int

    def of(self, things: Sequence[T]) -> list[T]:
        """Its share: every `parts`-th of them, from its own number on."""
        return list(things[self.number - 1 :: self.parts])


def shard_of(text: str) -> Shard:
    """The shard that `--shard i/N` names; raises UsageError if it is not valid."""
    matched = re.fullmatch(r"(\d+)/(\d+)", text)
    shard = Shard(int(matched[1]), int(matched[2])) if matched else None
    if shard is None or not 1 <= shard.number <= shard.parts:
        raise UsageError(
            f"--shard is i/N with i from 1 to N, such as 3/8, got {text!r}: number the tasks of an array from 1."
        )
    return shard


def own_inputs(shard: Shard | None, inputs: Sequence[str]) -> tuple[list[str], Shard | None]:
    """The inputs to look at, and the shard that must still be taken of their cases, if any.

    Where there are at least as many inputs as shards, each shard looks only at its own.
    """
    if shard and len(inputs) >= shard.parts:
        return shard.of(inputs), None
    return list(inputs), shard


def absolute(inputs: Sequence[str]) -> list[str]:
    """The inputs by paths that mean the same in any folder, and on any machine that shares them."""
    return [os.path.abspath(os.path.expanduser(path)) if path.strip() else path for path in inputs]
