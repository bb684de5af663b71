"""Damaged weights are refused wherever weights are read, since a flipped bit would change the network."""

import logging
import os
import random
from pathlib import Path

import pytest
import torch

from custom_networks.bundle_files import bundle_root
from custom_networks.errors import BundleError, UsageError
from custom_networks.files import refuse_damaged_weights
from custom_networks.inference import announce_weights, load_weights, loaded_network
from custom_networks.pipeline import Pipeline, _check_process


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Weights of a small network, in a file that consists mostly of their data."""
    torch.manual_seed(0)
    torch.save(torch.nn.Linear(64, 64).state_dict(), tmp_path / "weights.pt")
    return tmp_path / "weights.pt"


def flipped(path: Path, place: int, bit: int = 0) -> Path:
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)
    return path


def test_a_flipped_bit_is_detected_wherever_weights_are_read(weights: Path) -> None:
    whole = weights.read_bytes()
    start = whole.index(torch.load(weights)["weight"].numpy().tobytes())
    network = torch.nn.Linear(64, 64)
    drawn = random.Random(0)
    for _ in range(20):
        weights.write_bytes(whole)
        flipped(weights, start + drawn.randrange(64 * 64 * 4), drawn.randrange(8))
        torch.load(weights, weights_only=True)  # PyTorch takes them
        with pytest.raises(BundleError, match=r"weights.pt is damaged \(the checksum of .* is wrong\)"):
            load_weights(network, weights)
        with pytest.raises(BundleError, match="is damaged"):
            announce_weights(str(weights), str(bundle_root()))
        with pytest.raises(BundleError, match="is damaged"):
            refuse_damaged_weights(weights)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_wherever_they_are_loaded(weights: Path, value: float) -> None:
    state = torch.load(weights, weights_only=True)
    state["bias"][3] = value
    torch.save(state, weights)
    for load in (load_weights, lambda network, path: loaded_network(network, str(path))):
        with pytest.raises(BundleError, match=r"weights.pt is damaged \(bias is not finite\): fetch or train it again"):
            load(torch.nn.Linear(64, 64), weights)


def test_a_truncated_file_is_refused_and_a_complete_one_is_not(weights: Path, tmp_path: Path) -> None:
    refuse_damaged_weights(weights)
    refuse_damaged_weights(tmp_path / "absent.pt")
    (tmp_path / "pointer.pt").write_text("version https://git-lfs.github.com/spec/v1\n")
    refuse_damaged_weights(tmp_path / "pointer.pt")  # no archive: the loader says what it is
    os.truncate(weights, weights.stat().st_size // 2)
    with pytest.raises(BundleError, match=r"weights.pt is damaged \(File is not a zip file\): fetch or copy it again"):
        refuse_damaged_weights(weights)


def test_other_weights_are_used_with_a_warning(weights: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert not announce_weights(str(weights), str(bundle_root()))
    assert "other weights than those released" in caplog.text


def test_an_environment_variable_that_disables_config_expressions_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONAI_EVAL_EXPR", "0")
    with pytest.raises(UsageError, match="MONAI_EVAL_EXPR=0 in the environment .*: unset it"):
        Pipeline()


def test_a_process_forked_after_use_is_refused_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("custom_networks.pipeline._process", [os.getpid()])
    _check_process()
    monkeypatch.setattr("custom_networks.pipeline._process", [os.getppid()])
    with pytest.raises(UsageError, match="forked after its parent .* multiprocessing's spawn method"):
        _check_process()
