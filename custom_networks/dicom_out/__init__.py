"""DICOM results of a case: segmentations (SEG), structured report (SR), key images and PDF."""
