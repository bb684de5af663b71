"""While one case is answered, the next is read and the one before is written, where memory has room for them."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import zip_longest
from typing import Any, TypeVar

C = TypeVar("C")
R = TypeVar("R")
A = TypeVar("A")
W = TypeVar("W")


def overlapped(
    cases: Sequence[C],
    read: Callable[[C], R],
    answer: Callable[[C, R], A],
    write: Callable[[C, A], W],
    fit: Callable[..., bool],
) -> Iterator[tuple[C, W | Exception]]:
    """For each case, in order: what `write` returned, or the exception that any step raised.

    `answer` runs in the calling thread, one case at a time; `read` and `write` have a thread each. The outcome of a
    case usually comes only after the next one has been answered.

    Args:
        cases: the cases, in order.
        read: the first step.
        answer: the second step; gets the case and what `read` returned.
        write: the last step; gets the case and its answer.
        fit: whether the first case can be answered while the others are read or written.
    """
    ahead: Future[R] | None = None
    behind: tuple[C, Future[W]] | None = None
    with ThreadPoolExecutor(1, "reading") as reader, ThreadPoolExecutor(1, "writing") as writer:
        for case, following in zip_longest(cases, cases[1:]):
            if behind and not fit(case, behind[0]):
                yield _ended(*behind)
                behind = None
            reading = ahead or reader.submit(read, case)
            held = (behind[0],) if behind else ()
            fits = following is not None and fit(case, following, *held)
            ahead = reader.submit(read, following) if fits else None  # begins once this case is read
            answered = _answered(answer, case, reading)
            del reading
            if behind:
                yield _ended(*behind)
                behind = None
            if isinstance(answered, Exception):
                yield case, answered
            else:
                behind = case, writer.submit(write, case, answered)
            del answered  # the writer has it, and lets it go
        if behind:
            yield _ended(*behind)


def _answered(answer: Callable[[C, R], A], case: C, reading: "Future[R]") -> A | Exception:
    try:
        return answer(case, reading.result())
    except Exception as error:  # the other cases are still to be done, whatever is wrong with this one
        return error


def _ended(case: C, writing: "Future[Any]") -> tuple[C, Any]:
    try:
        return case, writing.result()
    except Exception as error:  # as above
        return case, error
