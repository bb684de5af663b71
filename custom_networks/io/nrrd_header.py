"""Strict reader for NRRD headers (teem.sourceforge.net/nrrd/format.html)."""

import re
from pathlib import Path

import numpy as np

from custom_networks.io.checks import spatial_shape
from custom_networks.io.data_files import data_files
from custom_networks.io.header_fields import HEADER_BYTES, Fields, millimetres, not_readable, shown
from custom_networks.io.image_header import LPS_TO_RAS, ImageHeader
from custom_networks.io.stored_voxels import StoredVoxels

MAGIC = re.compile(rb"NRRD000[1-5]\r?\n")
TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long", "signed long long int"), "i8"),
    **dict.fromkeys(("int64", "int64_t"), "i8"),
    **dict.fromkeys(("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"), "u8"),
    "float": "f4",
    "double": "f8",
}
ENCODINGS = {
    **dict.fromkeys(("raw",), "raw"),
    **dict.fromkeys(("gzip", "gz"), "gzip"),
    **dict.fromkeys(("text", "txt", "ascii"), "text"),
    "hex": "hex",
}
SPACES = {
    **dict.fromkeys(("right-anterior-superior", "ras"), np.eye(4)),
    **dict.fromkeys(("left-anterior-superior", "las"), np.diag([-1.0, 1.0, 1.0, 1.0])),
    **dict.fromkeys(("left-posterior-superior", "lps"), LPS_TO_RAS),
}
# Fields defined by the format, in lower case and without spaces, which some programs omit.
KNOWN = {
    *("dimension", "type", "blocksize", "encoding", "endian", "content", "min", "max", "oldmin", "oldmax"),
    *("datafile", "lineskip", "byteskip", "number", "sampleunits", "sizes", "spacings", "thicknesses", "axismins"),
    *("axismaxs", "centers", "centerings", "labels", "units", "kinds", "space", "spacedimension", "spaceunits"),
    *("spaceorigin", "spacedirections", "measurementframe"),
}
VECTOR = r"\(([^()]+)\)"


def nrrd_header(path: Path) -> ImageHeader:
    """Read the header of a .nrrd or .nhdr file; raises InputError if it is damaged, ambiguous or not supported."""
    fields, start, listed = _fields(path)
    dimension = fields.whole("dimension", 1, 16)
    sizes = fields.sizes("sizes", dimension)
    directions = _directions(fields, dimension)
    kept = _spatial_axes(fields, sizes, directions)
    shape, notes = spatial_shape(tuple(sizes[axis] for axis in kept), path)
    _refuse_second_geometry(fields)
    affine, unit_notes = _affine(fields, [directions[axis] for axis in kept[:3]] if directions else [])
    return ImageHeader(affine, _voxels(fields, start, listed, shape), notes=notes + unit_notes)


def _fields(path: Path) -> tuple[Fields, int, list[str]]:
    """Return the fields, by name without spaces, the offset where the header ends, and the listed data files."""
    with path.open("rb") as stream:
        content = stream.read(HEADER_BYTES)
    magic = MAGIC.match(content)
    if magic is None:
        raise not_readable(path, "it does not begin with NRRD000 and a version from 1 to 5")
    end = re.compile(rb"\r?\n\r?\n").search(content, magic.end() - 2)
    if end is None and len(content) == HEADER_BYTES:
        raise not_readable(path, f"its header does not end within {HEADER_BYTES:,} bytes")
    values: dict[str, str] = {}
    listed: list[str] = []
    text = content[magic.end() : end.start() if end else len(content)].decode("utf-8", "surrogateescape")
    lines = (line for line in text.splitlines() if line.strip())
    for line in lines:
        name, colon, value = line.partition(":")
        name = re.sub(r"[ _]", "", name.lower())
        if line.startswith("#") or value.startswith("="):
            continue  # comments, and key/value pairs of other programs
        if not colon or name not in KNOWN:
            raise not_readable(path, f"its header has an unknown line, {shown(line)}")
        if name in values:
            raise not_readable(path, f"its header has {shown(name)} twice")
        values[name] = value.strip()
        if name == "datafile" and values[name].lower().startswith("list"):
            listed = [line.strip() for line in lines]
    return Fields(path, values), end.end() if end else len(content), listed


def _directions(fields: Fields, dimension: int) -> list[list[float] | None]:
    """Return the space direction of each axis, None for a nonspatial axis; [] if the field is missing."""
    text = fields.get("spacedirections")
    if text is None:
        return []
    words = re.findall(rf"none|{VECTOR}", text)
    if len(words) != dimension or re.sub(rf"none|{VECTOR}", "", text).strip():
        raise fields.fault(f"space directions is {shown(text)}, but {dimension} vectors are needed")
    return [_vector(fields, "space directions", word) if word else None for word in words]


def _vector(fields: Fields, name: str, text: str) -> list[float]:
    """Parse the components of a vector."""
    return fields.numbers(name, text.replace(",", " "), len(text.split(",")))


def _spatial_axes(fields: Fields, sizes: tuple[int, ...], directions: list[list[float] | None]) -> list[int]:
    """Return the indices of all axes except nonspatial ones of size 1.

    Raises:
        InputError: no axis is spatial, or the first axis holds several values per voxel.
    """
    without = [axis for axis, direction in enumerate(directions) if direction is None]
    if directions and len(without) == len(directions):
        raise fields.no_affine("space directions")
    if 0 in without and sizes[0] > 1:
        raise fields.channels(sizes[0])
    return [axis for axis in range(len(sizes)) if not (axis in without and sizes[axis] == 1)]


def _refuse_second_geometry(fields: Fields) -> None:
    """Raise InputError if axes with a direction also have spacings, limits or units, which the format forbids."""
    for name in ("spacings", "axismins", "axismaxs", "units"):
        text = fields.get(name) or ""
        if fields.get("spacedirections") and re.sub(r"nan|\"\"", "", text.lower()).strip():
            raise fields.fault(f"{name} is {shown(text)} beside space directions, but only one of them is allowed")


def _affine(fields: Fields, directions: list[list[float] | None]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the (4, 4) affine to RAS mm, and notes."""
    space = (fields.get("space") or "").lower()
    if space not in SPACES or fields.get("spacedimension") not in (None, "3"):
        raise fields.no_affine("space")
    if not directions or None in directions or any(len(vector or ()) != 3 for vector in directions):
        raise fields.no_affine("space directions")
    affine = np.eye(4)
    notes: tuple[str, ...] = ()
    affine[:3, :3] = np.array(directions, np.float64).T
    origin = re.fullmatch(VECTOR, fields.get("spaceorigin") or "")
    if origin:
        affine[:3, 3] = fields.numbers("space origin", origin[1].replace(",", " "), 3)
    elif fields.get("spaceorigin"):
        raise fields.fault(f"space origin is {shown(fields.get('spaceorigin'))}, but a vector is needed")
    else:
        notes = ("The header has no space origin: 0 was assumed.",)
    units = re.findall(r'"([^"]*)"', fields.get("spaceunits") or '"mm" "mm" "mm"')
    if len(units) != 3:
        raise fields.fault(f"space units is {shown(fields.get('spaceunits'))}, but three quoted units are needed")
    scales, unit_notes = millimetres(fields, "space units", units)
    return SPACES[space] @ np.diag([*scales, 1.0]) @ affine, notes + unit_notes


def _voxels(fields: Fields, start: int, listed: list[str], shape: tuple[int, int, int]) -> StoredVoxels:
    """Return the location of the voxels, after the header or in separate files."""
    encoding = fields.choice("encoding", ENCODINGS)
    dtype = np.dtype(fields.choice("type", TYPES))
    if dtype.itemsize > 1 and encoding != "text":
        dtype = dtype.newbyteorder(fields.choice("endian", {"little": "<", "big": ">"}))
    named = fields.get("datafile")
    files = (fields.path,) if named is None else data_files(fields, named, listed, shape[2])
    offset = start if named is None else 0
    lines, skip = fields.whole("lineskip", 0, 1000, 0), fields.whole("byteskip", -1, 1 << 28, 0)
    if (lines and len(files) > 1) or (skip < 0 and (lines or encoding != "raw")):
        raise fields.fault("its line skip and byte skip contradict each other or its encoding")
    if lines:
        offset = _after_lines(files[0], offset, lines)
    if encoding == "raw":
        return StoredVoxels(fields.path, files, shape, dtype, encoding, offset + skip if skip >= 0 else -1)
    return StoredVoxels(fields.path, files, shape, dtype, encoding, offset, skip)


def _after_lines(file: Path, offset: int, lines: int) -> int:
    """Return the offset in a file after skipping `lines` lines from `offset`."""
    with file.open("rb") as stream:
        stream.seek(offset)
        for _ in range(lines):
            stream.readline(HEADER_BYTES)
        return stream.tell()
