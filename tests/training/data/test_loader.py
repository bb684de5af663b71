"""An exception while batches are prepared stops training instead of shortening its epochs."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.data import Dataset, MetaTensor

from custom_networks.training.data import RaisingThreadDataLoader

ROOT = Path(__file__).resolve().parents[3]


def loader(items: list[torch.Tensor]) -> RaisingThreadDataLoader:
    return RaisingThreadDataLoader(Dataset(items), batch_size=2, buffer_size=2)


def test_batches_come_in_order() -> None:
    batches = list(loader([torch.tensor([float(i)]) for i in range(5)]))
    assert [batch.flatten().tolist() for batch in batches] == [[0.0, 1.0], [2.0, 3.0], [4.0]]


def test_an_exception_in_the_thread_is_raised_after_the_batches_before_it() -> None:
    mixed = [torch.zeros(1), torch.ones(1), MetaTensor(torch.zeros(1)), torch.ones(1)]
    taken = []
    with pytest.raises(AttributeError, match="meta"):
        for batch in loader(mixed):
            taken.append(batch)
    assert len(taken) == 1


def test_the_thread_has_ended_when_python_exits_during_an_epoch(python: Callable[..., Any]) -> None:
    script = """
import threading, weakref
weakref.finalize(threading, lambda: print([t.name for t in threading.enumerate() if "enqueue" in t.name]))  # runs last
import torch
from monai.data import Dataset
from custom_networks.training.data import RaisingThreadDataLoader
batches = iter(RaisingThreadDataLoader(Dataset([torch.zeros(1)] * 50), batch_size=2, buffer_size=2))
next(batches)
assert any("enqueue" in thread.name for thread in threading.enumerate())
"""
    done = python("-c", script, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
