"""Which results count as sent, and when failed ones are sent again."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from pydicom.dataset import Dataset

from custom_networks.node import sending
from custom_networks.node.peers import destination
from custom_networks.node.sending import LONGEST_PAUSE, Backoff, NotReached, NotSent, Sender
from custom_networks.node.spool import Spool
from custom_networks.node.study import DONE, Version

TO = destination("PACS@pacs:104")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A list whose only element is the current time."""
    now = [100.0]
    monkeypatch.setattr(sending.time, "monotonic", lambda: now[0])
    return now


def test_pauses_double_up_to_a_maximum(clock: list[float]) -> None:
    pauses = Backoff(5.0)
    lengths = [pauses.start("it") for _ in range(10)]
    assert lengths[:4] == [5.0, 10.0, 20.0, 40.0]
    assert lengths[-1] == LONGEST_PAUSE == 600.0


def test_a_pause_applies_to_one_item_and_ends(clock: list[float]) -> None:
    pauses = Backoff(5.0)
    pauses.start("it")
    assert (pauses.is_active("it"), pauses.is_active("other")) == (True, False)
    clock[0] += 5.0
    assert not pauses.is_active("it")
    assert pauses.start("it") == 10.0
    pauses.clear("it", "other")
    assert not pauses.is_active("it")
    assert pauses.start("it") == 5.0


def store(status: int | None) -> list[Dataset]:
    """Send an object to a peer that responds with a status, or not at all; return what the peer received."""
    answer, got = Dataset(), list[Dataset]()
    if status is not None:
        answer.Status = status
    sending._store(SimpleNamespace(send_c_store=lambda dataset: got.append(dataset) or answer), Dataset())
    return got


@pytest.mark.parametrize("status", [0x0000, 0x0107, 0xB000, 0xB006])
def test_success_and_warnings_count_as_stored(status: int) -> None:
    assert len(store(status)) == 1  # anything else raises


@pytest.mark.parametrize("status, error", [(0xA700, NotSent), (0xC001, NotSent), (None, NotReached)])
def test_refusals_and_silence_do_not_count_as_stored(status: int | None, error: type[Exception]) -> None:
    with pytest.raises(error):
        store(status)


@pytest.mark.parametrize("raised, error", [(RuntimeError, NotReached), (ValueError, NotSent)])
def test_a_closed_association_pauses_the_destination_and_a_refused_class_the_result(
    raised: type[Exception], error: type[Exception]
) -> None:
    def fail(dataset: Dataset) -> None:
        raise raised

    with pytest.raises(NotSent) as caught:
        sending._store(SimpleNamespace(send_c_store=fail), Dataset())
    assert type(caught.value) is error


@pytest.mark.parametrize("error, tries", [(NotReached("no answer"), ["a"]), (NotSent("status 0xA700"), ["a", "b"])])
def test_sending_pauses_if_a_destination_is_down_but_not_after_a_refusal(
    error: NotSent, tries: list[str], tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path / "spool")
    for key in ("a", "b"):
        spool.put(key, Version(1, DONE, (), closed=ord(key), files=("1_seg.dcm",), unsent=(str(TO),)))
    tried: list[str] = []

    def fail(self: Sender, paths: list[Path]) -> None:
        tried.append(paths[0].parts[-3])
        raise error

    monkeypatch.setattr(Sender, "_send", fail)
    sender = Sender(spool, tmp_path / "out", "LIVERSEG", TO, first_pause=5.0)
    assert (sender.send_due(), tried) == (0, tries)
    assert (sender.send_due(), tried) == (0, tries)  # all of them pause
    clock[0] += 5.0
    sender.send_due()
    assert tried == tries * 2
