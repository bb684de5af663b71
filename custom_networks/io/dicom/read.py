"""An input of DICOM files becomes a volume: the fittest series of the one patient in it; anything irregular is refused.

ITK's and MONAI's readers average uneven steps, drop shear, merge series and believe SpacingBetweenSlices, all silently;
so positions are taken from ImagePositionPatient alone (DICOM PS3.3 C.7.6.2) and checked here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom

from custom_networks.errors import InputError
from custom_networks.io.checks import LOWEST_HU, check_geometry
from custom_networks.io.dicom.choice import DicomListing, check_patients, list_series
from custom_networks.io.dicom.geometry import series_affine
from custom_networks.io.dicom.header import quiet_pydicom
from custom_networks.io.dicom.pixels import hounsfield_slabs
from custom_networks.io.dicom.sentences import case_notes, refusal, series_lines
from custom_networks.io.dicom.series import DicomSeries
from custom_networks.io.files import split_number
from custom_networks.io.slabs import collect_slabs
from custom_networks.io.volume import Volume


def read_dicom(path: str | Path) -> Volume:
    """Read the CT volume of a folder of any depth or of a zip archive of DICOM files, in HU.

    Several series may lie in it: `path` takes the fittest one and names the others in the notes, `path::N` the one that
    `list_dicom` numbers N. Padding and what is below -1024 HU is set to -1024.

    Axes: i along the columns, j along the rows, k along the slice normal, ascending; the affine is RAS+ in mm.

    Raises:
        InputError: no DICOM image, no regular axial CT series whose pixels can all be decoded, or several patients.
    """
    listing, index = _choose(path)
    return _read_regular_series(Path(path), listing.series[index], case_notes(listing, index))


def read_source_headers(path: str | Path) -> list[pydicom.Dataset]:
    """The whole headers, pixels left out, of the slices that `read_dicom(path)` reads, in the order of its last axis.

    They name the patient: they are for the DICOM objects that are made from the volume, and for nothing else.

    Raises:
        InputError: as `read_dicom`.
    """
    listing, index = _choose(path)
    headers: list[pydicom.Dataset] = []
    for header in listing.series[index].slices:
        with header.file.open() as stream, quiet_pydicom():
            headers.append(pydicom.dcmread(stream, stop_before_pixels=True, force=True))
    return headers


def list_dicom(path: str | Path) -> list[str]:
    """What a folder or zip archive holds: a line for each series, what it is, whether it is chosen, and why not.

    Raises:
        InputError: there is no DICOM file, or a file cannot be opened.
    """
    return series_lines(list_series(Path(path)))


def _choose(path: str | Path) -> tuple[DicomListing, int]:
    """What an input holds, and the index of the series to read."""
    source, number = split_number(path)
    listing = list_series(source)
    if number is None:
        return listing, _only_case(listing)
    if not 1 <= number <= len(listing.series):
        raise InputError(f"{source} holds {len(listing.series)} series, there is no {number}: see liverseg series.")
    if listing.series[number - 1].reasons:
        raise InputError(refusal(listing, number - 1))
    return listing, number - 1


def _only_case(listing: DicomListing) -> int:
    """The index of the series of the one patient who has a volume."""
    cases = listing.cases()
    if not cases:
        raise InputError(refusal(listing))
    check_patients(listing)
    if len(cases) > 1:
        numbers = ", ".join(f"::{index + 1}" for index in cases)
        raise InputError(
            f"{listing.source} holds volumes of {len(cases)} patients: add one of {numbers} to the path to name one."
        )
    if listing.series[cases[0]].reasons:
        raise InputError(refusal(listing))
    return cases[0]


def _read_regular_series(path: Path, series: DicomSeries, notes: tuple[str, ...]) -> Volume:
    """Decode checked and sorted slices."""
    slices = series.slices
    affine = series_affine(np.array([s.position for s in slices]), slices[0].axes, slices[0].spacing)
    shape = (slices[0].columns, slices[0].rows, len(slices))
    notes += check_geometry(shape, affine, path)
    whole = all(s.slope.is_integer() and s.intercept.is_integer() for s in slices)
    array = collect_slabs(hounsfield_slabs(slices), shape, whole_numbers=whole, lowest=LOWEST_HU, source=path)
    return Volume(array, affine, notes, source=path)
