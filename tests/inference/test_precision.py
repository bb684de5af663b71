"""The number format is chosen by what the device supports, never by timing."""

import pytest
import torch

from custom_networks.inference import chosen_precision
from custom_networks.inference.precision import autocast

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
# What `torch.cpu.get_capabilities()` says of three machines; the first lacks the keys of another architecture.
ARM, ZEN3 = {"neon": True}, {"avx2": True, "avx512_bf16": False, "amx_bf16": False}
ZEN4, XEON = ZEN3 | {"avx512_bf16": True}, ZEN3 | {"amx_bf16": True}


@pytest.mark.parametrize(
    "capabilities, training",
    [(ARM, "float32"), (ZEN3, "float32"), (ZEN4, "bfloat16"), (XEON, "bfloat16")],
    ids=["ARM", "AVX2", "AVX-512 bf16", "AMX"],
)
def test_a_cpu_infers_in_float32_and_trains_in_bfloat16_if_it_has_instructions(
    capabilities: dict[str, bool], training: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert chosen_precision(CPU, "auto") == "float32"
    assert chosen_precision(CPU, "auto", training=True) == training


def test_a_version_of_pytorch_without_capabilities_trains_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert chosen_precision(CPU, "auto", training=True) == "float32"


@pytest.mark.parametrize("computes, expected", [(True, "bfloat16"), (False, "float32")])
def test_a_gpu_uses_bfloat16_if_it_supports_it(computes: bool, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # as of PyTorch 2.13 every GPU emulates it
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or computes
    )
    assert [chosen_precision(GPU, "auto", training) for training in (False, True)] == [expected] * 2


def test_other_devices_use_float32() -> None:
    assert chosen_precision(torch.device("mps"), "auto", training=True) == "float32"


@pytest.mark.parametrize("device", [CPU, GPU], ids=str)
@pytest.mark.parametrize("named", ["float32", "bfloat16"])
def test_a_named_precision_is_used_on_any_device(named: str, device: torch.device) -> None:
    assert chosen_precision(device, named) == chosen_precision(device, named, training=True) == named


def test_layers_compute_in_the_chosen_precision() -> None:
    ones = torch.ones(2, 2)
    for named, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16), ("auto", torch.float32)):
        with autocast(CPU, named):
            assert (ones @ ones).dtype == dtype


@pytest.mark.parametrize("unknown", ["float16", "fp32", "", "AUTO"])
def test_unknown_precisions_are_refused(unknown: str) -> None:
    with pytest.raises(ValueError, match=f"must be one of .*auto.*, got '{unknown}'"):
        chosen_precision(CPU, unknown)
