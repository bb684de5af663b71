"""What training needs in addition to MONAI: losses, averaged weights, resumable checkpoints, estimates of its cost."""

from custom_networks.training.checkpoints import BestModelSaver, FinalModelSaver
from custom_networks.training.ema import AveragedWeights, estimate_batch_statistics
from custom_networks.training.estimate import TrainingPace, announce_cache
from custom_networks.training.loss import OrganTumorLoss
from custom_networks.training.loss_guard import FiniteLossGuard
from custom_networks.training.resume import ResumableState
from custom_networks.training.segment_loss import SegmentsLoss

__all__ = [
    "AveragedWeights",
    "BestModelSaver",
    "FinalModelSaver",
    "FiniteLossGuard",
    "OrganTumorLoss",
    "ResumableState",
    "SegmentsLoss",
    "TrainingPace",
    "announce_cache",
    "estimate_batch_statistics",
]
