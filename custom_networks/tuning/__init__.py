"""Operating points, calibration, recipes and cross-validation: `python -m custom_networks.tuning.<module>`."""
