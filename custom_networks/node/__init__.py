"""A DICOM node: a PACS sends it a study and gets the results back. What it acknowledged survives any crash."""
