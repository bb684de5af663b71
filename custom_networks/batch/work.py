"""How the cases of a batch are segmented, stated once for every process that takes part."""

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


_cores = 0  # of this process, before it shared them


@dataclass(frozen=True)
class Work:
    """What a run was asked for; it can be sent to other processes and machines.

    Attributes:
        output: the output folder.
        settings: overrides of inference.json, as `inference.settings` makes them.
        bundle: folder of another bundle.
        checkpoint: other weights, a state dict.
        probability: write the tumor probability, too.
        options: of `result.write`.
        debug: log every step.
    """

    output: Path
    settings: Mapping[str, Any]
    bundle: str | None = None
    checkpoint: str | None = None
    probability: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    debug: bool = False

    def pipeline(self) -> Pipeline:
        """Build what segments.

        Raises:
            BundleError: the bundle is not usable, or the weights that nobody named are not the released ones.
            UsageError: what was asked for is not available.
        """
        from custom_networks.pipeline import Pipeline

        pipeline = Pipeline(self.bundle, self.settings, self.checkpoint)
        if self.bundle is None and self.checkpoint is None and not pipeline.released:
            raise BundleError(
                f"The weights of the installed bundle are not those released with version {bundle_version()}: install "
                "the package again, or name them by --checkpoint to use them all the same."
            )
        return pipeline

    def promised(self, pipeline: Pipeline) -> dict[str, Any]:
        """The options that the manifest of each result will state."""
        return {**pipeline.options(self.probability), **self.options}

    def without_bars(self) -> Work:
        """The same without progress bars, which several processes would write into each other's lines."""
        return replace(self, settings={**self.settings, "progress": False})

    def share(self, processes: int) -> None:
        """Give this process, one of several, its share of the cores."""
        global _cores
        if not _cores:
            from custom_networks.inference.threads import usable_cores

            _cores = usable_cores()  # before it is cut
        tune_this_process(max(1, _cores // processes))

    def use(self, threads: int) -> None:
        """Give this process this many threads."""
        tune_this_process(threads)

    def absolute(self) -> Work:
        """A copy with absolute paths."""
        bundle, checkpoint = (
            path and os.path.abspath(os.path.expanduser(path)) for path in (self.bundle, self.checkpoint)
        )
        return replace(self, output=self.output.absolute(), bundle=bundle, checkpoint=checkpoint)


def tune_this_process(threads: int | None = None) -> None:
    """Set what a program may set but a library may not: the memory allocator and the number of compute threads.

    PyTorch does not know a container's quota. If several processes share the cores, `threads` is this one's share.
    """
    import torch

    from custom_networks.inference.memory import manage_this_process
    from custom_networks.inference.threads import usable_cores

    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)  # counted by `usable_cores`, wherever it is asked
    torch.set_num_threads(usable_cores() if threads is not None else min(torch.get_num_threads(), usable_cores()))
    manage_this_process()
