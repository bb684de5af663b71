"""Shards of a batch are disjoint and together contain all inputs."""

import pytest

from custom_networks.batch.shards import Shard, own_inputs, shard_of
from custom_networks.errors import UsageError


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 12])
def test_shards_are_disjoint_of_equal_size_and_complete(parts: int) -> None:
    shares = [shard_of(f"{number}/{parts}").of(range(10)) for number in range(1, parts + 1)]
    assert sorted(thing for share in shares for thing in share) == list(range(10))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_shard_reads_only_its_own_inputs() -> None:
    assert own_inputs(Shard(2, 3), ["a", "b", "c", "d", "e"]) == (["b", "e"], None)
    assert own_inputs(Shard(2, 3), ["a", "b"]) == (["a", "b"], Shard(2, 3))  # of their cases
    assert own_inputs(None, ["a", "b"]) == (["a", "b"], None)


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/0", "-1/3", "1/3/5", "a/b", "", "1.0/3"])
def test_an_invalid_shard_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--shard must be i/N with i from 1 to N, such as 3/8, got"):
        shard_of(text)
