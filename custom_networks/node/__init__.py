"""A DICOM node that receives CT studies, segments them and sends the results; acknowledged images survive a crash."""
