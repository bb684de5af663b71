"""Codes, display colours and equipment of DICOM results.

Lesions are coded as masses, which does not imply malignancy. Categories are from DICOM CID 7150, types from CID 7159
and 7166, which do not include "Neoplasm of liver" (126851005), a disorder and not a structure. Liver segments are from
CID 7170, Couinaud Liver Segment.
"""

from types import ModuleType

from pydicom.sr.coding import Code

from custom_networks import __version__
from custom_networks.errors import UsageError

ALGORITHM_NAME = "liver_tumor_ct_25d"
ALGORITHM_VERSION = __version__
MANUFACTURER, MODEL = "liverseg", ALGORITHM_NAME
SERIAL_NUMBER = "0"  # required (type 1) in a SEG, although software has none
EQUIPMENT = {  # arguments of highdicom's objects
    "manufacturer": MANUFACTURER,
    "manufacturer_model_name": MODEL,
    "software_versions": ALGORITHM_VERSION,
    "device_serial_number": SERIAL_NUMBER,
}

ANATOMICAL_STRUCTURE = Code("91723000", "SCT", "Anatomical Structure")
ABNORMAL_STRUCTURE = Code("49755003", "SCT", "Morphologically Abnormal Structure")
LIVER = Code("10200004", "SCT", "Liver")
COUINAUD = {
    1: Code("71133005", "SCT", "Couinaud hepatic segment I"),
    2: Code("277956007", "SCT", "Couinaud hepatic segment II"),
    3: Code("277957003", "SCT", "Couinaud hepatic segment III"),
    4: Code("277958008", "SCT", "Couinaud hepatic segment IV"),
    5: Code("277959000", "SCT", "Couinaud hepatic segment V"),
    6: Code("277960005", "SCT", "Couinaud hepatic segment VI"),
    7: Code("277961009", "SCT", "Couinaud hepatic segment VII"),
    8: Code("277962002", "SCT", "Couinaud hepatic segment VIII"),
}
MASS = Code("4147007", "SCT", "Mass")
COMPUTED_TOMOGRAPHY = Code("77477000", "SCT", "Computed tomography")
DEVICE = Code("121007", "DCM", "Device")
ARTIFICIAL_INTELLIGENCE = Code("123110", "DCM", "Artificial Intelligence")

VOLUME = Code("118565006", "SCT", "Volume")
LONG_AXIS = Code("103339001", "SCT", "Long axis")
SHORT_AXIS = Code("103340004", "SCT", "Short axis")
NUMBER_OF_LESIONS = Code("246206008", "SCT", "Number of lesions")
ATTENUATION = Code("112031", "DCM", "Attenuation Coefficient")
COMMENT = Code("121106", "DCM", "Comment")
CERTAINTY = Code("111012", "DCM", "Certainty of Finding")  # 0 to 100 %
MEAN = Code("373098007", "SCT", "Mean")
STANDARD_DEVIATION = Code("386136009", "SCT", "Standard Deviation")

# DICOM and SNOMED CT have no code for this concept; private coding schemes begin with 99 (PS3.3 8.2).
NEAR_SEGMENT_BORDER = Code("NEAR_SEGMENT_BORDER", "99LIVERSEG", "Within 5 mm of another liver segment")
YES = Code("373066001", "SCT", "Yes")
NO = Code("373067005", "SCT", "No")

MILLILITER = Code("ml", "UCUM", "milliliter")
MILLIMETER = Code("mm", "UCUM", "millimeter")
HOUNSFIELD = Code("[hnsf'U]", "UCUM", "Hounsfield unit")
PERCENT = Code("%", "UCUM", "percent")
COUNT = Code("1", "UCUM", "no units")

# Recommended display colours of liver (brown) and lesions (bright green) in CIELab.
LIVER_COLOUR = (51.5, 46.4, 30.4)
LESION_COLOUR = (87.7, -86.2, 83.2)
# For segments 1 to 8; neighbours differ in hue.
SEGMENT_COLOURS = {
    1: (60.3, 98.2, -60.8),
    2: (53.2, 80.1, 67.2),
    3: (74.9, 23.9, 79.0),
    4: (97.1, -21.6, 94.5),
    5: (46.2, -51.7, 49.9),
    6: (91.1, -48.1, -14.1),
    7: (32.3, 79.2, -107.9),
    8: (55.0, 10.0, -45.0),
}


def load_highdicom() -> ModuleType:
    """Import and return highdicom, which is slow to import and optional.

    Raises:
        UsageError: highdicom is not installed.
    """
    try:
        import highdicom
    except ImportError as error:
        raise UsageError(
            f"DICOM results need highdicom ({error}): pip install highdicom and run again (liverseg segment with "
            "--force)."
        ) from error
    return highdicom
