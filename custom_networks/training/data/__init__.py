"""Training data: data lists and folds, checks of label maps, partial labels, and stacks cut from volumes."""

from custom_networks.training.data.cases import image_names, training_cases, validation_cases
from custom_networks.training.data.label_grid import LabelOnImaged
from custom_networks.training.data.liver_boxes import LiverBoxd, RandLiverBorderd, RandSegmentStackd
from custom_networks.training.data.loader import RaisingThreadDataLoader
from custom_networks.training.data.partial_labels import MarkPartialLabelsd
from custom_networks.training.data.slice_stacks import RandSliceStacksd

__all__ = [
    "LabelOnImaged",
    "LiverBoxd",
    "MarkPartialLabelsd",
    "RaisingThreadDataLoader",
    "RandLiverBorderd",
    "RandSegmentStackd",
    "RandSliceStacksd",
    "image_names",
    "training_cases",
    "validation_cases",
]
