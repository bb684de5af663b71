"""Liver and liver tumor segmentation in abdominal CT: what the bundle's JSON cannot declare."""

__version__ = "0.1.0"
