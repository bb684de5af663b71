"""The benchmark: counts with known answers, a measurement of a tiny scan, and the page with the results."""

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import nn

from custom_networks.networks import ContextNet25D
from tests.benchmarks.cost.clock import REST, STAGES, Clock
from tests.benchmarks.cost.contestants import Setting
from tests.benchmarks.cost.machine import slug
from tests.benchmarks.cost.measuring import measure, measure_growth, slopes, spread
from tests.benchmarks.cost.networks import Slab, flop, runnable, with_ordinary_convolutions
from tests.benchmarks.cost.page import machine_section, measurements, pictures, ratio_cell, windows_cell, with_tables
from tests.benchmarks.cost.peers import Peer
from tests.benchmarks.cost.plots import draw_plots
from tests.benchmarks.cost.rows import ROWS
from tests.benchmarks.cost.volumes import TINY, Scan, write_scan

DOCS = Path(__file__).resolve().parents[2] / "docs"
QUICK_ROWS = ["full-torch-float32", "fast-openvino-bf16", "spleen-torch-float32"]


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(tmp_path, TINY, budget=0.0, lengths=(TINY.slices,), side=32)


@pytest.fixture
def small() -> ContextNet25D:
    torch.manual_seed(0)
    return ContextNet25D(channels=[4, 6, 8], depth_kernels=[1, 3, 3], aspp_channels=6, aspp_rates=[1], aspp_window=3)


def test_the_page_has_the_measured_results() -> None:
    page = (DOCS / "performance.md").read_text(encoding="utf-8")
    assert page == with_tables(page, measurements(DOCS / "performance"))


def test_a_tiny_measurement_fills_the_table(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.benchmarks.cost.machine.GEMM_SIDE", 64)
    found = json.loads(json.dumps(measure(QUICK_ROWS, setting, repeats=1, apart=False)))
    ours, peer = found["rows"]["full-torch-float32"], found["rows"]["spleen-torch-float32"]
    assert list(ours["stages"]) == list(STAGES)
    assert sum(ours["stages"].values()) == pytest.approx(ours["whole"]["median"], abs=0.01)
    assert 0 < ours["network"]["median"] < ours["whole"]["median"]
    assert ours["parameters"] == 715_819 and ours["labelled"] == 72 * 72 * TINY.slices
    assert peer["windows"] == 9 and peer["windows_measured"] == 1  # 60 x 60 x 23 voxels, windows of 32 every 16
    section = machine_section(found)
    assert "| this pipeline, full pass; PyTorch float32 |" in section and "9, from 1" in section
    assert "`fast-openvino-bf16` (" in section


def test_a_missing_argument_is_named(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.benchmarks.cost.ours import Ours, Skipped

    Ours(setting, {"spacing": 1.25}).prepare()
    with pytest.raises(Skipped, match="has no id no_such_switch"):
        Ours(setting, {"no_such_switch": True}).prepare()


@pytest.mark.parametrize(("ordinary", "stack_by_stack", "kflop"), [(0, 0, 27.6), (0, 1, 76.4), (1, 0, 193.6)])
def test_flop_of_a_labelled_voxel(ordinary: bool, stack_by_stack: bool, kflop: float) -> None:
    network: nn.Module = ContextNet25D()
    network = Slab(with_ordinary_convolutions(network) if ordinary else network)  # type: ignore[arg-type]
    slices = 1 if stack_by_stack else 16
    counted = flop(network, (1, 1, 320, 320, slices + 8)) / (320 * 320 * slices)
    assert round(counted / 1e3, 1) == kflop


def test_ordinary_convolutions_have_the_same_receptive_field() -> None:
    ordinary = with_ordinary_convolutions(ContextNet25D()).eval()
    shape = (1, 1, 16, 16, 10)
    with torch.no_grad():
        assert Slab(ordinary)(torch.rand(shape)).shape == (1, 3, 16, 16, 2)  # type: ignore[arg-type]


@pytest.mark.slow  # converting takes seconds
def test_openvino_computes_what_pytorch_computes(small: ContextNet25D) -> None:
    pytest.importorskip("openvino")
    x = torch.rand(1, 1, 80, 72, 7)  # larger than what is traced
    answers = [runnable(Slab(small), runtime, "float32", tuple(x.shape))(x) for runtime in ("torch", "openvino")]
    assert torch.allclose(*answers, atol=1e-4)


@pytest.mark.parametrize(("spacing", "overlap"), [((), 0.5), ((1.5, 1.5, 2.0), 0.5), ((0.9, 1.1, 1.5), 0.25)])
def test_windows_are_counted_as_in_monai(setting: Setting, spacing: tuple[float, ...], overlap: float) -> None:
    calls = 0

    def predict(x: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return x.new_zeros((1, 2, *x.shape[2:]))

    peer = Peer(setting, "torch", "float32", nn.Identity, spacing, 32, overlap)
    peer.pass_over(predict)
    assert calls == peer.windows_of(setting.scan)


def test_windows_of_published_settings() -> None:
    main = Scan(512, 130, (0.7, 0.7, 1.6), 130)
    setting = Setting(Path(), main, budget=0.0, lengths=())
    built: dict[str, Any] = {
        n: ROWS[f"{n}-torch-float32"].contestant(setting) for n in ("dynunet", "spleen", "wholebody")
    }
    assert {name: peer.windows_of(main) for name, peer in built.items()} == {
        "dynunet": 98,
        "spleen": 32,
        "wholebody": 18,
    }


def test_longer_scans_contain_the_same_liver(tmp_path: Path) -> None:
    liver = {}
    for slices in (TINY.slices - 4, TINY.slices, TINY.slices + 20):
        path = write_scan(TINY.of_length(slices), tmp_path)
        label = nib.load(path.with_name(path.name.replace(".nii.gz", "_label.nii.gz")))
        assert nib.load(path).shape == label.shape == (64, 64, slices)
        liver[slices] = np.count_nonzero(np.asarray(label.dataobj))
    assert liver[TINY.slices - 4] <= liver[TINY.slices] == liver[TINY.slices + 20] > 0


def test_slopes_are_exponents() -> None:
    points = [{"slices": n, "whole": 2 * n**1.05, "peak_mb": 700.0} for n in (100, 200, 400, 800)]
    start = {"slices": 50, "whole": 900.0, "peak_mb": 9.0}  # below what is fitted
    assert slopes([start, *points]) == {"slope_whole": 1.05, "slope_peak_mb": 0.0}


class _Even:
    """A row that takes one second for every slice."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting

    def prepare(self) -> None:
        """Do nothing."""

    def label(self, scan: Scan) -> dict[str, float]:
        return {"network": 0.5 * scan.slices, "whole": float(scan.slices)}

    def run(self) -> dict[str, float]:
        return self.label(self.setting.scan)


def test_growth_over_two_lengths(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.benchmarks.cost.measuring.growth_contestant", lambda kind, own: _Even(own))
    found = measure_growth(setting, (12, 14), apart=False)["default"]
    assert [(point["slices"], point["whole"]) for point in found["points"]] == [(12, 12.0), (14, 14.0)]
    assert found["slope_whole"] == 1.0 and "slope_peak_mb" not in found


def test_a_stage_within_a_stage_counts_once() -> None:
    clock = Clock()
    clock.timed("resample", lambda: clock.timed("load", lambda: None))
    assert list(clock.seconds) == ["resample"]


def test_steps_after_the_network_are_identified_by_their_order() -> None:
    clock, scout, invert = Clock(), type("FindLiverd", (), {})(), type("Invertd", (), {})()
    after = type("LabelsOnInputGridd", (), {})()
    names = [clock.stage_of(step) for step in (scout, invert, after, invert)]
    assert names == ["scout", "resample", REST, REST]


def test_machines_with_the_same_name_are_distinguished() -> None:
    old, new = {"name": "AMD EPYC", "features": ["avx2"]}, {"name": "AMD EPYC", "features": ["avx2", "avx512_bf16"]}
    assert (slug(old), slug(new)) == ("amd-epyc-avx2", "amd-epyc-avx512-bf16")


def _record(seconds: float, **more: Any) -> dict[str, Any]:
    return {"network": spread([seconds]), "flop": 2e12, "labelled": 10**7, "windows": 98, "peak_mb": 900, **more}


def test_ratios_are_to_eager_pytorch_and_to_the_faster_runtime_in_the_same_format() -> None:
    times = {"full-torch-float32": 4, "dynunet-torch-float32": 1000, "dynunet-openvino-float32": 800}
    times |= {"dynunet-openvino-bf16": 8}
    found = {"rows": {name: _record(seconds) for name, seconds in times.items()}}
    assert ratio_cell(found, ROWS["full-torch-float32"], "dynunet") == "250 / 200"
    assert ratio_cell(found, ROWS["full-torch-float32"], "spleen") == ""


def test_the_table_marks_scaled_values() -> None:
    assert windows_cell(_record(1.0, windows_measured=15)) == "98, from 15"
    assert windows_cell(_record(1.0, windows_measured=98)) == "98"


def test_mirroring_multiplies_the_measured_time() -> None:
    from tests.benchmarks.cost.measuring import _multiplied

    once = {**_record(10.0), "longer": {"600": 50.0}}
    mirrored = _multiplied(once, ROWS["mirrored-torch-float32"].times)
    assert (mirrored["network"]["median"], mirrored["flop"], mirrored["windows"]) == (80, 16e12, 784)
    assert (
        mirrored["longer"] == {"600": 400.0} and ROWS["mirrored-torch-float32"].measured_by == "dynunet-torch-float32"
    )


def test_plots_are_drawn(tmp_path: Path) -> None:
    point = {"stack": 9, "ms": 50.0, "kflop_slab": 27.6, "kflop_stack_by_stack": 76.4, "kflop_ordinary": 193.6}
    growth = {"default": {"points": [{"slices": n, "whole": n / 20, "peak_mb": 900 + n} for n in (50, 100)]}}
    machine = {"name": "AMD EPYC", "features": ["avx2"]}
    found = [{"machine": machine, "rows": {}, "context": [point, {**point, "stack": 17}], "growth": growth}]
    draw_plots(found, tmp_path)
    drawn = sorted(path.name for path in tmp_path.iterdir())
    assert drawn == ["performance-context.png", "performance-growth.png"]
    assert [text.partition("images/")[2].partition(")")[0] for text in pictures(found)] == drawn
    assert pictures([{"machine": machine, "rows": {}}]) == []
