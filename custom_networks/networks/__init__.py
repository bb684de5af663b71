"""The network and its blocks; needs torch alone."""

from .context_net import ContextNet25D
from .memory_format import to_channels_last

__all__ = ["ContextNet25D", "to_channels_last"]
