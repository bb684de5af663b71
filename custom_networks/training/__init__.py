"""What training needs beyond MONAI: case lists, balanced stacks, the loss, averaged weights, evaluation."""

from .cases import training_cases, validation_cases
from .ema import AveragedWeights
from .loss import OrganTumorLoss
from .partial_labels import MarkPartialLabelsd
from .resume import ResumableState
from .slice_stacks import RandSliceStacksd

__all__ = [
    "AveragedWeights",
    "MarkPartialLabelsd",
    "OrganTumorLoss",
    "RandSliceStacksd",
    "ResumableState",
    "training_cases",
    "validation_cases",
]
