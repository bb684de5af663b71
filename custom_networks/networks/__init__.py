"""The network and its blocks; needs torch alone."""

from custom_networks.networks.context_net import ContextNet25D
from custom_networks.networks.memory_format import to_channels_last

__all__ = ["ContextNet25D", "to_channels_last"]
