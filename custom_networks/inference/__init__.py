"""Slice-stack inference over the network it is handed."""

from .precision import autocast_dtype, bfloat16_pays, channels_last_pays, lay_out
from .slice_stack_inferer import SliceStackInferer
from .spacing import slice_step
from .stack_inferer import StackInferer

__all__ = [
    "SliceStackInferer",
    "StackInferer",
    "autocast_dtype",
    "bfloat16_pays",
    "channels_last_pays",
    "lay_out",
    "slice_step",
]
