"""Limits on the size of a body, and on the memory that an input may take."""

from pathlib import Path

import numpy as np
import pytest

from custom_networks.errors import InputError
from custom_networks.io import case_of_array
from custom_networks.io.limits import LIMITS, check_decoded, check_extent, check_voxels

pytestmark = pytest.mark.usefixtures("real_limits")
SOURCE = Path("ct.nii.gz")


@pytest.mark.parametrize(
    "shape, spacing",
    [
        ((512, 512, 2000), (0.7, 0.7, 0.15)),
        ((512, 512, 5), (0.7, 0.7, 3.0)),
        ((125, 90, 20), (0.8, 0.8, 5.0)),
        ((500, 500, 500), (2.0, 2.0, 5.0)),
        ((2048, 2048, 100), (0.1, 0.1, 1.0)),
    ],
)
def test_sizes_of_bodies_are_accepted(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> None:
    affine = np.diag([*spacing, 1.0]).astype(np.float32).astype(np.float64)
    check_extent(shape, affine, SOURCE)
    check_voxels(shape, SOURCE)


@pytest.mark.parametrize(
    "shape, spacing, sentence",
    [
        ((512, 512, 90), (50, 50, 3), "pixel size of 50 mm, but 0.05 to 10 mm is accepted"),
        ((512, 512, 90), (0.7, 0.001, 3), "pixel size of 0.001 mm"),
        ((512, 512, 90), (0.7, 0.7, 1e30), r"slice distance of 1e\+30 mm, but 0.15 to 50 mm is accepted"),
        ((512, 512, 90), (0.7, 0.7, 0.1), "slice distance of 0.1 mm"),
        ((128, 100, 90), (0.7, 0.7, 3), r"measures 89.6 mm across the patient \(128 voxels of 0.7 mm\)"),
        ((512, 512, 90), (0.7, 2.0, 3), "measures 1024 mm across the patient"),
        ((512, 512, 9), (0.7, 0.7, 1.5), "measures 13.5 mm along the patient's z .* 15 to 2,500 mm"),
        ((512, 512, 100), (0.7, 0.7, 30), "measures 3000 mm along the patient's z"),
    ],
)
def test_other_sizes_are_refused(shape: tuple[int, int, int], spacing: tuple[float, ...], sentence: str) -> None:
    for order in ((0, 1, 2), (2, 0, 1)):  # slices along the last axis or the first
        affine = np.eye(4)
        affine[:3, :3] = np.diag(spacing)[:, order]
        with pytest.raises(InputError, match=sentence):
            check_extent(tuple(shape[axis] for axis in order), affine, SOURCE)


def test_an_origin_far_away_is_refused() -> None:
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[0, 3] = -3e38
    with pytest.raises(InputError, match=r"origin at -3e\+38 mm, but -1,000,000 to 1,000,000 mm is accepted"):
        check_extent((300, 300, 300), affine, SOURCE)


def test_limits_on_memory_can_be_lifted() -> None:
    for shape in ((512, 512, 3000), (5000, 512, 5)):
        with pytest.raises(InputError, match="at most 640 million and 4,096 along an axis .*--allow-large"):
            check_voxels(shape, SOURCE)
        check_voxels(shape, SOURCE, allow_large=True)
    with pytest.raises(InputError, match="unpacks to 10 GB, above the limit of 5.2 GB"):
        check_decoded(10**10, 10**10, SOURCE)
    with pytest.raises(InputError, match="3,000 times its stored size"):
        check_decoded(3 * 10**9, 10**6, SOURCE)
    with pytest.raises(InputError, match="1,000 times its stored size"):
        check_decoded(10**9, 10**6, SOURCE, free=10**8)
    check_decoded(10**9, 10**6, SOURCE)
    check_decoded(10**10, 10, SOURCE, allow_large=True)
    assert {limit.what for limit in LIMITS if limit.memory} == {
        *("voxels", "voxels along an axis", "unpacked size", "compression ratio")
    }


def test_the_limits_apply_to_arrays_too() -> None:
    huge = np.broadcast_to(np.int16(-500), (512, 512, 3000))
    with pytest.raises(InputError, match="array has 512 x 512 x 3000 voxels"):
        case_of_array(huge, np.diag([0.7, 0.7, 0.5, 1.0])).read()
    small = np.broadcast_to(np.int16(-500), (5000, 100, 5))
    with pytest.raises(InputError, match="is constant"):
        case_of_array(small, np.diag([0.1, 0.1, 5.0, 1.0]), allow_large=True).read()
