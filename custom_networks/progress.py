"""Progress of one segmentation for whoever waits for it in Python."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Stage = Callable[[str, int, int], None]


@contextmanager
def told(progress: bool | Stage) -> Iterator[Stage | None]:
    """Whom to tell of the stages: nobody for False, a bar on stderr for True, else who is given."""
    if callable(progress):
        yield progress
    elif progress:
        with _bar() as tell:
            yield tell
    else:
        yield None


@contextmanager
def _bar() -> Iterator[Stage]:
    """A bar over the slabs of the network, named by the stage; it is text, as every notebook and terminal shows it."""
    from tqdm import tqdm

    with tqdm(total=1, desc="read", leave=False) as bar:

        def tell(stage: str, done: int, total: int) -> None:
            bar.set_description(stage, refresh=False)
            if total:
                bar.total, bar.n = total, done
            bar.refresh()

        yield tell
