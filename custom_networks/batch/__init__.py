"""Segment many inputs into one output folder; an input that fails does not stop the others."""
