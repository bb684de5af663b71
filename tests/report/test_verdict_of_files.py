"""A CT file that is processed by `segment` causes each finding.

The network and the scout classify by HU, so that their output depends only on the scan.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from body_scene import Body, body, places

from custom_networks import segment
from custom_networks.report.verdict import LEVELS, Verdict

Band = tuple[float, float, float, float]  # from HU, to HU, probability of liver, of tumor
MUSCLE_HU = 45
LIVER: Band = (85, 135, 0.98, 0.01)
LESION: Band = (53, 80, 0.01, 0.98)
SEES_MOST_OF_THE_BODY: Band = (20, 240, 0.98, 0.0)


class Bands(torch.nn.Module):
    """Classifies voxels as liver or tumor by their HU only."""

    stride, halo = 1, 0
    bands: ClassVar[Sequence[Band]] = ()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (B, 3, H, W, D) of intensities (B, 1, H, W, D), which are (HU + 160) / 400."""
        hu = (x * 400 - 160)[:, 0]
        liver, tumor = torch.full_like(hu, 0.005), torch.full_like(hu, 0.005)
        for low, high, of_liver, of_tumor in self.bands:
            inside = (hu > low) & (hu < high)
            liver = torch.where(inside, max(of_liver, 0.005), liver)
            tumor = torch.where(inside, max(of_tumor, 0.005), tumor)
        return torch.stack([1 - liver - tumor, liver, tumor], dim=1).clamp(min=1e-3).log()


class Scout(Bands):
    """The same classification as the scout's network."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file without weights; since it does not change, `segment` reuses its pipeline."""
    path = tmp_path_factory.mktemp("weights") / "none.pt"
    torch.save({}, path)
    return str(path)


@pytest.fixture
def judged(weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Verdict]:
    """The verdict on a scene that is written to a file and segmented by HU."""
    stub = {
        "network_def": {"_target_": f"{__name__}.Bands"},
        "scout_network": {"_target_": f"{__name__}.Scout"},
        "device": "cpu",
        "precision": "float32",
        "spacing": 4.0,  # the scene's own, so that nothing is resampled
    }

    def judge(scene: Body, bands: Sequence[Band] = (LIVER, LESION), scout: Sequence[Band] | None = None) -> Verdict:
        monkeypatch.setattr(Bands, "bands", bands)
        monkeypatch.setattr(Scout, "bands", scout or ())
        ct, _ = scene.save(tmp_path)
        result = segment(ct, checkpoint=weights, scout=scout is not None, overrides=stub)
        assert result.verdict is not None
        return result.verdict

    return judge


def scan(**changes: Any) -> Body:
    """The body with so little noise that the HU of its tissues do not overlap."""
    return body(noise=2, **changes)


def filled(hu: float, where: Any, scene: Body | None = None) -> Body:
    """A scan with other HU in some voxels."""
    scene = scene or scan()
    return scene.with_hu(np.where(where, hu, scene.hu).astype(np.int16))


def ball(centre: tuple[float, float, float], radius: float) -> Any:
    """The voxels within `radius` mm of a point."""
    return sum((axis - at) ** 2 for axis, at in zip(places(), centre, strict=True)) < radius**2


def round_field(scene: Body) -> Body:
    """The scan as from a scanner whose round field of view is smaller than the body."""
    x, y, _ = places()
    return scene.with_hu(np.where(np.hypot(x / 165, y / 130) < 0.85, scene.hu, -2000)).part(slice(10, 80))


def two_halves() -> Body:
    """A liver whose left part, 90 HU, is darker than its right one, 120 HU."""
    scene = scan()
    left = (scene.labels == 1) & (places()[0] < 60)
    return filled(120, (scene.labels == 1) & ~left, filled(90, left))


FINDINGS: dict[str, tuple[str, str, Callable[[], Body], dict[str, Any]]] = {
    "0 to 255 with padding": (
        "not_hu",
        "look",
        lambda: scan().with_hu(np.where(scan().hu > -500, (scan().hu.clip(-160, 240) + 160) * 0.6375, -1024)),
        {},
    ),
    "clipped": ("clipped", "look", lambda: scan().with_hu(scan().hu.clip(-300, 200)), {}),
    "7 mm apart": ("slice_distance", "look", lambda: Body(scan().hu, scan().labels, (4.0, 4.0, 7.0)), {}),
    "metal in the spine": ("dense_material", "look", lambda: filled(2900, ball((0, -65, 0), 8)), {}),
    "lipiodol": ("dense_material", "look", lambda: filled(600, ball((95, 10, 0), 9)), {}),
    "a narrow image": ("fov_cut", "look", lambda: scan().part(slice(None), slice(16, 62)), {}),
    "a narrow round field": ("fov_cut", "look", lambda: round_field(scan()), {}),
    "no liver": ("no_liver", "stop", lambda: scan(liver_hu=MUSCLE_HU), {}),
    "a liver of 100 ml": ("volume", "stop", lambda: scan(liver_mm=(32, 28, 28)), {}),
    "a liver of 540 ml": ("volume", "look", lambda: scan(liver_mm=(52, 50, 50)), {}),
    "mirrored": ("region", "stop", lambda: Body(scan().hu[::-1], scan().labels[::-1]), {}),
    "a gap of one slice": ("pieces", "look", lambda: filled(MUSCLE_HU, abs(places()[2] - 22.5) < 1), {}),
    "an end slice within the liver": (
        "liver_cut",
        "look",
        lambda: scan().part(slice(None), slice(None), slice(24)),
        {},
    ),
    "a liver of 0 HU": ("liver_hu", "look", lambda: scan(liver_hu=0), {"bands": [(-20, 20, 0.98, 0.01)]}),
    "unenhanced": ("phase", "look", lambda: scan(liver_hu=60, aorta_hu=40), {"bands": [(53, 67, 0.98, 0.01)]}),
    "arterial": ("phase", "look", lambda: scan(liver_hu=75, aorta_hu=330), {"bands": [(65, 85, 0.98, 0.01)]}),
    "early portal venous": ("phase", "look", lambda: scan(liver_hu=115, aorta_hu=220), {}),
    "an unsure outline": ("unsure", "look", scan, {"bands": [LIVER, LESION, (30, 53, 0.4, 0.0)]}),
    "an unsure tumor": ("unsure", "look", scan, {"bands": [(85, 135, 0.58, 0.4)]}),
    "a box that cuts the liver": ("scout_disagrees", "look", two_halves, {"scout": [(110, 130, 0.98, 0.0)]}),
    "a box of the whole body": ("scout_disagrees", "look", scan, {"scout": [SEES_MOST_OF_THE_BODY]}),
    "a blind scout": ("scout_disagrees", "look", scan, {"scout": [(1000, 2000, 0.98, 0.0)]}),
    "an unsure lesion": ("review_lesion", "ok", scan, {"bands": [LIVER, (53, 80, 0.2, 0.75)]}),
}


def test_a_plain_scan_has_no_finding_with_and_without_a_scout(judged: Callable[..., Verdict]) -> None:
    for scout in (None, [LIVER]):
        found = judged(scan(), scout=scout)
        assert (found.level, found.findings) == ("ok", ()), scout
    assert found.numbers.liver_ml == pytest.approx(1225, rel=0.02)
    assert found.numbers.scout_gap_mm is not None and found.numbers.scout_gap_mm < 60


@pytest.mark.parametrize("name", FINDINGS)
def test_a_file_causes_each_finding(name: str, judged: Callable[..., Verdict]) -> None:
    code, level, scene, answer = FINDINGS[name]
    found = judged(scene(), **answer)
    assert [finding.level for finding in found.findings if finding.code == code] == [level], found
    assert LEVELS.index(found.level) >= LEVELS.index(level)


def test_a_cable_on_the_skin_is_not_metal_and_a_table_does_not_widen_the_body(judged: Callable[..., Verdict]) -> None:
    x, y, _ = places()
    cable, table = np.hypot(x, y + 119) < 4.5, (abs(y + 126) < 5) & (abs(x) < 178)
    plain, found = judged(scan()), judged(filled(2900, cable, filled(100, table)))
    assert (found.numbers.metal_ml, found.findings) == (0, ())
    assert found.numbers.expected_ml == plain.numbers.expected_ml


def test_every_finding_code_is_tested() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "verdict.md").read_text(encoding="utf-8")
    documented = {line.split("`")[1] for line in text.splitlines() if line.startswith("| `")}
    assert documented - set(LEVELS) == {code for code, *_ in FINDINGS.values()}
