"""Notes about accepted series that are unusual, such as deviations from the standard or lossy compression."""

from collections.abc import Sequence

from custom_networks.io.dicom.header import SliceHeader, is_uid
from custom_networks.io.dicom.pixels import LOSSY

UIDS = {
    "StudyInstanceUID": "study_uid",
    "SeriesInstanceUID": "series_uid",
    "SOPInstanceUID": "instance_uid",
    "FrameOfReferenceUID": "frame_uid",
}


def series_notes(slices: Sequence[SliceHeader]) -> tuple[str, ...]:
    """Return notes about deviations from the standard, mixed acquisitions, derived images and lossy compression."""
    acquisitions, kernels = len({s.acquisition for s in slices}), len({s.kernel for s in slices})
    borrowed = len({s.file for s in slices if not s.own_instance_uid})
    files = f"{borrowed} file{'s' * (borrowed != 1)}"
    scales = len({(s.slope, s.intercept) for s in slices})
    notes = {
        "The series has no SeriesInstanceUID: all slices were treated as one series.": not slices[0].series_uid,
        **_uid_notes(slices),
        f"SOPInstanceUID is empty in {files}: it was taken from the file meta information.": borrowed > 0,
        f"{acquisitions} acquisitions form one even stack: they were treated as one.": acquisitions > 1,
        f"{kernels} reconstruction kernels (ConvolutionKernel) form one even stack: they were treated as one.": (
            kernels > 1
        ),
        f"RescaleSlope or RescaleIntercept differs between slices ({scales} pairs): each slice has its own rescale.": (
            scales > 1
        ),
        "HighBit contradicts BitsStored: the pixels were assumed to be stored in the lower bits.": any(
            0 < s.bits < s.bits_allocated and s.top_bit != s.high_bit for s in slices
        ),
        "The slices are derived images (ImageType DERIVED).": any("DERIVED" in s.image_type for s in slices),
        "The pixels were compressed lossily.": any(s.lossy or s.transfer_syntax in LOSSY for s in slices),
    }
    return tuple(note for note, applies in notes.items() if applies)


def _uid_notes(slices: Sequence[SliceHeader]) -> dict[str, bool]:
    """Return the notes about invalid and varying UIDs, and for each whether it applies to these slices.

    UIDs are not quoted, because an invalid one could contain a patient's name.
    """
    notes = {}
    for keyword, attribute in UIDS.items():
        uids = {getattr(header, attribute) for header in slices} - {""}
        odd = sum(not is_uid(uid) for uid in uids)
        notes[f"{keyword} is not a valid UID (digits and dots, at most 64 characters): it was compared as text."] = (
            odd > 0
        )
        if keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
            each = f"{keyword} has {len(uids)} different values: the slices were treated as one series."
            notes[each] = len(uids) > 1
    return notes


def numbers_note(slices: Sequence[SliceHeader]) -> tuple[str, ...]:
    """Return a note if InstanceNumber skips numbers, since a stack that lacks every other slice is still even.

    There is no note if slices have no InstanceNumber, or the same one.
    """
    numbers = {s.instance_number for s in slices if s.instance_number is not None}
    if len(numbers) < len(slices):
        return ()
    range_ = max(numbers) - min(numbers) + 1
    note = f"InstanceNumber skips {range_ - len(numbers)} of {range_} numbers: slices may be missing."
    return (note,) * (range_ > len(numbers))
