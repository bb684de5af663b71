"""The network and its building blocks; PyTorch is the only dependency."""

from custom_networks.networks.context_net import ContextNet25D

__all__ = ["ContextNet25D"]
