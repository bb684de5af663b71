"""DICOM: list the series of an input, choose among them, check them and read their voxels in HU."""
