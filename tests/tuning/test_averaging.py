"""Averaged weights: the mean worked by hand, and the batches from which statistics are estimated."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.utils import set_determinism
from torch import Tensor

from custom_networks.tuning.averaging import inputs, mean_weights, training_parts


@pytest.fixture
def seeded() -> Iterator[None]:
    """Undo the seeding of a script after each test."""
    yield
    set_determinism(None)


def test_weights_are_averaged_and_counters_are_taken_from_the_first() -> None:
    one = {"weight": torch.tensor([1.0, -2.0]), "half": torch.tensor([0.5]).half(), "batches": torch.tensor(7)}
    two = {"weight": torch.tensor([2.0, 4.0]), "half": torch.tensor([1.5]).half(), "batches": torch.tensor(9)}
    three = {"weight": torch.tensor([6.0, 1.0]), "half": torch.tensor([4.0]).half(), "batches": torch.tensor(1)}
    mean = mean_weights([one, two, three])
    assert {name: value.tolist() for name, value in mean.items()} == {"weight": [3, 1], "half": [2], "batches": 7}
    assert {name: value.dtype for name, value in mean.items()} == {name: value.dtype for name, value in one.items()}


def test_batches_depend_only_on_the_seed(
    small_phantoms: Callable[[tuple[float, float, float]], Path], seeded: None
) -> None:
    folder = small_phantoms((1.6, 1.6, 3.0))
    tiny = {"dataset_dir": str(folder), "precision": "float32", "patch_size": [32, 32], "patch_slices": 2}

    def two_batches(**more: Any) -> Tensor:
        device, _, loader, _ = training_parts({**tiny, **more})
        assert len(loader) == 1
        return torch.stack(list(inputs(loader, 2, device))).as_subclass(Tensor)

    batches = two_batches()
    assert torch.equal(batches, two_batches()) and not torch.equal(batches, two_batches(seed=6))


def test_the_loader_is_restarted_when_it_ends_and_inputs_are_on_the_device() -> None:
    loader = [{"image": torch.zeros(1)}, {"image": torch.zeros(2)}]
    given = list(inputs(loader, 5, torch.device("meta")))  # as a GPU would be: not where the loader's tensors are
    assert [(len(image), image.device.type) for image in given] == [(n, "meta") for n in (1, 2, 1, 2, 1)]
