"""Average the weights of several training runs that started from the same weights ("Model soups").

    python -m custom_networks.tuning.averaging out/average.pt out/seed*/model_final.pt --dataset_dir DATA

See Wortsman et al., ICML 2022. Averaged weights do not match averaged batch statistics, so the statistics of every
BatchNorm are estimated again from `--batches` training batches of train.json, each with the same weight.
"""

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.utils import set_determinism
from torch import Tensor

from custom_networks.bundle_files import bundle_root
from custom_networks.files import refuse_damaged_weights
from custom_networks.training import estimate_batch_statistics
from custom_networks.training.checkpoints import save_whole

BUNDLE = bundle_root()
OVERRIDES = {"bundle_root": str(BUNDLE), "fold": "all", "seed": 5, "batch_size": 4}


def mean_weights(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each tensor over state dicts of one network; integer counters are taken from the first."""
    first = states[0]
    return {
        name: (
            torch.stack([state[name].double() for state in states]).mean(0).to(value.dtype)
            if value.is_floating_point()
            else value
        )
        for name, value in first.items()
    }


def training_parts(overrides: Mapping[str, Any]) -> tuple[Any, ...]:
    """Device, network, loader and inferer of train.json, with a fixed seed, so that the batches are always the same.

    Args:
        overrides: values for ids of train.json, in addition to OVERRIDES.
    """
    config = ConfigParser()
    config.read_config(BUNDLE / "configs" / "train.json")
    config.update({**OVERRIDES, **overrides})
    set_determinism(seed=config["seed"], use_deterministic_algorithms=None)  # as train.json's "initialize"
    names = ("device", "network", "train#dataloader", "train#inferer")
    return tuple(config.get_parsed_content(name) for name in names)


def inputs(loader: Iterable[Mapping[str, Tensor]], batches: int, device: torch.device) -> Iterator[Tensor]:
    """Yield the images of the first `batches` batches on a device; the loader is restarted when it ends."""
    return (batch["image"].to(device) for batch in islice(chain.from_iterable(repeat(loader)), batches))


def main() -> None:
    """Read the command line, average the weights, and save the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("output", type=Path, help="file to write the averaged weights to")
    parser.add_argument("weights", type=Path, nargs="+", help="files of the weights to average, state dicts")
    parser.add_argument("--dataset_dir", required=True, help="folder of the data, as for train.json")
    parser.add_argument("--precision", default="auto", help="auto, float32 or bfloat16, as for train.json")
    parser.add_argument("--batches", type=int, default=60, help="number of training batches for the statistics")
    arguments = parser.parse_args()
    overrides = {"dataset_dir": arguments.dataset_dir, "precision": arguments.precision}
    device, network, loader, inferer = training_parts(overrides)
    for path in arguments.weights:
        refuse_damaged_weights(path)
    averaged = mean_weights([torch.load(path, map_location="cpu", weights_only=True) for path in arguments.weights])
    network.load_state_dict(averaged)
    estimate_batch_statistics(network, inputs(loader, arguments.batches, device), inferer)
    counters = {name: value for name, value in averaged.items() if not value.is_floating_point()}
    save_whole({**{name: value.cpu() for name, value in network.state_dict().items()}, **counters}, arguments.output)


if __name__ == "__main__":
    main()
