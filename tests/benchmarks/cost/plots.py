"""Draw the plots of docs/performance.md from docs/performance/*.json."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CONTEXT, GROWN = "performance-context.png", "performance-growth.png"
KINDS = {
    "kflop_slab": "this network, in slabs",
    "kflop_stack_by_stack": "this network, stack by stack",
    "kflop_ordinary": "ordinary 3D convolutions, in slabs",
}
DYNUNET = "dynunet-torch-float32"
WINDOW = 128  # slices that a voxel's answer sees in DynUNet's windows


def with_context(found: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The machines on which cost against context was measured."""
    return [one for one in found if one.get("context")]


def with_growth(found: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The machines on which growth was measured."""
    return [one for one in found if any("points" in kind for kind in one.get("growth", {}).values())]


def draw_plots(found: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Draw all plots for which there are data."""
    if contexts := with_context(found):
        _draw_context(contexts, folder / CONTEXT)
    if growths := with_growth(found):
        _draw_growth(growths, folder / GROWN)


def _axes(title: tuple[str, str]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots(1, 2)
    for axis, name in zip(axes, title):
        axis.set_title(name)
        axis.grid(alpha=0.3)
    return figure, axes


def _short(one: Mapping[str, Any]) -> str:
    return f"{one['machine']['name']} {(one['machine']['features'] or ['?'])[-1]}"


def _draw_context(found: Sequence[Mapping[str, Any]], path: Path) -> None:
    figure, (cost, seconds) = _axes(("Computation", "Time, eager PyTorch float32"))
    first = found[0]["context"]  # FLOP are the same on every machine
    stacks = [point["stack"] for point in first]
    for name, title in KINDS.items():
        cost.plot(stacks, [point[name] for point in first], "o-", label=title)
    if record := found[0]["rows"].get(DYNUNET):
        each = record["flop"] / record["labelled"] / 1e3
        cost.plot([WINDOW], [each], "s", label="DynUNet, windows of 128 slices, overlap .5")
    cost.set(xscale="log", yscale="log", xlabel="slices that an answer sees", ylabel="kFLOP a labelled voxel")
    for one in found:
        ms = [point["ms"] for point in one["context"]]
        seconds.plot([point["stack"] for point in one["context"]], ms, "o-", label=_short(one))
    seconds.set(xlabel="slices that an answer sees", ylabel="ms a slice of 288 x 288", ylim=(0, None))
    for axis in (cost, seconds):
        axis.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _draw_growth(found: Sequence[Mapping[str, Any]], path: Path) -> None:
    figure, (seconds, memory) = _axes(("Whole run", "Peak memory of the process"))
    for one in found:
        for kind, growth in one["growth"].items():
            points = growth.get("points", [])
            slices = [point["slices"] for point in points]
            name = f"{_short(one)}, {kind}" + (f": n^{growth['slope_whole']}" if "slope_whole" in growth else "")
            seconds.plot(slices, [point["whole"] for point in points], "o-", label=name)
            if points and all(point["peak_mb"] for point in points):
                memory.plot(slices, [point["peak_mb"] for point in points], "o-", label=f"{_short(one)}, {kind}")
    seconds.set(xscale="log", yscale="log", xlabel="slices of 512 x 512", ylabel="s")
    memory.set(xlabel="slices of 512 x 512", ylabel="MB", ylim=(0, None))
    for axis in (seconds, memory):
        if axis.lines:
            axis.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
