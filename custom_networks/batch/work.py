"""Settings of a run, shared by all processes that take part in it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from custom_networks.bundle_files import bundle_version
from custom_networks.errors import BundleError

if TYPE_CHECKING:
    from custom_networks.pipeline import Pipeline


_cores = 0  # usable cores of this process before it set its thread count; 0 until known


@dataclass(frozen=True)
class Work:
    """Settings of a run, which can be sent to other processes and machines.

    Attributes:
        output: the output folder.
        settings: overrides of inference.json, as returned by `inference.settings.settings`.
        bundle: folder of another bundle.
        checkpoint: file of other weights, a state dict.
        probability: also write the tumor probability.
        options: keyword arguments of `result.write`.
        debug: log at debug level.
    """

    output: Path
    settings: Mapping[str, Any]
    bundle: str | None = None
    checkpoint: str | None = None
    probability: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    debug: bool = False

    def pipeline(self) -> Pipeline:
        """Build the pipeline.

        Raises:
            BundleError: the bundle or the weights cannot be used; or neither `bundle` nor `checkpoint` is set, and the
                installed bundle's weights are not the released ones.
            UsageError: a setting is wrong, or a requested device, runtime or precision is not available.
        """
        from custom_networks.pipeline import Pipeline

        pipeline = Pipeline(self.bundle, self.settings, self.checkpoint)
        if self.bundle is None and self.checkpoint is None and not pipeline.released:
            raise BundleError(
                f"The weights of the installed bundle are not those released with version {bundle_version()}: install "
                "the package again, or use --checkpoint to choose them explicitly."
            )
        return pipeline

    def promised(self, pipeline: Pipeline) -> dict[str, Any]:
        """Return the options recorded in the manifest of each result."""
        return {**pipeline.options(self.probability), **self.options}

    def without_bars(self) -> Work:
        """Return a copy with progress bars off, since the bars of several processes would garble each other."""
        return replace(self, settings={**self.settings, "progress": False})

    def share(self, processes: int) -> None:
        """Limit this process to its share of the cores while `processes` processes run at the same time."""
        global _cores
        if not _cores:
            from custom_networks.inference.threads import usable_cores

            _cores = usable_cores()  # before this process limits itself
        tune_this_process(max(1, _cores // processes))

    def use(self, threads: int) -> None:
        """Limit this process to `threads` threads."""
        tune_this_process(threads)

    def absolute(self) -> Work:
        """Return a copy with absolute paths."""
        bundle, checkpoint = (
            path and os.path.abspath(os.path.expanduser(path)) for path in (self.bundle, self.checkpoint)
        )
        return replace(self, output=self.output.absolute(), bundle=bundle, checkpoint=checkpoint)


def tune_this_process(threads: int | None = None) -> None:
    """Configure the memory allocator and the number of compute threads of this process.

    Only programs should call this, since a library must not change its caller's process. PyTorch gets the given number
    of threads, but at most one per usable core. Without `threads`, PyTorch keeps its own number with the same limit,
    because it ignores a container's CPU quota.
    """
    import torch

    from custom_networks.inference.memory import manage_this_process
    from custom_networks.inference.threads import usable_cores

    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)  # `usable_cores` respects it
    torch.set_num_threads(usable_cores() if threads is not None else min(torch.get_num_threads(), usable_cores()))
    manage_this_process()
