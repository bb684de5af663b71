"""A case is one CT volume to segment: where it comes from, how it is identified, and how it is read."""

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
State = tuple[tuple[str, int, int], ...]  # resolved path, size in bytes and time of last change in ns of each file


def digest(parts: Iterable[str | bytes]) -> str:
    """A hex digest (SHA-256) of several parts; ("ab", "c") and ("a", "bc") have different digests."""
    whole = hashlib.sha256()
    for part in parts:
        content = part.encode(errors="surrogateescape") if isinstance(part, str) else part
        whole.update(len(content).to_bytes(8, "little"))
        whole.update(content)
    return whole.hexdigest()


def place_of(source: str) -> str:
    """A digest of the resolved path of an input, given as a user would type it."""
    return digest([os.path.realpath(os.path.expanduser(source))])


@dataclass(frozen=True)
class SeriesInfo:
    """Facts about a DICOM series for reports; "" and 0 stand for what the files do not say.

    Attributes:
        series_instance_uid: its UID.
        series_number: its number.
        spacing_mm: of the voxels, along the volume's axes.
        slices: how many there are.
        height_m: of the patient, None if not known; reports do not repeat it.
        weight_kg: of the patient, None if not known; reports do not repeat it.
    """

    series_instance_uid: str
    series_number: int
    spacing_mm: tuple[float, float, float]
    slices: int
    height_m: float | None = None
    weight_kg: float | None = None


@dataclass(frozen=True, eq=False)
class Case(ABC):
    """One CT volume that was found but not read yet. It can be pickled and read in another process.

    Attributes:
        name: what the user called it, in safe characters; several cases can have the same name.
        source: what a user would type to name it, `PATH` or `PATH::N`; "array" for an array in memory.
        notes: what is known before reading, one sentence each; the volume's notes begin with them.
        series: facts about a DICOM series; None for any other input.
        allow_large: whether to read more voxels than `custom_networks.io.limits` allows.
    """

    name: str
    source: str
    notes: tuple[str, ...] = ()
    series: SeriesInfo | None = None
    allow_large: bool = field(default=False, kw_only=True)

    @abstractmethod
    def read(self) -> Volume:
        """The checked volume in HU.

        Raises:
            InputError: it cannot be segmented; one sentence says what is wrong and what to do.
        """

    def headers(self) -> tuple[Dataset, ...]:
        """What DICOM results need from each slice's header, read again from the files: see `Volume.headers`."""
        return ()

    def state(self) -> State:
        """The state of its files, by which an unchanged input is recognised without reading it; () if it has none."""
        return ()

    @cached_property
    def voxels(self) -> int:
        """How many voxels it will have; 0 if that is not known before it is read."""
        return 0

    @cached_property
    def place(self) -> str:
        """A digest of the path that names the input; see `place_of`."""
        return place_of(self.source)

    @cached_property
    def identity(self) -> str:
        """A digest that stays the same when the same input is given again; for a file, of its resolved path."""
        return self.place

    @cached_property
    def content(self) -> str:
        """A digest of what the input holds; InputError if one of its files cannot be opened."""
        return self.identity

    @cached_property
    def geometry(self) -> str:
        """A digest of a file's shape and affine, "" for any other input; InputError if its header is unreadable."""
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
        """See `Case.content`; if a header is detached, the files with its voxels count, too."""
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
        """The file, and the files that hold the voxels of a detached header."""
        path = regular_file(Path(self.source))
        files = read_header(path).voxels.files if path.suffix.lower() in (".mhd", ".nhdr") else ()
        return [path, *(file for file in files if file != path)]


@dataclass(frozen=True, eq=False)
class RefusedCase(Case):
    """An input that turned out to be unreadable when it was listed; reading it says why."""

    reason: str = field(kw_only=True)

    def read(self) -> Volume:
        """Raise an InputError with the reason."""
        raise InputError(self.reason)


@dataclass(frozen=True, eq=False)
class ArrayCase(Case):
    """Voxels (i, j, k) in HU with their (4, 4) affine: an array, nibabel's array proxy, or a file's checked header.

    It is identified by its content. `nifti_geometry` is described in `Volume`.
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
        """The voxels of a file, a few slices at a time; None for an array."""
        return self.array.slabs(self.allow_large) if isinstance(self.array, ImageHeader) else None

    @property
    def place(self) -> str:
        """An array in memory has no path, so its identity is returned."""
        return self.identity

    @cached_property
    def identity(self) -> str:
        """A digest of the voxels, their type and the affine."""
        head = (f"{self.array.dtype} {self.array.shape}", np.ascontiguousarray(self.affine).tobytes())
        return digest(chain(head, (slab.tobytes() for slab in self._slabs() or slabs_of(self.array))))


def case_of_array(
    array: npt.ArrayLike, affine: npt.ArrayLike, name: str = "case", *, allow_large: bool = False
) -> Case:
    """A case from memory; neither array may change until it has been segmented.

    Args:
        array: (i, j, k) HU.
        affine: (4, 4) voxel index to mm, RAS+ (nibabel's convention).
        name: what to call the case.
        allow_large: whether to accept more voxels than `custom_networks.io.limits` allows.

    Raises:
        UsageError: the affine is not a 4 x 4 matrix.
    """
    matrix = np.asarray(affine, dtype=np.float64)
    if matrix.shape != (4, 4):
        raise UsageError(f"The affine must be a 4 x 4 matrix, got shape {matrix.shape}: give voxel index to RAS mm.")
    return ArrayCase(case_stem(name), IN_MEMORY, array=np.asarray(array), affine=matrix, allow_large=allow_large)


def case_of_image(image: nib.Nifti1Image, name: str | None = None, *, allow_large: bool = False) -> Case:
    """A case from a nibabel NIfTI image whose scaled values are HU, in memory or still in its file.

    It is called `name`, or by default like its file, or else "case".

    Raises:
        UsageError: it is not a NIfTI image.
        InputError: neither sform nor qform gives its position, or its file does not match its header.
    """
    if not isinstance(image, nib.Nifti1Image):
        raise UsageError(f"A nibabel.Nifti1Image is needed, got {type(image).__name__}: convert it first.")
    called = case_stem(name or image.get_filename() or "case")
    affine, fields, notes = nifti_geometry(image.header, Path(called), image.affine)
    voxels: Any = image.dataobj
    if nib.is_proxy(voxels):
        voxels = _checked_header(image) or voxels
    return ArrayCase(
        *(called, IN_MEMORY, notes), array=voxels, affine=affine, nifti_geometry=fields, allow_large=allow_large
    )


def _checked_header(image: nib.Nifti1Image) -> ImageHeader | None:
    """The checked header of the file that still holds an image's voxels; None if the file is a different image now.

    Our own reader is used because nibabel verifies no checksum and would decompress the file again for every slab.
    """
    path = Path(image.get_filename() or "")
    if medical_suffix(path) not in (".nii", ".nii.gz") or not path.is_file():
        return None
    header = read_header(path)
    voxels: Any = image.dataobj
    same = (header.shape, header.slope, header.inter) == (voxels.shape[:3], voxels.slope, voxels.inter)
    return header if same else None


def checked(volume: Volume) -> Volume:
    """The same volume; InputError if its values are not Hounsfield units: see `check_ct_values`."""
    check_ct_values(volume.array, volume.source)
    return volume


def _file_digest(path: Path) -> str:
    """The SHA-256 of a file."""
    try:
        return file_digest(path)
    except OSError as error:
        raise InputError(f"{path} cannot be opened ({error.strerror}): check its permissions.") from error
