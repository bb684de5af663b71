"""A case is one CT volume to segment: where it comes from, what tells it from others, and how it is read."""

import hashlib
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from custom_networks.errors import InputError, UsageError
from custom_networks.io.checks import LOWEST_HU, check_ct_values
from custom_networks.io.files import case_stem
from custom_networks.io.image_files import coded_affine, form_notes, header_geometry, read_file
from custom_networks.io.volume import Volume, slabs_of, volume_of

IN_MEMORY = "array"
# How a MetaImage or NRRD header names the file that holds its voxels.
DATA_FILE = rb"^(?:ElementDataFile\s*=|data ?file:)\s*(\S.*?)\s*$"


def digest(parts: Iterable[str | bytes]) -> str:
    """A hex digest of parts that stay apart: ("ab", "c") and ("a", "bc") differ."""
    whole = hashlib.sha256()
    for part in parts:
        content = part.encode(errors="surrogateescape") if isinstance(part, str) else part
        whole.update(len(content).to_bytes(8, "little"))
        whole.update(content)
    return whole.hexdigest()


def place_of(source: str) -> str:
    """A digest of the resolved path of an input, as a user would type it."""
    return digest([os.path.realpath(os.path.expanduser(source))])


@dataclass(frozen=True)
class SeriesInfo:
    """What a report says of a DICOM series: "" and 0 where the files do not say it, spacing along the volume's axes."""

    series_instance_uid: str
    series_number: int
    spacing_mm: tuple[float, float, float]
    slices: int


@dataclass(frozen=True, eq=False)
class Case(ABC):
    """One CT volume that was found, not read yet. It can be pickled and read in another process.

    Attributes:
        name: what the user called it, in safe characters; several cases can share one.
        source: what a user would type to name it, `PATH` or `PATH::N`; "array" for what is in memory.
        notes: what is known before reading, one sentence each; the volume's notes begin with them.
        series: what a report says of a DICOM series; None for all else.
        allow_large: whether more voxels are read than `custom_networks.io.limits` allow.
    """

    name: str
    source: str
    notes: tuple[str, ...] = ()
    series: SeriesInfo | None = None
    allow_large: bool = field(default=False, kw_only=True)

    @abstractmethod
    def read(self) -> Volume:
        """The volume in HU, checked; InputError says in one sentence what is wrong with it and what to do."""

    def headers(self) -> tuple[Dataset, ...]:
        """What DICOM results need of each slice's header, read anew: see `Volume.headers`."""
        return ()

    @cached_property
    def place(self) -> str:
        """A digest of the path that names the input: see `place_of`."""
        return place_of(self.source)

    @cached_property
    def identity(self) -> str:
        """A digest that stays when the same input is given again; of what lies in a file, the resolved path."""
        return self.place

    @cached_property
    def content(self) -> str:
        """A digest of what the input holds; InputError where a file of it cannot be opened."""
        return self.identity

    @cached_property
    def geometry(self) -> str:
        """A digest of a file's shape and affine, "" for what is no single file; InputError for an unreadable header."""
        return ""


class FileCase(Case):
    """A NIfTI, NRRD or MetaImage file."""

    def read(self) -> Volume:
        """See `Case.read`."""
        return checked(read_file(Path(self.source), LOWEST_HU))

    @cached_property
    def geometry(self) -> str:
        """See `Case.geometry`."""
        return digest([header_geometry(Path(self.source))])

    @cached_property
    def content(self) -> str:
        """See `Case.content`: the voxels of a detached header are part of it."""
        path = Path(self.source)
        parts = [_file_digest(path)]
        if path.suffix.lower() in (".mhd", ".nhdr"):
            named = re.search(DATA_FILE, path.read_bytes()[: 1 << 16], re.MULTILINE | re.IGNORECASE)
            data = path.parent / os.fsdecode(named[1]) if named else path
            parts += [_file_digest(data)] * data.is_file()
        return digest(parts)


@dataclass(frozen=True, eq=False)
class RefusedCase(Case):
    """An input that was seen to be unreadable when it was listed; reading it says why."""

    reason: str = field(kw_only=True)

    def read(self) -> Volume:
        """Raise the InputError."""
        raise InputError(self.reason)


@dataclass(frozen=True, eq=False)
class ArrayCase(Case):
    """Voxels (i, j, k) in HU, an array or nibabel's array proxy, and their affine. Its identity is what they hold."""

    array: Any = field(kw_only=True, repr=False)
    affine: npt.NDArray[np.float64] = field(kw_only=True, repr=False)

    def read(self) -> Volume:
        """See `Case.read`."""
        volume = checked(volume_of(self.array, self.affine, source=Path(self.source), lowest=LOWEST_HU))
        return replace(volume, notes=self.notes + volume.notes)

    @property
    def place(self) -> str:
        """What is in memory has no path: its identity."""
        return self.identity

    @cached_property
    def identity(self) -> str:
        """A digest of the voxels, their type and the affine."""
        head = (f"{self.array.dtype} {self.array.shape}", np.ascontiguousarray(self.affine).tobytes())
        return digest(chain(head, (slab.tobytes() for slab in slabs_of(self.array))))


def case_of_array(array: npt.ArrayLike, affine: npt.ArrayLike, name: str = "case") -> Case:
    """A case from memory: HU (i, j, k), and the (4, 4) affine from voxel index to mm, RAS+ (nibabel's convention).

    Neither array may change before it was segmented. UsageError where the affine is no 4 x 4 matrix.
    """
    matrix = np.asarray(affine, dtype=np.float64)
    if matrix.shape != (4, 4):
        raise UsageError(f"The affine must be a 4 x 4 matrix, got shape {matrix.shape}: give voxel index to RAS mm.")
    return ArrayCase(case_stem(name), IN_MEMORY, array=np.asarray(array), affine=matrix)


def case_of_image(image: nib.Nifti1Image, name: str | None = None) -> Case:
    """A case from a NIfTI image of nibabel in HU after its scaling, in memory or still in its file.

    It is called `name`, by default as its file, else "case". UsageError where it is no NIfTI image; InputError where
    neither sform nor qform says where it lies.
    """
    if not isinstance(image, nib.Nifti1Image):
        raise UsageError(f"A nibabel.Nifti1Image is needed, got {type(image).__name__}: convert it first.")
    called = case_stem(name or image.get_filename() or "case")
    affine = coded_affine(image, Path(called))
    voxels: Any = image.dataobj
    if nib.is_proxy(voxels) and (voxels.slope, voxels.inter) == (1, 0):
        voxels = np.asanyarray(voxels)  # once: a compressed file would be inflated again for every slab
    return ArrayCase(called, IN_MEMORY, form_notes(image), array=voxels, affine=affine)


def checked(volume: Volume) -> Volume:
    """The same volume; InputError where its values are no Hounsfield units: see `check_ct_values`."""
    check_ct_values(volume.array, volume.source)
    return volume


def _file_digest(path: Path) -> str:
    """The SHA-256 of a file."""
    whole = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                whole.update(block)
    except OSError as error:
        raise InputError(f"{path} cannot be opened ({error.strerror}): check its permissions.") from error
    return whole.hexdigest()
