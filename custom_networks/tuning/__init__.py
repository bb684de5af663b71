"""Operating points, calibration, comparison of recipes and cross-validation.

Run a module with `python -m custom_networks.tuning.<module>`.
"""
