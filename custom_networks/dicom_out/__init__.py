"""DICOM results of a case: segmentation (SEG) and structured report (SR)."""
