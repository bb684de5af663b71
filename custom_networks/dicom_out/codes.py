"""What the DICOM results say in codes, and who says it: concepts, colours, and the name of the algorithm.

A lesion is coded as a mass, which claims nothing about malignancy. The categories are those of DICOM CID 7150, the
types those of CID 7159 and 7166; "Neoplasm of liver" (126851005) is a disorder, not a structure, and not among them.
"""

from types import ModuleType

from pydicom.sr.coding import Code

from custom_networks import __version__
from custom_networks.errors import UsageError

ALGORITHM_NAME = "liver_tumor_ct_25d"
ALGORITHM_VERSION = __version__
MANUFACTURER, MODEL = "liverseg", ALGORITHM_NAME
SERIAL_NUMBER = "0"  # of type 1 in a SEG, and software has none
EQUIPMENT = {  # as highdicom's objects take it
    "manufacturer": MANUFACTURER,
    "manufacturer_model_name": MODEL,
    "software_versions": ALGORITHM_VERSION,
    "device_serial_number": SERIAL_NUMBER,
}

ANATOMICAL_STRUCTURE = Code("91723000", "SCT", "Anatomical Structure")
ABNORMAL_STRUCTURE = Code("49755003", "SCT", "Morphologically Abnormal Structure")
LIVER = Code("10200004", "SCT", "Liver")
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

MILLILITER = Code("ml", "UCUM", "milliliter")
MILLIMETER = Code("mm", "UCUM", "millimeter")
HOUNSFIELD = Code("[hnsf'U]", "UCUM", "Hounsfield unit")
PERCENT = Code("%", "UCUM", "percent")
COUNT = Code("1", "UCUM", "no units")

# CIELab, as viewers show them by default: brown and bright green.
LIVER_COLOUR = (51.5, 46.4, 30.4)
LESION_COLOUR = (87.7, -86.2, 83.2)


def load_highdicom() -> ModuleType:
    """The module highdicom, imported when the first DICOM result is written.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import highdicom
    except ImportError as error:
        raise UsageError(
            f"DICOM SEG and SR need highdicom ({error}): pip install highdicom, or leave the DICOM results out."
        ) from error
    return highdicom
