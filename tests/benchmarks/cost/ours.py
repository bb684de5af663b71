"""This project's pipeline as users call it, and variants of its network that show the effect of design choices."""

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from torch import Tensor, nn

from custom_networks.bundle_files import bundle_root, read_config
from custom_networks.io import only_case
from tests.benchmarks.cost.clock import REST, STAGES, stage_clock
from tests.benchmarks.cost.contestants import Contestant, Setting, Skipped, Windowed
from tests.benchmarks.cost.machine import keep_freed_memory
from tests.benchmarks.cost.networks import Forward, Shape, Slab, flop, parameters, recorded_slabs
from tests.benchmarks.cost.volumes import Scan, write_scan

# What a version that lacks one of these switches does.
WITHOUT = {"runtime": "torch", "scout": False, "fast": False}
CPU = {"device": "$torch.device('cpu')", "progress": False}


def known_overrides(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The overrides without those that equal the defaults; Skipped for an id that does not exist."""
    known = read_config(bundle_root())
    missing = {name for name in overrides if name.partition("#")[0] not in known}
    if unknown := sorted(name for name in missing if WITHOUT.get(name, ...) != overrides[name]):
        raise Skipped(f"inference.json has no id {', '.join(unknown)}")
    return {name: value for name, value in overrides.items() if name not in missing}


class Ours(Contestant):
    """This project's pipeline with overrides of inference.json, from the file to the written case folder."""

    def __init__(self, setting: Setting, overrides: Mapping[str, Any]) -> None:
        self.setting, self.asked = setting, {**CPU, **overrides}

    def prepare(self) -> None:
        """Build the pipeline; raise Skipped with the name of an id that this version does not have."""
        from custom_networks.pipeline import Pipeline

        self.overrides = known_overrides(self.asked)
        if not (bundle_root() / "models" / "model.pt").is_file():
            raise Skipped("no weights in bundle/models")
        if self.asked.get("runtime") == "torch":
            keep_freed_memory()  # as for the peers' rows by PyTorch
        self.pipeline = Pipeline(overrides=self.overrides)
        write_scan(self.setting.scan, self.setting.folder)

    def label(self, scan: Scan) -> dict[str, float]:
        """Seconds of each stage for any scan, including reading the file and writing results."""
        from custom_networks.result import write

        path, out = write_scan(scan, self.setting.folder), self.setting.folder / f"results_{os.getpid()}"
        started = time.perf_counter()
        case = only_case(str(path))
        with stage_clock() as clock:
            result = self.pipeline.predict(case)
            predicted = time.perf_counter()
            write(result, out)
        ended = time.perf_counter()
        stages, told = dict(clock.seconds), result.run["seconds"]
        stages["load"] = stages.get("load", 0.0) + told["read"]
        stages |= {"network": told["network"], "write": ended - predicted}
        stages[REST] = ended - started - sum(seconds for stage, seconds in stages.items() if stage != REST)
        shutil.rmtree(out)
        whole = {f"stage {name}": stages.get(name, 0.0) for name in STAGES}
        return {"network": stages["network"] + stages.get("scout", 0.0), "whole": ended - started, **whole}

    def run(self) -> dict[str, float]:
        """See `Contestant.run`."""
        return self.label(self.setting.scan)

    def cost(self) -> dict[str, Any]:
        """See `Contestant.cost`; counted for the slabs that PyTorch runs, including the scout's."""
        from custom_networks.pipeline import Pipeline

        pipeline = Pipeline(overrides=known_overrides({**self.asked, "runtime": "torch"}))
        case = only_case(str(write_scan(self.setting.scan, self.setting.folder)))
        with recorded_slabs() as calls:
            pipeline.predict(case)
        networks = {id(network): network for network, _ in calls}
        slabs = Counter((id(network), shape) for network, shape in calls)
        spacing = (float(read_config(bundle_root(), self.overrides).get_parsed_content("spacing")),) * 2
        return {
            "parameters": sum(parameters(network) for network in networks.values()),
            "flop": sum(n * flop(Slab(networks[network]), shape) for (network, shape), n in slabs.items()),
            "labelled": prod(resampled(self.setting.scan, spacing)),
            "windows": len(calls),
        }


def resampled(scan: Scan, spacing: Sequence[float]) -> tuple[int, ...]:
    """Voxels of a scan on a grid of `spacing` mm; axes without a spacing do not change."""
    wanted = (*spacing, *scan.spacing[len(spacing) :])
    return tuple(round(n * mm / target) for n, mm, target in zip(scan.shape, scan.spacing, wanted))


class _Answering(nn.Module):
    """A stand-in for a network in the inferer: halo, stride and stack of a network, logits from a function."""

    def __init__(self, like: Any, predict: Forward) -> None:
        super().__init__()
        self.halo, self.stride, self.stack = like.halo, like.stride, like.stack
        self.predict = predict

    def slab(self, x: Tensor) -> Tensor:
        """Logits of a slab."""
        return self.predict(x)

    def forward(self, x: Tensor, with_halo: bool = False) -> Tensor:
        """The same as `slab`, for callers of forward."""
        return self.predict(x)


class Variant(Windowed):
    """This project's network after `change`, in slabs of `slab` slices."""

    def __init__(
        self,
        setting: Setting,
        runtime: str,
        precision: str,
        change: Callable[[nn.Module], nn.Module] | None = None,
        slab: int | None = None,
    ) -> None:
        super().__init__(setting, runtime, precision)
        self.change = change or (lambda network: network)
        overrides = known_overrides({**CPU, **WITHOUT, "precision": "float32"})
        own = {} if slab is None else {"inferer#slab": slab}
        self.config = read_config(bundle_root(), {**overrides, **own})

    def network(self) -> nn.Module:
        """See `Windowed.network`."""
        network: Any = read_config(bundle_root()).get_parsed_content("network_def")
        return Slab(self.change(network))  # type: ignore[arg-type]

    def shapes(self) -> Sequence[Shape]:
        """The shapes that the inferer passes to a stand-in for the network."""
        seen: Counter[Shape] = Counter()

        def nothing(x: Tensor) -> Tensor:
            seen[tuple(x.shape)] += 1
            return x.new_zeros((1, 3, *x.shape[2:4], x.shape[4] - self.like.stack + 1))

        self.like: Any = self.config.get_parsed_content("network_def")
        self.pass_over(nothing)
        return list(seen)

    def pass_over(self, predict: Forward) -> int:
        """Label the scan with the config's own preprocessing and inferer."""
        path = write_scan(self.setting.scan, self.setting.folder)
        image = self.config.get_parsed_content("preprocessing")({"image": str(path)})["image"]
        self.config.get_parsed_content("inferer")(image[None], _Answering(self.like, predict))
        return int(np.prod(image.shape[1:]))
