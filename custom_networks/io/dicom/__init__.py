"""DICOM series: what an input holds, what may be read of it, and its voxels in HU."""
