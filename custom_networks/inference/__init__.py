"""Inference with a 2.5D network: slabs and stacks, runtimes, precision, weights."""

from custom_networks.inference.memory import keep_freed_memory
from custom_networks.inference.precision import chosen_precision
from custom_networks.inference.slice_stack_inferer import SliceStackInferer, StackInferer
from custom_networks.inference.spacing import slice_step
from custom_networks.inference.weights import announce_weights, load_weights, loaded_network, weights_in

__all__ = [
    "SliceStackInferer",
    "StackInferer",
    "announce_weights",
    "chosen_precision",
    "keep_freed_memory",
    "load_weights",
    "loaded_network",
    "slice_step",
    "weights_in",
]
