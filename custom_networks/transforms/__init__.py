"""MONAI transforms from a path to the network's input, and from the network's output to masks and files."""

from custom_networks.transforms.anatomy import FillOrgand, FindLesionsd, KeepOrgand
from custom_networks.transforms.input_grid import LabelsOnInputGridd
from custom_networks.transforms.load import LoadVolumed
from custom_networks.transforms.resample import ResampleInPlaned
from custom_networks.transforms.save import SaveLabelMapd, SaveTumorProbabilityd
from custom_networks.transforms.scout import FindLiverd
from custom_networks.transforms.segments import CoarseCopyd, LabelSegmentsd
from custom_networks.transforms.window import WindowIntensityd

__all__ = [
    "CoarseCopyd",
    "FillOrgand",
    "FindLesionsd",
    "FindLiverd",
    "KeepOrgand",
    "LabelSegmentsd",
    "LabelsOnInputGridd",
    "LoadVolumed",
    "ResampleInPlaned",
    "SaveLabelMapd",
    "SaveTumorProbabilityd",
    "WindowIntensityd",
]
