"""Many inputs, one output folder: each is segmented, written and recorded; one that fails does not stop the others."""
