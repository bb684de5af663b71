"""A data loader that prepares batches in a thread and raises the exceptions of that thread."""

import weakref
from collections.abc import Iterable, Iterator
from typing import Any

from monai.data import DataLoader, ThreadBuffer, ThreadDataLoader


class RaisingThreadDataLoader(ThreadDataLoader):
    """Like MONAI's `ThreadDataLoader`, but an exception in the thread is raised where the batches are consumed.

    MONAI's loader silently ends the epoch in that case, and training goes on with the next one.

    Args:
        kwargs: arguments of `ThreadDataLoader`; `repeats` has no effect.
    """

    def __iter__(self) -> Any:
        buffer = ThreadBuffer(_with_failure(DataLoader.__iter__(self)), self.buffer_size, self.buffer_timeout)
        stop = weakref.finalize(self, buffer.stop)  # a thread that still runs when Python exits may abort the process
        try:
            for batch in buffer:
                if isinstance(batch, Exception):
                    raise batch
                yield batch
        finally:
            stop()


def _with_failure(batches: Iterable[Any]) -> Iterator[Any]:
    """Yield the batches and, if an exception ends them, the exception."""
    try:
        yield from batches
    except Exception as failure:
        yield failure
