"""Show the progress of a segmentation in Python."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Stage = Callable[[str, int, int], None]


@contextmanager
def told(progress: bool | Stage) -> Iterator[Stage | None]:
    """The function to call for each stage: None for False, one that draws a bar for True, or the given one."""
    if callable(progress):
        yield progress
    elif progress:
        with _bar() as tell:
            yield tell
    else:
        yield None


@contextmanager
def _bar() -> Iterator[Stage]:
    """A bar over the network's slabs, labelled with the stage; it is plain text, for any notebook or terminal."""
    from tqdm import tqdm

    with tqdm(total=1, desc="read", leave=False) as bar:

        def tell(stage: str, done: int, total: int) -> None:
            bar.set_description(stage, refresh=False)
            if total:
                bar.total, bar.n = total, done
            bar.refresh()

        yield tell
