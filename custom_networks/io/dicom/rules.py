"""Rules for the slices of a CT volume; every broken rule is reported in one sentence."""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from custom_networks.io.checks import MIN_SLICES
from custom_networks.io.dicom.enhanced import ENHANCED_CT
from custom_networks.io.dicom.header import SliceHeader
from custom_networks.io.dicom.pixel_element import MISSING
from custom_networks.io.dicom.pixels import decoder_reason

MIN_MM = 15.0
# Values of ImageType for computed images that are not HU, or do not show single planes.
COMPUTED = {
    *("MIP", "MINIP", "MAX_IP", "MIN_IP", "MAXIMUM", "MINIMUM", "PROJECTION", "PROJECTION IMAGE", "3D", "VRT", "SSD"),
    *("VOLUME_RENDERED", "VOLUME RENDERING", "SCREEN SAVE", "SCREENSAVE", "DOSEINFO", "DOSE_INFO", "PERFUSION"),
    *("VOLUME_RENDER", "SURFACE_RENDER", "CURVED_MPR"),
    *("SUBTRACTION", "STD_DEVIATION", "IODINE", "IODINE_MAP", "EFF_ATOMIC_NUM", "ELECTRON_DENSITY"),
}
GREY = ("MONOCHROME1", "MONOCHROME2")
Rule = tuple[Callable[[SliceHeader], bool], str]


def is_localizer(header: SliceHeader) -> bool:
    """Whether the header identifies the image as a localizer."""
    return "LOCALIZER" in header.image_type


def _is_multiframe(header: SliceHeader) -> bool:
    """Whether a file is a multi-frame object whose frames could not be separated into slices."""
    return header.frame == 0 and (header.frames > 1 or header.sop_class in ENHANCED_CT)


# Files that break these rules are not examined further, since other rules make no sense for them.
OTHER_MODALITIES: tuple[Rule, ...] = (
    (lambda s: not s.modality, "are damaged or incomplete (they have no modality): export them again"),
    (lambda s: s.modality not in ("CT", ""), "are not CT but {modality}: only CT is read"),
)
# Files that break these rules contain nothing to segment.
OTHER_KINDS: tuple[Rule, ...] = (
    (is_localizer, "are localizers (scouts), not axial slices: leave them out"),
    (
        lambda s: bool(COMPUTED & set(s.image_type)),
        "are derived images (ImageType {image_type}), not slices in Hounsfield units: give the original CT",
    ),
    (
        lambda s: not (s.placed or _is_multiframe(s) or s.pixel_fault == MISSING),
        "have no position or orientation (dose screen, film, secondary capture): leave them out",
    ),
    (lambda s: s.pixel_fault == MISSING, "have no pixel data: export them again"),
)
# Files that break these rules could be slices of a volume, but are faulty.
FAULTS: tuple[Rule, ...] = (
    (
        _is_multiframe,
        "have frames that cannot be read, because {frame_fault}: export them as classic CT",
    ),
    (lambda s: not s.rows * s.columns, "are damaged or incomplete (they have no Rows or Columns): export them again"),
    (lambda s: s.pixel_fault not in ("", MISSING), "{pixel_fault}: export them again"),
    (lambda s: bool(s.absent), "lack {absent}, without which pixels cannot be interpreted: export them again"),
    (lambda s: s.bits > s.bits_allocated, "have BitsStored above BitsAllocated: export them again"),
    (
        lambda s: s.samples != 1 or 0 < s.bits <= 8 or s.photometric.upper() not in ("", *GREY),
        "hold 8-bit or colour pixels, not Hounsfield units: export the original CT",
    ),
    (
        lambda s: not (
            np.isfinite(s.slope * s.intercept) and s.rescale_type.upper() in ("", "HU", "US") or _is_multiframe(s)
        ),
        "have no rescale to Hounsfield units (RescaleSlope, RescaleIntercept, RescaleType): export the original CT",
    ),
)


def kind_reasons(slices: Sequence[SliceHeader]) -> list[str]:
    """Return the reasons why files are not slices of a CT volume; [] if all are."""
    return _reasons(slices, OTHER_MODALITIES) or _reasons(slices, OTHER_KINDS)


def none_are_ct_slices(slices: Sequence[SliceHeader]) -> bool:
    """Whether no file is a slice of a CT volume according to its header."""
    return all(any(breaks(header) for breaks, _ in OTHER_MODALITIES + OTHER_KINDS) for header in slices)


def all_are_ct_slices(slices: Sequence[SliceHeader]) -> bool:
    """Whether all files are slices of a CT volume according to their headers."""
    return not any(breaks(header) for header in slices for breaks, _ in OTHER_MODALITIES + OTHER_KINDS)


def fault_reasons(slices: Sequence[SliceHeader]) -> list[str]:
    """Return the reasons why CT slices cannot be read; [] if all can.

    A SOPInstanceUID that several images share is one of them, because references to these images would be ambiguous.
    """
    syntaxes = {s.transfer_syntax for s in slices if s.pixel_fault != MISSING}
    decoders = [reason for syntax in sorted(syntaxes) if (reason := decoder_reason(syntax))]
    pictures = [s for s in slices if s.modality == "CT" and not is_localizer(s) and s.pixel_fault != MISSING]
    uids = Counter((s.instance_uid, s.frame) for s in slices if s.instance_uid)
    repeated = [f"{n} different images have the same SOPInstanceUID" for _, n in sorted(uids.items()) if n > 1]
    return _reasons(pictures, FAULTS) + decoders + [f"{text}: export the series again." for text in repeated[:1]]


def uniformity_reasons(slices: Sequence[SliceHeader]) -> list[str]:
    """Return the reasons why slices do not share a grid (different matrices or pixel spacings); [] if they do."""
    reasons = []
    matrices = Counter((s.columns, s.rows) for s in slices)
    if len(matrices) > 1:
        named = ", ".join(f"{columns} x {rows} ({n})" for (columns, rows), n in matrices.most_common(4))
        reasons.append(f"Its slices differ in size: {named}; export one reconstruction.")
    spacings = np.array([s.spacing for s in slices])
    if np.ptp(spacings, axis=0).max() > 1e-4:
        reasons.append(
            f"Its pixel spacing differs between slices ({spacings.min():g} to {spacings.max():g} mm); export one "
            "reconstruction."
        )
    return reasons


def amount_reasons(slices: Sequence[SliceHeader], depth_mm: float | None) -> list[str]:
    """Return a reason if slices are too few or do not cover enough depth, else [].

    `depth_mm` is the depth that they cover, or None if it is unknown; it is then not checked.
    """
    count = f"{len(slices)} slice{'s' * (len(slices) != 1)}"
    if len(slices) < MIN_SLICES:
        covers = f" ({depth_mm:g} mm)" if depth_mm and len(slices) > 1 else ""
        return [f"It holds {count}{covers}, but at least {MIN_SLICES} are needed: give the whole series."]
    if depth_mm is not None and depth_mm < MIN_MM:
        return [f"Its {count} cover {depth_mm:g} mm, but at least {MIN_MM:g} mm are needed: give the whole series."]
    return []


def _reasons(slices: Sequence[SliceHeader], rules: Sequence[Rule]) -> list[str]:
    """Return a sentence for each broken rule, with the number of files and the name of the first one."""
    reasons, count = [], len({header.file for header in slices})
    for breaks, text in rules:
        files: dict[str, set[str]] = {}
        for header in filter(breaks, slices):
            types = " ".join(sorted(COMPUTED & set(header.image_type)))
            faults = {"pixel_fault": header.pixel_fault, "frame_fault": header.frame_fault}
            faults["absent"] = ", ".join(header.absent)
            phrase = text.format(modality=header.modality, image_type=types, **faults)
            files.setdefault(phrase, set()).add(header.file.name)
        reasons += [
            f"{len(named)} of {count} files {phrase} (first: {min(named)})." for phrase, named in sorted(files.items())
        ]
    return reasons
