"""Synthetic abdominal CT with exact truth, for tests, demonstrations and benchmarks without patients."""

from custom_networks.phantom.files import write_phantoms
from custom_networks.phantom.lesions import Lesion
from custom_networks.phantom.synthesis import Phantom, make_phantom

__all__ = ["Lesion", "Phantom", "make_phantom", "write_phantoms"]
