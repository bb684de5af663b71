"""The self-test that chooses the number format."""

from collections.abc import Iterator

import pytest
import torch

from custom_networks.inference import autocast_dtype, bfloat16_pays, precision

CPU = torch.device("cpu")


@pytest.fixture
def unmeasured() -> Iterator[None]:
    """No choice made before the test, and none of the test's kept after it."""
    bfloat16_pays.cache_clear()
    yield
    bfloat16_pays.cache_clear()


@pytest.fixture
def stopwatch(unmeasured: None, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that the next measurements give, in order; a measurement too many fails."""
    seconds: list[float] = []
    monkeypatch.setattr(precision, "_seconds", lambda *args, **kwargs: seconds.pop(0))
    return seconds


def test_self_test_of_this_machine_answers_yes_or_no(unmeasured: None) -> None:
    assert type(bfloat16_pays(CPU)) is bool


def test_the_choice_is_measured_once(stopwatch: list[float]) -> None:
    stopwatch.extend([1.0, 0.4])
    assert [bfloat16_pays(CPU) for _ in range(3)] == [True] * 3


@pytest.mark.parametrize("half, pays", [(0.5, True), (0.8, True), (0.9, False), (1.0, False), (7.0, False)])
def test_bfloat16_must_be_clearly_faster_than_float32(half: float, pays: bool, stopwatch: list[float]) -> None:
    stopwatch.extend([1.0, half])
    assert bfloat16_pays(CPU) is pays


def test_named_precisions_need_no_measurement(stopwatch: list[float]) -> None:
    assert autocast_dtype(CPU, "float32") is None
    assert autocast_dtype(CPU, "bfloat16") is torch.bfloat16


@pytest.mark.parametrize("half, dtype", [(0.5, torch.bfloat16), (7.0, None)])
def test_auto_precision_follows_the_measurement(half: float, dtype: torch.dtype | None, stopwatch: list[float]) -> None:
    stopwatch.extend([1.0, half])
    assert autocast_dtype(CPU, "auto") is dtype


@pytest.mark.parametrize("unknown", ["float16", "fp32", "", "AUTO"])
def test_unknown_precisions_are_refused(unknown: str) -> None:
    with pytest.raises(ValueError, match=f"must be one of .*auto.*, got '{unknown}'"):
        autocast_dtype(CPU, unknown)
