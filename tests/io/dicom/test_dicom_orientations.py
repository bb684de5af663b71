"""Every voxel is at its position in all 16 axial orientations and tilted ones; other orientations are refused."""

from collections.abc import Callable
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from custom_networks.io.dicom.geometry import off_best_grid, stack_reasons
from custom_networks.io.dicom.listing import list_series

Write = Callable[..., Path]
AXES = np.eye(3)
# All that axial slices can have, and one of each kind of those that are not axial.
ORIENTATIONS = [
    (sign[0] * AXES[order[0]], sign[1] * AXES[order[1]], sign[2])
    for order in permutations(range(3))
    for sign in (product((1, -1), repeat=3) if order[2] == 2 else [(1, -1, 1)])
]


def tilted(degrees: float) -> tuple[np.ndarray, np.ndarray, int]:
    angle = np.radians(degrees)
    return np.array([1.0, 0, 0]), np.array([0, np.cos(angle), np.sin(angle)]), 1


@pytest.mark.parametrize("along_row, along_column, sign", [*ORIENTATIONS, tilted(10), tilted(-24), tilted(30)], ids=str)
def test_voxels_are_at_the_positions_of_their_slices(
    write_series: Write, along_row: np.ndarray, along_column: np.ndarray, sign: int
) -> None:
    normal = sign * np.cross(along_row, along_column)

    def orient(k: int, dataset: Dataset) -> None:
        dataset.ImageOrientationPatient = [*map(float, along_row), *map(float, along_column)]
        dataset.ImagePositionPatient = [round(float(x), 6) for x in 3.0 * k * normal - 20]

    (series,) = list_series(write_series(orient)).series
    if abs(normal[2]) < np.cos(np.radians(25)):
        assert "not axial" in " ".join(series.reasons)
        return
    assert series.reasons == ()
    for index, header in enumerate(series.slices):
        k = round(float((np.array(header.position) + 20) @ normal) / 3)
        expected = 3.0 * k * normal - 20 + 5 * 0.8 * along_row + 7 * 0.7 * along_column
        assert np.allclose(series.affine @ [5, 7, index, 1], [-expected[0], -expected[1], expected[2], 1], atol=1e-5)


STEPS = (1.25, 3.75, 1.875, 0.7, 0.625, 5.0, 3.0)


@pytest.mark.parametrize("step, start", zip(STEPS, [-393.5, 0.0, 17.25] * 3, strict=False))
def test_positions_rounded_to_a_tenth_form_a_regular_grid(step: float, start: float) -> None:
    z = np.round(start + step * np.arange(40) + 1e-9, 1)
    positions = np.column_stack([np.zeros((40, 2)), z])
    assert off_best_grid(positions) <= 0.05 + 1e-6
    assert stack_reasons(positions, AXES[:2]) == []
    assert "slices are missing" in stack_reasons(np.delete(positions, 20, 0), AXES[:2])[0]


def test_the_error_of_the_best_grid_equals_worked_values() -> None:
    positions = np.zeros((5, 3))
    positions[:, 2] = [0, 1, 2, 3, 4.3]  # the best grid errs as much at slices 1, 4 and 5
    assert np.isclose(off_best_grid(positions), 0.1125)
    assert off_best_grid(positions * [0, 0, 0]) == 0
