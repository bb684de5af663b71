"""Pre- and post-processing: from a volume to the network's grid, and from the network's answer to anatomy."""

from custom_networks.transforms.anatomy_dict import DropStrayLesionsd, FillOrgand, KeepOrgand
from custom_networks.transforms.decide import DecideOnInputGridd
from custom_networks.transforms.predicted_lesions import PredictedLesions, list_lesions
from custom_networks.transforms.resample import ResampleInPlaned
from custom_networks.transforms.window import WindowIntensityd

__all__ = [
    "DecideOnInputGridd",
    "DropStrayLesionsd",
    "FillOrgand",
    "KeepOrgand",
    "PredictedLesions",
    "ResampleInPlaned",
    "WindowIntensityd",
    "list_lesions",
]
