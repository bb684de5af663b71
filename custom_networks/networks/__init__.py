"""The network and its blocks; needs torch alone."""

from custom_networks.networks.context_net import ContextNet25D

__all__ = ["ContextNet25D"]
