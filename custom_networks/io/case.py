"""Cases: CT volumes to segment, with their source, identity and reader."""

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from math import prod
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from custom_networks.errors import InputError, UsageError
from custom_networks.files import file_digest
from custom_networks.io.checks import LOWEST_HU, check_ct_values
from custom_networks.io.files import case_stem, medical_suffix, regular_file
from custom_networks.io.image_files import read_file, read_header
from custom_networks.io.image_header import ImageHeader
from custom_networks.io.nifti_header import nifti_geometry
from custom_networks.io.volume import Volume, slabs_of, volume_of

IN_MEMORY = "array"
State = tuple[tuple[str, int, int], ...]  # resolved path, size in bytes and modification time in ns of each file


def digest(parts: Iterable[str | bytes]) -> str:
    """Return the SHA-256 of a sequence of strings or bytes in hexadecimal; ("ab", "c") and ("a", "bc") differ."""
    whole = hashlib.sha256()
    for part in parts:
        content = part.encode(errors="surrogateescape") if isinstance(part, str) else part
        whole.update(len(content).to_bytes(8, "little"))
        whole.update(content)
    return whole.hexdigest()


def place_of(source: str) -> str:
    """Return the digest of an input's resolved path; `source` is the path as the user typed it."""
    return digest([os.path.realpath(os.path.expanduser(source))])


@dataclass(frozen=True)
class SeriesInfo:
    """Facts about a DICOM series for reports.

    Attributes:
        series_instance_uid: SeriesInstanceUID, "" if it is missing or invalid.
        series_number: SeriesNumber, 0 if it is missing.
        spacing_mm: voxel spacing along the volume's axes.
        slices: number of slices.
        height_m: height of the patient, or None if unknown; not written to reports.
        weight_kg: weight of the patient, or None if unknown; not written to reports.
    """

    series_instance_uid: str
    series_number: int
    spacing_mm: tuple[float, float, float]
    slices: int
    height_m: float | None = None
    weight_kg: float | None = None


@dataclass(frozen=True, eq=False)
class Case(ABC):
    """A CT volume that was found but not read yet. It can be pickled and read in another process.

    Attributes:
        name: name derived from the input's path, with safe characters only; not necessarily unique.
        source: the input as a user would type it, `PATH` or `PATH::N`; "array" for an array in memory.
        notes: sentences for the user, known before the volume is read; the volume's notes begin with them.
        series: facts about a DICOM series; None for any other input.
        allow_large: whether to lift the memory limits of `custom_networks.io.limits`.
    """

    name: str
    source: str
    notes: tuple[str, ...] = ()
    series: SeriesInfo | None = None
    allow_large: bool = field(default=False, kw_only=True)

    @abstractmethod
    def read(self) -> Volume:
        """Read the volume in HU and check it.

        Raises:
            InputError: the input cannot be read or segmented.
        """

    def headers(self) -> tuple[Dataset, ...]:
        """Return what DICOM results need from each slice's header (see `Volume.headers`), () for other kinds of input.

        Raises:
            InputError: a file has changed and is no longer DICOM.
        """
        return ()

    def state(self) -> State:
        """Return path, size and modification time of each file of the input, or () if unknown.

        A rerun compares them, so that it need not read unchanged inputs.

        Raises:
            InputError: a file is missing or damaged.
        """
        return ()

    @cached_property
    def voxels(self) -> int:
        """Number of voxels; 0 if unknown before reading."""
        return 0

    @cached_property
    def place(self) -> str:
        """Digest of the input's resolved path."""
        return place_of(self.source)

    @cached_property
    def identity(self) -> str:
        """Digest that identifies the input across runs; for a file, the digest of its resolved path."""
        return self.place

    @cached_property
    def content(self) -> str:
        """Digest of the input's content, by default its identity; raises InputError if a file cannot be opened."""
        return self.identity

    @cached_property
    def geometry(self) -> str:
        """Digest of a file's shape and affine ("" for other inputs); raises InputError if its header is unreadable."""
        return ""


class FileCase(Case):
    """A NIfTI, NRRD or MetaImage file."""

    def read(self) -> Volume:
        """See `Case.read`."""
        return checked(read_file(Path(self.source), LOWEST_HU, self.allow_large))

    @cached_property
    def geometry(self) -> str:
        """See `Case.geometry`."""
        header = read_header(Path(self.source))
        return digest([repr((header.shape, header.affine.tolist()))])

    @cached_property
    def content(self) -> str:
        """See `Case.content`; includes the voxel files of a detached header."""
        return digest(_file_digest(file) for file in self._files())

    def state(self) -> State:
        """See `Case.state`."""
        return tuple((os.path.realpath(file), (now := file.stat()).st_size, now.st_mtime_ns) for file in self._files())

    @cached_property
    def voxels(self) -> int:
        """See `Case.voxels`."""
        try:
            return prod(read_header(Path(self.source)).shape)
        except InputError:
            return 0

    def _files(self) -> list[Path]:
        """Return the file and, for a detached header, the files with the voxels."""
        path = regular_file(Path(self.source))
        files = read_header(path).voxels.files if path.suffix.lower() in (".mhd", ".nhdr") else ()
        return [path, *(file for file in files if file != path)]


@dataclass(frozen=True, eq=False)
class RefusedCase(Case):
    """An input that was found to be unusable before its voxels were read.

    Attributes:
        reason: the message of the InputError that `read` raises.
    """

    reason: str = field(kw_only=True)

    def read(self) -> Volume:
        """Raise InputError with the reason."""
        raise InputError(self.reason)


@dataclass(frozen=True, eq=False)
class ArrayCase(Case):
    """A case from memory, identified by its content.

    Attributes:
        array: (i, j, k) voxels in HU: an array, nibabel's array proxy, or the header of the file to read them from.
        affine: (4, 4) voxel index to RAS mm.
        nifti_geometry: see `Volume`.
    """

    array: Any = field(kw_only=True, repr=False)
    affine: npt.NDArray[np.float64] = field(kw_only=True, repr=False)
    nifti_geometry: Mapping[str, Any] = field(default_factory=dict, kw_only=True, repr=False)

    def read(self) -> Volume:
        """See `Case.read`."""
        source, large = Path(self.source), self.allow_large
        volume = checked(
            volume_of(self.array, self.affine, self._slabs(), source=source, lowest=LOWEST_HU, allow_large=large)
        )
        return replace(volume, notes=self.notes + volume.notes, nifti_geometry=self.nifti_geometry)

    @cached_property
    def voxels(self) -> int:
        """See `Case.voxels`."""
        return prod(self.array.shape)

    def _slabs(self) -> Iterator[np.ndarray] | None:
        """Return the voxels of a file, a few slices at a time, or None for an array."""
        return self.array.slabs(self.allow_large) if isinstance(self.array, ImageHeader) else None

    @property
    def place(self) -> str:
        """The digest of the content, because an array has no path."""
        return self.identity

    @cached_property
    def identity(self) -> str:
        """Digest of voxels, shape, data type and affine."""
        head = (f"{self.array.dtype} {self.array.shape}", np.ascontiguousarray(self.affine).tobytes())
        return digest(chain(head, (slab.tobytes() for slab in self._slabs() or slabs_of(self.array))))


def case_of_array(
    array: npt.ArrayLike, affine: npt.ArrayLike, name: str = "case", *, allow_large: bool = False
) -> Case:
    """Make a case from arrays, which must not be modified until the case has been segmented.

    Args:
        array: (i, j, k) voxels in HU.
        affine: (4, 4) voxel index to RAS mm, as in nibabel.
        name: name of the case, in which unsafe characters are replaced (see `case_stem`).
        allow_large: whether to lift the memory limits of `custom_networks.io.limits`.

    Raises:
        UsageError: the affine is not a 4 x 4 matrix.
    """
    matrix = np.asarray(affine, dtype=np.float64)
    if matrix.shape != (4, 4):
        raise UsageError(
            f"The affine must be a 4 x 4 matrix, got shape {matrix.shape}: give the matrix from voxel indices to RAS "
            "mm, as in nibabel."
        )
    return ArrayCase(case_stem(name), IN_MEMORY, array=np.asarray(array), affine=matrix, allow_large=allow_large)


def case_of_image(image: nib.Nifti1Image, name: str | None = None, *, allow_large: bool = False) -> Case:
    """Make a case from a nibabel NIfTI image whose scaled values are HU, loaded or not.

    By default, the case is named after the image's file, or "case" if there is none.

    Raises:
        UsageError: the object is not a NIfTI image.
        InputError: the header has no valid geometry, or the header of the image's file is damaged.
    """
    if not isinstance(image, nib.Nifti1Image):
        raise UsageError(
            f"A nibabel.Nifti1Image is needed, got {type(image).__name__}: save the image as a NIfTI file and give its "
            "path, or give an array of HU with its affine."
        )
    called = case_stem(name or image.get_filename() or "case")
    affine, fields, notes = nifti_geometry(image.header, Path(called), image.affine)
    voxels: Any = image.dataobj
    if nib.is_proxy(voxels):
        voxels = _checked_header(image) or voxels
    return ArrayCase(
        *(called, IN_MEMORY, notes), array=voxels, affine=affine, nifti_geometry=fields, allow_large=allow_large
    )


def _checked_header(image: nib.Nifti1Image) -> ImageHeader | None:
    """Return the header of an image's file, or None if the image has no NIfTI file or the two no longer match.

    The voxels are then read by our own reader, because nibabel does not verify checksums and would decompress the file
    again for every slab.

    Raises:
        InputError: the file's header is damaged.
    """
    path = Path(image.get_filename() or "")
    if medical_suffix(path) not in (".nii", ".nii.gz") or not path.is_file():
        return None
    header = read_header(path)
    voxels: Any = image.dataobj
    same = (header.shape, header.slope, header.inter) == (voxels.shape[:3], voxels.slope, voxels.inter)
    return header if same else None


def checked(volume: Volume) -> Volume:
    """Return `volume` unchanged; raises InputError if its values cannot be Hounsfield units."""
    check_ct_values(volume.array, volume.source)
    return volume


def _file_digest(path: Path) -> str:
    """Return the SHA-256 of a file; raises InputError if it cannot be read."""
    try:
        return file_digest(path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}): check that it is still there and readable."
        ) from error
