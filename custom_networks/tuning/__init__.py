"""Operating points, calibration, recipes and cross-validation: `python -m custom_networks.tuning...`."""

from custom_networks.tuning.tune import tune_operating_point

__all__ = ["tune_operating_point"]
