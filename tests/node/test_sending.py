"""When what failed is tried again."""

import pytest

from custom_networks.node import sending
from custom_networks.node.sending import LONGEST_PAUSE, Pauses


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in its only element."""
    now = [100.0]
    monkeypatch.setattr(sending.time, "monotonic", lambda: now[0])
    return now


def test_pauses_double_up_to_a_maximum(clock: list[float]) -> None:
    pauses = Pauses(5.0)
    lengths = [pauses.begin("it") for _ in range(10)]
    assert lengths[:4] == [5.0, 10.0, 20.0, 40.0]
    assert lengths[-1] == LONGEST_PAUSE == 600.0


def test_a_pause_applies_to_one_item_and_ends(clock: list[float]) -> None:
    pauses = Pauses(5.0)
    pauses.begin("it")
    assert (pauses.is_on("it"), pauses.is_on("other")) == (True, False)
    clock[0] += 5.0
    assert not pauses.is_on("it")
    assert pauses.begin("it") == 10.0
    pauses.end("it", "other")
    assert not pauses.is_on("it")
    assert pauses.begin("it") == 5.0
