"""Files of a CT and a mask cause each finding; a plain scan causes none."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from body_scene import SHAPE, Body, body, places

from custom_networks.io import only_case
from custom_networks.measured import measure_mask
from custom_networks.report.verdict import STOP, Verdict, contrast_phase, verdict

Change = Callable[[], Body]


def judged(scene: Body, folder: Path) -> Verdict:
    """The verdict on a CT and a mask in files."""
    ct, mask = scene.save(folder)
    result = measure_mask(only_case(ct), mask, folder / "out")
    assert result.verdict is not None
    return result.verdict


def codes(found: Verdict) -> set[str]:
    return {finding.code for finding in found.findings}


def test_a_plain_portal_venous_scan_has_no_finding(tmp_path: Path) -> None:
    found = judged(body(), tmp_path)
    assert (found.level, found.findings) == ("ok", ())
    numbers = found.numbers
    assert numbers.liver_ml == pytest.approx(1225, rel=0.02)
    assert numbers.liver_hu == pytest.approx(110, abs=1) and numbers.aorta_hu == pytest.approx(150, abs=6)
    assert numbers.expected_by == "width" and numbers.expected_ml == pytest.approx(1690, abs=60)
    assert numbers.left_share == pytest.approx(0.02, abs=0.02) and numbers.cut_share == 0 and numbers.parts_ml == 0


def inside() -> Any:
    """The voxels of the trunk."""
    return body().hu > -500


def windowed(low: float, high: float, top: float, dtype: type) -> Body:
    """Intensities of a window from 0 to `top`, padded with -1024 outside the body."""
    scene = body()
    values = (scene.hu.clip(low, high) - low) / (high - low) * top
    return scene.with_hu(np.where(inside(), values, -1024).astype(dtype))


def filled(hu: float, where: Any) -> Body:
    """The scene with other HU in some voxels."""
    scene = body()
    return scene.with_hu(np.where(where, hu, scene.hu).astype(np.int16))


def ball(centre: tuple[float, float, float], radius: float) -> Any:
    """The voxels within `radius` mm of a point."""
    return sum((axis - at) ** 2 for axis, at in zip(places(), centre, strict=True)) < radius**2


def relabelled(labels: Any) -> Body:
    """The scene with another mask."""
    return replace(body(), labels=np.asarray(labels, np.uint8))


SCAN: dict[str, tuple[Change, str]] = {
    "0 to 255 with padding": (lambda: windowed(-160, 240, 255, np.int16), "not_hu"),
    "0 to 1 with padding": (lambda: windowed(-160, 240, 1, np.float32), "not_hu"),
    "offset of 1024": (lambda: body().with_hu(np.where(inside(), body().hu + 1024, -1024).astype(np.int16)), "not_hu"),
    "offset twice": (lambda: body().with_hu((body().hu - 1024).clip(-1024).astype(np.int16)), "not_hu"),
    "padded with 0": (lambda: filled(0, body().hu < -900), "not_hu"),
    "clipped": (lambda: body().with_hu(body().hu.clip(-300, 200)), "clipped"),
    "thick slices": (lambda: replace(body(), spacing=(4.0, 4.0, 7.0)), "slice_distance"),
    "metal": (lambda: filled(2900, ball((-60, 0, 0), 8)), "dense_material"),
    "lipiodol": (lambda: filled(600, ball((95, 10, 0), 9)), "dense_material"),
    "narrow field of view": (lambda: body().part(slice(None), slice(16, 62)), "fov_cut"),
}
ANSWER: dict[str, tuple[Change, str]] = {
    "no liver": (lambda: relabelled(np.zeros(SHAPE)), "no_liver"),
    "a liver of 100 ml": (lambda: body(liver_mm=(32, 28, 28)), "volume"),
    "a liver of half the size": (lambda: body(liver_mm=(52, 50, 50)), "volume"),
    "a liver of twice the size": (lambda: relabelled(inside() & (abs(places()[2]) < 35)), "volume"),
    "mirrored": (lambda: replace(body(), hu=body().hu[::-1], labels=body().labels[::-1]), "region"),
    "in pieces": (lambda: relabelled(np.where(abs(places()[2] - 20) < 8, 0, body().labels)), "pieces"),
    "cut": (lambda: body().part(slice(None), slice(None), slice(0, 24)), "liver_cut"),
    "a very dark liver": (lambda: body(liver_hu=0), "liver_hu"),
    "a fatty liver": (lambda: body(liver_hu=30), "liver_hu"),
    "unenhanced": (lambda: body(liver_hu=55, aorta_hu=42), "phase"),
    "arterial": (lambda: body(liver_hu=75, aorta_hu=330), "phase"),
}


@pytest.mark.parametrize("name", [*SCAN, *ANSWER])
def test_each_finding_follows_from_a_scan_that_causes_it(name: str, tmp_path: Path) -> None:
    change, code = {**SCAN, **ANSWER}[name]
    found = judged(change(), tmp_path)
    assert code in codes(found), found
    expected = STOP if name in ("no liver", "a liver of 100 ml", "mirrored") else "look"
    assert [finding.level for finding in found.findings if finding.code == code] == [expected]
    assert found.level in (expected, STOP)
    assert all(finding.text.endswith(".") and "\n" not in finding.text for finding in found.findings)


def test_findings_about_the_network_follow_from_its_numbers(tmp_path: Path) -> None:
    numbers = judged(body(), tmp_path).numbers
    doubts = {
        "unsure": {"unsure_share": 0.9},
        "scout_disagrees": {"scout_gap_mm": 400.0},
        "review_lesion": {"confidence": {1: 0.71, 2: 0.69, 3: 0.2}},
    }
    for code, change in doubts.items():
        found = verdict(replace(numbers, **change))
        assert codes(found) == {code}
        assert found.level == ("ok" if code == "review_lesion" else "look")
    assert codes(verdict(replace(numbers, unsure_tumor_share=0.9))) == {"unsure"}
    for change in ({"scout_saw_nothing": True}, {"scout_reached": True}):
        assert codes(verdict(replace(numbers, **change))) == {"scout_disagrees"}
    assert "lesions 2, 3:" in verdict(replace(numbers, **doubts["review_lesion"])).findings[0].text


@pytest.mark.parametrize(
    "liver, aorta, phase",
    [
        (110, 150, "portal"),
        (55, 40, "unenhanced"),
        (70, 320, "arterial"),
        (None, 150, ""),
        (28, 150, "portal"),
        (123, 220, "arterial"),  # late: the portal vein is bright, the hepatic veins are not
        (140, 227, "portal"),  # much contrast: the hepatic veins are as bright as the aorta
        (75, 190, "portal"),
    ],
)
def test_the_phase_follows_from_liver_and_aorta(liver: float | None, aorta: float, phase: str) -> None:
    assert contrast_phase(liver, aorta) == phase


def test_the_most_severe_finding_comes_first_and_determines_the_level(tmp_path: Path) -> None:
    scene = body()
    found = judged(replace(scene, hu=scene.hu[::-1].clip(-300, 200), labels=scene.labels[::-1]), tmp_path)
    assert found.level == STOP and found.findings[0].code == "region" and codes(found) >= {"region", "clipped"}


def test_the_verdict_in_the_report_follows_the_schema(tmp_path: Path) -> None:
    import json

    from custom_networks.report.report import SCHEMA

    ct, mask = body(liver_hu=55, aorta_hu=42).save(tmp_path)
    report = measure_mask(only_case(ct), mask, tmp_path / "out").report
    schema = json.loads(SCHEMA.read_text())
    jsonschema.validate({**report, "files": {"mask": "m"}}, schema)
    (finding,) = report["verdict"]["findings"]
    assert report["verdict"]["level"] == "look" and finding["code"] == "phase"
    assert report["verdict"]["numbers"]["aorta_hu"] == pytest.approx(42, abs=15)  # the brightest of noisy discs


def test_finding_codes_are_documented() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "verdict.md").read_text(encoding="utf-8")
    known = {code for _, code in [*SCAN.values(), *ANSWER.values()]} | {"unsure", "scout_disagrees", "review_lesion"}
    assert [code for code in sorted(known) if f"`{code}`" not in page] == []
