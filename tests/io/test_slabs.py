"""Slabs are joined in the narrowest type."""

from pathlib import Path

import numpy as np
import pytest

from custom_networks.errors import InputError
from custom_networks.io.volume import collect_slabs

SOURCE = Path("case.nrrd")


def collect(values: list[float], whole: bool, lowest: float | None = None) -> np.ndarray:
    slabs = [np.full((2, 3, 1), value) for value in values]
    return collect_slabs(slabs, (2, 3, len(values)), whole_numbers=whole, lowest=lowest, source=SOURCE)


@pytest.mark.parametrize(
    "values, whole, dtype",
    [
        ([-32768, 32767], True, np.int16),
        ([5, 32768, 7], True, np.int32),
        ([5, 2.0**31, 7], True, np.float32),
        ([2.0**31, 5], True, np.float32),
        ([5, 7], False, np.float32),
    ],
)
def test_the_type_is_the_narrowest_that_fits_all_slabs(values: list[float], whole: bool, dtype: type) -> None:
    array = collect(values, whole)
    assert array.dtype == dtype
    assert array[1, 2].tolist() == values


def test_values_below_the_lowest_are_raised_before_the_type_is_chosen() -> None:
    array = collect([-40000, 7], True, lowest=-1024)
    assert array.dtype == np.int16 and array[0, 0].tolist() == [-1024, 7]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_values_that_are_not_finite_in_float32_are_refused_even_below_the_lowest(value: float) -> None:
    with pytest.raises(InputError, match="case.nrrd holds values that are not finite numbers"):
        collect([1, value], False, lowest=-1024)
