"""Where the cases of a batch are segmented: in this process, in several, or on a cluster; and which ones need to be."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from custom_networks import __version__
from custom_networks.batch.resume import Earlier, Promise, reasons_to_do
from custom_networks.batch.run import Begin, Outcome, Run, ignored
from custom_networks.batch.work import Work, tune_this_process
from custom_networks.errors import UsageError
from custom_networks.io import Case


class Runner(Protocol):
    """Segments cases, in whichever place."""

    @property
    def options(self) -> Mapping[str, Any]:
        """What the manifest of each result will state."""

    def outcomes(self, cases: Sequence[Case], begin: Begin = ignored) -> Iterator[Outcome]:
        """What became of each case, as soon as it is known; results have no arrays. `begin` is told of each before."""

    def sum_up(self) -> str:
        """Write `summary.csv`; why that was not possible, "" if it was."""


@contextmanager
def opened(
    work: Work, jobs: int = 1, cluster: str | None = None, on_stage: Callable[[str, int, int], None] | None = None
) -> Iterator[Runner]:
    """What segments the cases of a run, for as long as the block lasts.

    Args:
        work: what was asked for.
        jobs: how many processes of this machine.
        cluster: address of a Dask scheduler whose workers are to do it.
        on_stage: of `Pipeline`, where cases are segmented in this process.

    Raises:
        UsageError: what was asked for is not available, or makes no sense.
        BundleError: there are no weights, or not the right ones.
    """
    if jobs < 1 or (cluster and jobs > 1):
        why = "the workers of --cluster are its processes" if cluster else "at least one process is needed"
        raise UsageError(f"--jobs {jobs} makes no sense ({why}): leave it out.")
    if cluster:
        from custom_networks.batch.cluster import Cluster

        with Cluster(work, cluster) as runner:
            yield runner
    elif jobs > 1:
        from custom_networks.batch.processes import Processes

        with Processes(work, jobs) as processes:
            yield processes
    else:
        tune_this_process()
        pipeline = work.pipeline()
        pipeline.on_stage = on_stage
        yield Run(work.output, pipeline, work.probability, dict(work.options), work.promised(pipeline))


def to_do(
    work: Work, cases: Sequence[Case], options: Mapping[str, Any], force: bool = False, rehash: bool = False
) -> dict[Case, str]:
    """The cases that must be segmented, each with the reason in a few words; all of them with `force`."""
    if force:
        return dict.fromkeys(cases, "asked for by --force")
    return reasons_to_do(Earlier(work.output, Promise(options, __version__), rehash), cases)
