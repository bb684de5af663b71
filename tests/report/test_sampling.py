"""Interpolated values, against values worked out by hand."""

import numpy as np
import pytest

from custom_networks.report import sampling
from custom_networks.report.sampling import PlaneReader, nearest, volume_at, weights


def test_values_between_voxels_are_linear_and_zero_outside() -> None:
    line = np.array([10.0, 20.0, 40.0])
    at = np.array([-1.0, -0.25, 0.5, 1.25, 2.0, 2.75])
    assert (weights(at, 3) @ line).tolist() == pytest.approx([0, 10, 15, 25, 40, 0])


def test_wide_steps_average_and_keep_the_mean_of_a_line() -> None:
    noise = np.where(np.arange(64) % 2, 100.0, 0.0)
    read = weights(np.arange(2, 62, 4.0), 64) @ noise
    assert read == pytest.approx(np.full(15, 50), abs=13)  # a plain sample would give 0 or 100
    assert weights(np.arange(2, 62, 4.0), 64).sum(axis=1) == pytest.approx(np.ones(15))


def test_a_volume_is_sampled_like_its_planes() -> None:
    rng = np.random.default_rng(1)
    volume = rng.integers(-1000, 1000, (20, 17, 50)).astype(np.int16)
    rows, columns, slices = np.arange(0, 19, 1.3), np.arange(2, 16, 1.5), np.array([3.0, 10.0, 17.0])
    read = volume_at(volume, rows, columns, slices)
    assert read.shape == (len(rows), len(columns), 3)
    reader = PlaneReader(volume.shape[:2], rows, columns)
    along = np.tensordot(volume, weights(slices, 50), ([2], [1]))
    for k in range(3):
        np.testing.assert_allclose(read[..., k], reader.read(reader.part(along[..., k])), atol=1e-2)


@pytest.mark.parametrize("layout", ["C", "F", "flipped"])
def test_chunks_and_memory_layout_change_nothing_and_values_outside_are_zero(
    layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = np.random.default_rng(2).integers(-1000, 1000, (12, 9, 10)).astype(np.int16)
    positions = np.arange(-4, 15, 0.7), np.arange(1, 8, 2.0), np.arange(-9, 20, 1.5)
    at_once = volume_at(volume, *positions)
    monkeypatch.setattr(sampling, "AT_A_TIME", 1)
    laid = {"C": volume, "F": np.asfortranarray(volume), "flipped": volume[:, ::-1].copy()[:, ::-1]}[layout]
    np.testing.assert_allclose(volume_at(laid, *positions), at_once, atol=1e-3)
    assert not at_once[0].any() and not at_once[..., 0].any() and at_once[10, 1, 8] != 0
    assert not volume_at(volume, *(at + 100 for at in positions)).any()


def test_the_nearest_voxel_is_never_outside() -> None:
    assert nearest(np.array([-0.4, 0.6, 2.4]), 3).tolist() == [0, 1, 2]
