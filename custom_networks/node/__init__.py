"""A DICOM node: a PACS sends a study, its results come back. What was acknowledged outlives any crash."""
