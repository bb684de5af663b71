"""DICOM structured report of a case: a TID 1500 Measurement Report as Comprehensive 3D SR (PS3.16, PS3.3 A.35.13)."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

from custom_networks.dicom_out import codes
from custom_networks.dicom_out.findings import LesionSegments, MeasuredCase, MeasuredLesion
from custom_networks.dicom_out.seg import SegObject, save_whole
from custom_networks.dicom_out.source import SourceSeries, quiet

SERIES_NUMBER = 901


def write_sr(
    path: Path,
    source: SourceSeries,
    seg: SegObject,
    measured: MeasuredCase,
    remarks: Sequence[str] = (),
    segments: Mapping[int, LesionSegments] | None = None,
) -> Any:
    """Write the measurements of a case as a report that refers to the segments of its SEG.

    There is a measurement group for the liver (volume), one for all lesions (count, total volume), and one for each
    lesion: volume, long and short axis, mean and standard deviation in HU, and the certainty if calibrated. Values that
    are None or not finite are omitted. Groups of lesions that share a segment do not refer to it (TID 1501), because it
    is not the measured region. With `segments`, the group of a lesion also has its liver segments as finding sites
    (largest share first), its volume in each of them, and whether another liver segment is near. The report is
    preliminary and unverified.

    Args:
        path: the file; it is written atomically.
        source: the series, from `source_series`.
        seg: the SEG from `write_seg`, for the same measurements.
        measured: the measurements.
        remarks: sentences about the case, written as comments in the liver's group.
        segments: the liver segments in which each lesion lies, by the lesion's id.

    Returns:
        The SR, a `highdicom.sr.Comprehensive3DSR`.

    Raises:
        UsageError: highdicom is not installed.
    """
    hd = codes.load_highdicom()
    with quiet():
        where = segments or {}
        lesions = [_lesion(seg, lesion, measured.calibrated, where.get(lesion.id)) for lesion in measured.lesions]
        groups = [_liver(seg, measured.liver_ml, remarks), _all_lesions(seg, measured.lesions), *lesions]
        report = hd.sr.Comprehensive3DSR(
            evidence=[*source.headers, seg.dataset],
            content=hd.sr.MeasurementReport(
                observation_context=_observer(),
                procedure_reported=codes.COMPUTED_TOMOGRAPHY,
                imaging_measurements=groups,
            ),
            series_instance_uid=hd.UID(),
            series_number=SERIES_NUMBER,
            sop_instance_uid=hd.UID(),
            instance_number=1,
            series_description="Liver and lesion measurements (research use only)",
            is_complete=True,
            is_final=False,
            is_verified=False,
            **codes.EQUIPMENT,
        )
        save_whole(report, path)
    return report


def _liver(seg: SegObject, liver_ml: float, remarks: Sequence[str]) -> Any:
    """Return the measurement group of the liver, with each remark as a comment.

    Remarks are appended to the finished group, because highdicom's constructor takes only coded evaluations.
    """
    sr = codes.load_highdicom().sr
    group = _group(seg, "Liver", 1, [_measurement(codes.VOLUME, liver_ml, codes.MILLILITER)])
    contains = sr.RelationshipTypeValues.CONTAINS
    for remark in remarks:
        group[0].ContentSequence.append(sr.TextContentItem(codes.COMMENT, remark, relationship_type=contains))
    return group


def _all_lesions(seg: SegObject, lesions: Sequence[MeasuredLesion]) -> Any:
    """Return the group of all lesions, with their number and total volume; it refers to a segment if all share it."""
    shared = len(lesions) > 1 and len(set(seg.segment_of.values())) == 1
    total = sum(lesion.volume_mm3 for lesion in lesions)
    measurements = [
        _measurement(codes.NUMBER_OF_LESIONS, len(lesions), codes.COUNT),
        _measurement(codes.VOLUME, total / 1000, codes.MILLILITER),
    ]
    return _group(seg, "All lesions", 2 if shared else None, measurements)


def _lesion(seg: SegObject, lesion: MeasuredLesion, calibrated: bool, where: LesionSegments | None) -> Any:
    """Return the measurement group of a lesion; it refers to the lesion's SEG segment unless other lesions share it."""
    segment = seg.segment_of[lesion.id]
    alone = list(seg.segment_of.values()).count(segment) == 1
    certainty = 100 * lesion.confidence if calibrated and lesion.confidence is not None else None
    measured = [
        (codes.VOLUME, lesion.volume_mm3 / 1000, codes.MILLILITER, None),
        (codes.LONG_AXIS, lesion.longest_mm, codes.MILLIMETER, None),
        (codes.SHORT_AXIS, lesion.perpendicular_mm, codes.MILLIMETER, None),
        (codes.ATTENUATION, lesion.mean_hu, codes.HOUNSFIELD, codes.MEAN),
        (codes.ATTENUATION, lesion.sd_hu, codes.HOUNSFIELD, codes.STANDARD_DEVIATION),
        (codes.CERTAINTY, certainty, codes.PERCENT, None),
    ]
    measurements = [
        _measurement(name, value, unit, derivation)
        for name, value, unit, derivation in measured
        if value is not None and math.isfinite(value)
    ]
    for number, share in where.shares if where else ():
        volume = share * lesion.volume_mm3 / 1000
        measurements.append(_measurement(codes.VOLUME, volume, codes.MILLILITER, site=codes.COUINAUD[number]))
    return _group(seg, f"Lesion {lesion.id}", segment if alone else None, measurements, where)


def _group(
    seg: SegObject, name: str, segment: int | None, measurements: Sequence[Any], where: LesionSegments | None = None
) -> Any:
    """Return the measurement group of a finding, which refers to a segment of the SEG (TID 1411) or not (TID 1501)."""
    hd = codes.load_highdicom()
    liver = segment == 1
    described = seg.dataset.SegmentSequence[segment - 1] if segment else None
    shared = {
        "tracking_identifier": hd.sr.TrackingIdentifier(
            uid=described.TrackingUID if described else hd.UID(), identifier=described.TrackingID if described else name
        ),
        "finding_type": codes.LIVER if liver else codes.MASS,
        "finding_category": codes.ANATOMICAL_STRUCTURE if liver else codes.ABNORMAL_STRUCTURE,
        "finding_sites": [hd.sr.FindingSite(anatomic_location=place) for place in _finding_sites(where)],
        "algorithm_id": hd.sr.AlgorithmIdentification(name=codes.ALGORITHM_NAME, version=codes.ALGORITHM_VERSION),
        "measurements": measurements,
        "qualitative_evaluations": _evaluations(where),
    }
    if segment is None:
        return hd.sr.MeasurementsAndQualitativeEvaluations(**shared)
    referenced = _referenced_segment(seg, segment)
    return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_segment=referenced, **shared)


def _referenced_segment(seg: SegObject, segment: int) -> Any:
    """Return a reference to a segment and its source images or, for an enhanced CT, its source frames."""
    hd = codes.load_highdicom()
    frames = [
        frame.DerivationImageSequence[0].SourceImageSequence[0]
        for frame in seg.dataset.PerFrameFunctionalGroupsSequence
        if frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber == segment
    ]
    numbers = sorted({int(frame.ReferencedFrameNumber) for frame in frames if "ReferencedFrameNumber" in frame})
    if not numbers:
        return hd.sr.ReferencedSegment.from_segmentation(seg.dataset, segment_number=segment)
    image = hd.sr.SourceImageForSegmentation(
        frames[0].ReferencedSOPClassUID, frames[0].ReferencedSOPInstanceUID, numbers
    )
    return hd.sr.ReferencedSegment(
        sop_class_uid=seg.dataset.SOPClassUID,
        sop_instance_uid=seg.dataset.SOPInstanceUID,
        segment_number=segment,
        source_images=[image],
    )


def _finding_sites(where: LesionSegments | None) -> list[Code]:
    """Return the finding sites: the liver and, if known, the liver segments."""
    return [codes.LIVER, *(codes.COUINAUD[number] for number, _ in (where.shares if where else ()))]


def _evaluations(where: LesionSegments | None) -> list[Any] | None:
    """Return an evaluation that states whether another liver segment is near, or None if the segments are unknown."""
    if where is None:
        return None
    sr = codes.load_highdicom().sr
    value = codes.YES if where.near_border else codes.NO
    return [sr.QualitativeEvaluation(name=codes.NEAR_SEGMENT_BORDER, value=value)]


def _measurement(name: Code, value: float, unit: Code, derivation: Code | None = None, site: Code | None = None) -> Any:
    """Return a measurement rounded to three decimals, because decimal strings have at most 16 characters."""
    sr = codes.load_highdicom().sr
    sites = [sr.FindingSite(anatomic_location=site)] if site else None
    return sr.Measurement(
        name=name, value=round(float(value), 3), unit=unit, derivation=derivation, finding_sites=sites
    )


def _observer() -> Any:
    """Return the observation context: the software as a device, with the same UID in all reports of a version."""
    sr = codes.load_highdicom().sr
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=generate_uid(entropy_srcs=[codes.ALGORITHM_NAME, codes.ALGORITHM_VERSION]),
        name=codes.ALGORITHM_NAME,
        manufacturer_name=codes.MANUFACTURER,
        model_name=codes.MODEL,
        serial_number=codes.SERIAL_NUMBER,
    )
    context = sr.ObserverContext(observer_type=codes.DEVICE, observer_identifying_attributes=device)
    return sr.ObservationContext(observer_device_context=context)
