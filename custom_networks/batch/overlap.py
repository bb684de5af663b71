"""Pipelined processing of cases: read the next one and write the previous one while the current one is processed."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import zip_longest
from typing import Any, TypeVar

C = TypeVar("C")
R = TypeVar("R")
P = TypeVar("P")
W = TypeVar("W")


def overlapped(
    cases: Sequence[C],
    read: Callable[[C], R],
    process: Callable[[C, R], P],
    write: Callable[[C, P], W],
    fit: Callable[..., bool],
) -> Iterator[tuple[C, W | Exception]]:
    """Yield each case, in order, with what `write` returned or the exception that a step raised.

    `process` runs in the calling thread; `read` and `write` have one thread each. A case is usually yielded only after
    the next one has been processed.

    Args:
        cases: the cases, in order.
        read: first step; takes the case.
        process: second step; takes the case and what `read` returned.
        write: last step; takes the case and what `process` returned.
        fit: takes one or more cases and returns whether there is enough memory to process the first one while the
            others are being read or written.
    """
    ahead: Future[R] | None = None
    behind: tuple[C, Future[W]] | None = None
    with ThreadPoolExecutor(1, "reading") as reader, ThreadPoolExecutor(1, "writing") as writer:
        for case, following in zip_longest(cases, cases[1:]):
            if behind and not fit(case, behind[0]):
                yield _written(*behind)
                behind = None
            reading = ahead or reader.submit(read, case)
            held = (behind[0],) if behind else ()
            fits = following is not None and fit(case, following, *held)
            ahead = reader.submit(read, following) if fits else None  # starts once this case is read
            processed = _processed(process, case, reading)
            del reading
            if behind:
                yield _written(*behind)
                behind = None
            if isinstance(processed, Exception):
                yield case, processed
            else:
                behind = case, writer.submit(write, case, processed)
            del processed  # so that its memory is freed once it is written
        if behind:
            yield _written(*behind)


def _processed(process: Callable[[C, R], P], case: C, reading: "Future[R]") -> P | Exception:
    try:
        return process(case, reading.result())
    except Exception as error:  # one bad case must not stop the others
        return error


def _written(case: C, writing: "Future[Any]") -> tuple[C, Any]:
    try:
        return case, writing.result()
    except Exception as error:  # as above
        return case, error
