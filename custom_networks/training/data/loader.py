"""Batches prepared in a thread, without losing what goes wrong there."""

import weakref
from collections.abc import Iterable, Iterator
from typing import Any

from monai.data import DataLoader, ThreadBuffer, ThreadDataLoader


class RaisingThreadDataLoader(ThreadDataLoader):
    """MONAI's `ThreadDataLoader`, but an exception in its thread is raised where the batches are taken.

    MONAI's own ends the epoch's batches there without a word to the training loop, which begins with the next.

    Args:
        kwargs: arguments of `ThreadDataLoader`; `repeats` is not used.
    """

    def __iter__(self) -> Any:
        buffer = ThreadBuffer(_with_failure(DataLoader.__iter__(self)), self.buffer_size, self.buffer_timeout)
        stop = weakref.finalize(self, buffer.stop)  # a thread still at work when Python ends may abort the process
        try:
            for batch in buffer:
                if isinstance(batch, Exception):
                    raise batch
                yield batch
        finally:
            stop()


def _with_failure(batches: Iterable[Any]) -> Iterator[Any]:
    """The batches and, as the last value, the exception that ended them, if one did."""
    try:
        yield from batches
    except Exception as failure:
        yield failure
