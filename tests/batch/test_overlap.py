"""Reading, segmenting and writing of several cases overlap, in order, if there is enough memory."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from custom_networks.batch.overlap import overlapped

Step = Callable[..., Any]


def always(*cases: int) -> bool:
    return True


def never(*cases: int) -> bool:
    return False


def steps(log: list[str], fail: dict[str, int] | None = None) -> dict[str, Step]:
    """Three steps that record when they begin and end; a step fails for one case."""

    def step(name: str, case: int) -> str:
        log.append(f"{name} {case}")
        if (fail or {}).get(name) == case:
            raise ValueError(f"no {name} of {case}")
        log.append(f"end {name} {case}")
        return f"{name} {case}"

    return {
        "read": lambda case: step("read", case),
        "process": lambda case, read: step("process", case),
        "write": lambda case, answer: step("write", case),
    }


@pytest.mark.parametrize("fit", [always, never])
def test_every_case_has_one_result_in_order(fit: Step) -> None:
    given = list(overlapped([1, 2, 3], **steps([]), fit=fit))
    assert given == [(1, "write 1"), (2, "write 2"), (3, "write 3")]
    assert list(overlapped([], **steps([]), fit=fit)) == []


def test_the_next_case_is_read_and_the_previous_one_written_while_a_case_is_segmented() -> None:
    reached = {name: threading.Event() for name in ("read 2", "answer 1", "write 1", "answer 2")}

    def meet(own: str, other: str) -> str:
        reached[own].set()
        assert reached[other].wait(10), f"{own} without {other}"
        return own

    given = overlapped(
        [1, 2],
        read=lambda case: meet("read 2", "answer 1") if case == 2 else "read 1",
        process=lambda case, read: meet("answer 1", "read 2") if case == 1 else meet("answer 2", "write 1"),
        write=lambda case, answer: meet("write 1", "answer 2") if case == 1 else "write 2",
        fit=always,
    )
    assert list(given) == [(1, "write 1"), (2, "write 2")]


def test_without_memory_for_two_cases_nothing_overlaps() -> None:
    log: list[str] = []
    list(overlapped([1, 2, 3], **steps(log), fit=never))
    each = [[f"{step} {case}", f"end {step} {case}"] for case in (1, 2, 3) for step in ("read", "process", "write")]
    assert log == [entry for pair in each for entry in pair]


def test_three_cases_are_in_memory_only_if_there_is_room_for_three() -> None:
    asked: list[tuple[int, ...]] = []

    def two(*cases: int) -> bool:
        asked.append(cases)
        return len(cases) < 3

    assert len(list(overlapped([1, 2, 3], **steps([]), fit=two))) == 3
    assert (2, 3, 1) in asked  # 2 is answered, 3 would be read, 1 is written


@pytest.mark.parametrize("fit", [always, never])
@pytest.mark.parametrize("step", ["read", "process", "write"])
def test_a_case_that_fails_at_a_step_costs_no_other(step: str, fit: Step) -> None:
    given = dict(overlapped([1, 2, 3], **steps([], {step: 2}), fit=fit))
    assert repr(given.pop(2)) == repr(ValueError(f"no {step} of 2"))
    assert given == {1: "write 1", 3: "write 3"}


def test_on_interruption_the_case_being_written_is_finished() -> None:
    log: list[str] = []

    def slowly(case: int, answer: str) -> None:
        time.sleep(0.2)
        log.append(f"written {case}")

    def answer(case: int, read: int) -> str:
        if case == 2:
            raise KeyboardInterrupt
        return "answer"

    with pytest.raises(KeyboardInterrupt):
        list(overlapped([1, 2, 3], read=lambda case: case, process=answer, write=slowly, fit=always))
    assert log == ["written 1"]
