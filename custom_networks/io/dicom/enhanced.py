"""Enhanced CT: multi-frame files in which functional groups describe each frame (DICOM PS3.3 C.7.6.16).

Each frame is converted to a data set like that of a classic slice, so that the later steps need not distinguish them.
"""

import logging
from collections.abc import Iterable

from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag
from pydicom.uid import EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage

logger = logging.getLogger(__name__)

ENHANCED_CT = (EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)
SHARED, PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
CONCATENATION = ("ConcatenationUID", "InConcatenationNumber", "InConcatenationTotalNumber")
OFFSETS = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")
ENHANCED_TAGS = (SHARED, PER_FRAME, *CONCATENATION, *OFFSETS)
# 20 phases of 1000 slices.
MOST_FRAMES = 20_000

# Required in a frame's groups and not inherited from the file: they define its position and the meaning of its pixels.
REQUIRED = ("PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient", "RescaleSlope", "RescaleIntercept")
_NOT_OF_A_FRAME = (*REQUIRED, "RescaleType", "NumberOfFrames", "PixelData", *ENHANCED_TAGS)
# Attributes read from each group. The unassigned groups of converted files come first, so that others override them.
_UNASSIGNED = "AcquisitionNumber ConvolutionKernel ContrastBolusAgent"
GROUPS = {
    "UnassignedSharedConvertedAttributesSequence": _UNASSIGNED,
    "UnassignedPerFrameConvertedAttributesSequence": _UNASSIGNED,
    "PixelMeasuresSequence": "PixelSpacing SliceThickness",
    "PlaneOrientationSequence": "ImageOrientationPatient",
    "PlanePositionSequence": "ImagePositionPatient",
    "PixelValueTransformationSequence": "RescaleSlope RescaleIntercept RescaleType",
    "FrameContentSequence": "FrameAcquisitionNumber StackID TemporalPositionIndex",
    "CTImageFrameTypeSequence": "FrameType",
    "CTReconstructionSequence": "ConvolutionKernel",
    "ContrastBolusUsageSequence": "ContrastBolusAgentAdministered",
}
# Keywords of the same attributes in classic slices.
_CLASSIC = {
    "FrameAcquisitionNumber": "AcquisitionNumber",
    "FrameType": "ImageType",
    "ContrastBolusAgentAdministered": "ContrastBolusAgent",
}
FRAME_KEYWORDS = frozenset(_CLASSIC.get(keyword, keyword) for text in GROUPS.values() for keyword in text.split())
Elements = dict[BaseTag, DataElement]


def _tag(keyword: str) -> BaseTag:
    return BaseTag(tag_for_keyword(keyword) or 0)


_MACROS = {_tag(macro): [_tag(keyword) for keyword in keywords.split()] for macro, keywords in GROUPS.items()}


def checked_views(dataset: Dataset) -> tuple[list[Dataset], str]:
    """Return the data sets of `frame_views`, and the reason why the frames cannot be used as slices.

    The reason is a clause to follow "because", and the list is then empty. Without a reason, it is "".
    """
    reason = _reason_against(dataset)
    views = [] if reason else frame_views(dataset)
    for number, view in enumerate(views, start=1):
        missing = [keyword for keyword in REQUIRED if keyword not in view]
        if missing:
            return [], f"the functional groups of frame {number} have no {', '.join(missing)}"
    return views, reason


def _reason_against(dataset: Dataset) -> str:
    """Return why a multi-frame file cannot be split into frames, as a clause to follow "because"; "" if it can."""
    if dataset.get("SOPClassUID") not in ENHANCED_CT:
        return "their SOP class is not Enhanced CT"
    if any(keyword in dataset for keyword in CONCATENATION) and dataset.get("InConcatenationTotalNumber") != 1:
        return "each is only a part of a concatenation"
    groups, declared = _items(dataset, PER_FRAME), dataset.get("NumberOfFrames") or 1
    if not groups:
        return f"they have no {PER_FRAME}"
    if len(groups) != declared:
        return f"NumberOfFrames is {declared}, but there are functional groups of {len(groups)} frames"
    if len(groups) > MOST_FRAMES:
        return f"they hold {len(groups)} frames, but at most {MOST_FRAMES} are read"
    return ""


def frame_views(dataset: Dataset) -> list[Dataset]:
    """Return a data set for each frame: the file's attributes, overridden by those in the shared and its own groups.

    Each has the file's meta information but no pixel data. RescaleType and the attributes in REQUIRED come from the
    groups alone. Values of a wrong type are omitted.
    """
    left_out = {_tag(keyword) for keyword in _NOT_OF_A_FRAME}
    whole = _elements(dataset, [tag for tag in dataset.keys() if tag not in left_out])
    for group in _items(dataset, SHARED)[:1]:
        whole.update(_group_attributes(group))
    views = [Dataset({**whole, **_group_attributes(group)}) for group in _items(dataset, PER_FRAME)]
    for view in views:
        view.file_meta = dataset.file_meta
    return views


class Frames:
    """The frames of a parsed enhanced CT as classic slices, with their pixel data still encoded."""

    def __init__(self, dataset: Dataset) -> None:
        """Prepare a data set with functional groups and pixel data, as returned by dcmread.

        Raises:
            KeyError: there are no pixel data.
            ValueError: the numbers of compressed frames and functional groups differ.
        """
        self._views = frame_views(dataset)
        self._meta = dataset.file_meta
        self._element = dataset["PixelData"]
        self._encoded = self._compressed(dataset) if self._meta.TransferSyntaxUID.is_encapsulated else None

    def classic(self, number: int) -> Dataset:
        """Return frame `number`, counted from 1, as the data set of a classic slice with encoded pixel data."""
        view = Dataset(dict(self._views[number - 1].items()))
        view.file_meta = self._meta
        view.add(DataElement(self._element.tag, self._element.VR, self._pixel_data(number), already_converted=True))
        return view

    def _compressed(self, dataset: Dataset) -> list[bytes]:
        """Return the encoded frames."""
        from pydicom.encaps import generate_frames  # not in pydicom 2, which MONAI Label requires

        offsets = [dataset[keyword].value for keyword in OFFSETS if keyword in dataset]
        tables = (offsets[0], offsets[1]) if len(offsets) == 2 else None
        count = len(self._views)
        frames = list(generate_frames(self._element.value, number_of_frames=count, extended_offsets=tables))
        if len(frames) != count:
            raise ValueError(f"There are {len(frames)} compressed frames, but functional groups for {count}.")
        return frames

    def _pixel_data(self, number: int) -> bytes:
        """Return the pixel data of one frame as they would be stored in a single-frame file."""
        if self._encoded is not None:
            from pydicom.encaps import encapsulate

            return encapsulate([self._encoded[number - 1]], has_bot=False)
        view = self._views[number - 1]
        size = int(view.Rows) * int(view.Columns) * int(view.BitsAllocated) // 8
        pixels: bytes = self._element.value
        return pixels[(number - 1) * size : number * size]


def _items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of a sequence, or [] if it is absent, empty or not a sequence."""
    return _sequence(_elements(dataset, [_tag(keyword)]).get(_tag(keyword)))


def _sequence(element: DataElement | None) -> list[Dataset]:
    return list(element.value or ()) if element is not None and element.VR == "SQ" else []


def _elements(dataset: Dataset, tags: Iterable[BaseTag]) -> Elements:
    """Return the elements with these tags that are present and readable."""
    elements: Elements = {}
    there = dataset.keys()
    for tag in tags:
        try:
            if tag in there:
                elements[tag] = dataset[tag]
        except Exception:  # pydicom has no common error for values of a wrong type
            logger.debug("%s of an enhanced CT has a value of a wrong type", tag)
    return elements


def _group_attributes(group: Dataset) -> Elements:
    """Return the attributes in the shared or a frame's functional groups, by their tags in a classic slice."""
    taken: Elements = {}
    for macro, sequence in _elements(group, _MACROS).items():
        for item in _sequence(sequence)[:1]:
            for element in _elements(item, _MACROS[macro]).values():
                if element.value not in (None, ""):
                    _add_element(taken, element, item)
    return taken


def _add_element(taken: Elements, element: DataElement, item: Dataset) -> None:
    """Add an element of a functional group to `taken`, with the tag that it has in a classic slice.

    A contrast agent is added only if it was administered. VolumeBasedCalculationTechnique is appended to a frame type.
    """
    value = element.value
    if element.keyword == "FrameType":  # a projection has the type VOLUME; only its technique identifies it
        words = [value] if isinstance(value, str) else list(value)
        value = [*words, str(item.get("VolumeBasedCalculationTechnique") or "NONE")]
    if element.keyword == "ContrastBolusAgentAdministered" and value != "YES":
        return
    tag = _tag(_CLASSIC.get(element.keyword, element.keyword))
    taken[tag] = DataElement(tag, element.VR, value, already_converted=True)
