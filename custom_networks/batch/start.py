"""Start a run in this process, in several processes or on a cluster, and select the cases it must segment."""

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
    """Interface of a run: `Run`, `Processes` or `Cluster`."""

    @property
    def options(self) -> Mapping[str, Any]:
        """Options recorded in the manifest of each result."""

    def outcomes(self, cases: Sequence[Case], begin: Begin = ignored) -> Iterator[Outcome]:
        """Yield the outcome of each case, with results without arrays; `begin` is called as each case begins."""

    def sum_up(self) -> str:
        """Write `summary.csv`, and return "" or, if that failed, the reason."""


@contextmanager
def opened(
    work: Work, jobs: int = 1, cluster: str | None = None, on_stage: Callable[[str, int, int], None] | None = None
) -> Iterator[Runner]:
    """Yield the runner of a run, which is closed at the end of the block.

    Args:
        work: settings of the run.
        jobs: number of processes on this machine.
        cluster: address of the Dask scheduler whose workers segment the cases.
        on_stage: `Pipeline.on_stage`, used if cases are segmented in this process.

    Raises:
        UsageError: `jobs` is not valid, or something requested is not available.
        BundleError: the weights are missing, or not the right ones.
        ClusterLost: no worker of the cluster connected in time.
    """
    if jobs < 1 or (cluster and jobs > 1):
        why = "with --cluster, its workers segment the cases" if cluster else "at least one process is needed"
        raise UsageError(f"--jobs {jobs} is not possible ({why}): leave it out.")
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
    """Return the cases that must be segmented, each with a short reason.

    Args:
        work: settings of the run.
        cases: the cases to choose from.
        options: options that the run would record in the manifest of each result.
        force: select all cases.
        rehash: compare inputs and results by their bytes, see `Earlier`.
    """
    if force:
        return dict.fromkeys(cases, "requested by --force")
    return reasons_to_do(Earlier(work.output, Promise(options, __version__), rehash), cases)
