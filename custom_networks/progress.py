"""Show the progress of a segmentation in Python."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Stage = Callable[[str, int, int], None]


@contextmanager
def stage_callback(progress: bool | Stage) -> Iterator[Stage | None]:
    """Yield the function to call for each stage: None for False, one that draws a bar for True, else `progress`."""
    if callable(progress):
        yield progress
    elif progress:
        with _bar() as tell:
            yield tell
    else:
        yield None


@contextmanager
def _bar() -> Iterator[Stage]:
    """Yield a function that draws a text progress bar over the network's slabs, labelled with the stage."""
    from tqdm import tqdm

    with tqdm(total=1, desc="read", leave=False) as bar:

        def tell(stage: str, done: int, total: int) -> None:
            bar.set_description(stage, refresh=False)
            if total:
                bar.total, bar.n = total, done
            bar.refresh()

        yield tell
