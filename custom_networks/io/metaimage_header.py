"""Strict reader for MetaImage headers (itk.org/Wiki/MetaIO)."""

import re
from pathlib import Path

import numpy as np

from custom_networks.io.checks import spatial_shape
from custom_networks.io.data_files import data_files
from custom_networks.io.header_fields import HEADER_BYTES, Fields, millimetres, not_readable, shown
from custom_networks.io.image_header import LPS_TO_RAS, ImageHeader
from custom_networks.io.stored_voxels import StoredVoxels

TYPES = {
    **{"met_char": "i1", "met_uchar": "u1", "met_short": "i2", "met_ushort": "u2", "met_int": "i4", "met_uint": "u4"},
    **{"met_long": "i4", "met_ulong": "u4", "met_long_long": "i8", "met_ulong_long": "u8"},
    **{"met_float": "f4", "met_double": "f8"},
}
YES_NO = {"true": True, "false": False, "t": True, "f": False, "1": True, "0": False, "yes": True, "no": False}
USED = {
    *("ndims", "dimsize", "elementtype", "elementnumberofchannels", "compresseddata", "binarydata", "headersize"),
    *("binarydatabyteordermsb", "elementbyteordermsb", "elementspacing", "elementsize", "transformmatrix", "offset"),
    *("orientation", "rotation", "origin", "position", "distanceunits"),
}
MATRIX = ("TransformMatrix", "Orientation", "Rotation")
ORIGIN = ("Offset", "Origin", "Position")
LAST = re.compile(rb"^[ \t]*ElementDataFile[ \t]*[=:][ \t]*([^\r\n]*)(?:\r?\n|\Z)", re.MULTILINE | re.IGNORECASE)


def metaimage_header(path: Path) -> ImageHeader:
    """Read the header of a .mha or .mhd file; raises InputError if it is damaged, ambiguous or not supported."""
    fields, start, named, listed = _fields(path)
    if (fields.get("ObjectType") or "Image").lower() != "image":
        raise fields.fault(f"ObjectType is {shown(fields.get('ObjectType'))}, but Image is needed")
    dimension = fields.whole("NDims", 1, 10)
    sizes = fields.sizes("DimSize", dimension)
    channels = fields.whole("ElementNumberOfChannels", 1, 1 << 16, 1)
    if channels != 1:
        raise fields.channels(channels)
    shape, notes = spatial_shape(sizes, path)
    affine, geometry_notes = _affine(fields, dimension)
    for name, value in (("Slope", 1.0), ("Offset", 0.0)):
        text = fields.get(f"ElementToIntensityFunction{name}")
        if text is not None and fields.numbers(name, text, 1) != [value]:
            raise fields.fault(
                f"ElementToIntensityFunction{name} is {shown(text)}, but some programs ignore this field"
            )
    return ImageHeader(affine, _voxels(fields, start, named, listed, shape), notes=notes + geometry_notes)


def _fields(path: Path) -> tuple[Fields, int, str, list[str]]:
    """Return the fields, the offset where the header ends, the value of ElementDataFile, and the lines after it."""
    with path.open("rb") as stream:
        content = stream.read(HEADER_BYTES)
    last = LAST.search(content)
    if last is None:
        raise not_readable(path, f"no ElementDataFile within its first {HEADER_BYTES:,} bytes")
    values: dict[str, str] = {}
    for line in content[: last.start()].decode("utf-8", "replace").splitlines():
        name, _, value = line.replace(":", "=", 1 if "=" not in line else 0).partition("=")
        name = name.strip().lower()
        if not line.strip() or line.startswith("#"):
            continue
        if not name or not line.isprintable() and "\t" not in line:
            raise not_readable(path, f"its header has an unknown line, {shown(line)}")
        if name in USED and values.get(name, value.strip()) != value.strip():
            raise not_readable(path, f"its header has {shown(name)} twice")
        values[name] = value.strip()
    named = last[1].decode("utf-8", "surrogateescape").strip()
    listed = []
    if named.lower().startswith("list"):
        listed = content[last.end() :].decode("utf-8", "surrogateescape").split("\n")
    return Fields(path, values), last.end(), named, [line.strip() for line in listed if line.strip()]


def _affine(fields: Fields, dimension: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the (4, 4) affine to RAS mm, and notes."""
    spacing_name = "ElementSpacing" if fields.get("ElementSpacing") is not None else "ElementSize"
    spacing, matrix, origin = fields.get(spacing_name), fields.get(*MATRIX), fields.get(*ORIGIN)
    if spacing is None:
        raise fields.no_affine("ElementSpacing")
    if matrix is None:
        raise fields.no_affine("TransformMatrix")
    steps = np.array(fields.numbers(spacing_name, spacing, dimension))
    if (steps <= 0).any():
        raise fields.no_affine("ElementSpacing")
    rows = np.array(fields.numbers("TransformMatrix", matrix, dimension**2)).reshape(dimension, dimension)
    if not np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-2):
        raise fields.no_affine("TransformMatrix")
    affine = np.eye(4)
    notes: tuple[str, ...] = ()
    affine[:3, :3] = rows[:3, :3].T * steps[:3]  # each row in the file is the direction of an axis
    if origin is None:
        notes = ("The header has no Offset: 0 was assumed.",)
    else:
        affine[:3, 3] = fields.numbers("Offset", origin, dimension)[:3]
    scales, unit_notes = millimetres(fields, "DistanceUnits", [fields.get("DistanceUnits") or ""])
    affine[:3] *= scales[0]
    return LPS_TO_RAS @ affine, notes + unit_notes


def _voxels(fields: Fields, start: int, named: str, listed: list[str], shape: tuple[int, int, int]) -> StoredVoxels:
    """Return the location of the voxels, after the header or in separate files."""
    dtype = np.dtype(fields.choice("ElementType", TYPES))
    big = [fields.choice(name, YES_NO, False) for name in ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")]
    dtype = dtype.newbyteorder(">" if any(big) else "<")
    compressed, binary = fields.choice("CompressedData", YES_NO, False), fields.choice("BinaryData", YES_NO, True)
    local = named.lower() == "local"
    files, offset = ((fields.path,), start) if local else (data_files(fields, named, listed, shape[2]), 0)
    skip = fields.whole("HeaderSize", -1, 1 << 28, 0)
    if local and skip == -1:
        skip = 0  # -1 means that the voxels end with the file, which is required anyway
    if skip and (local or compressed or not binary):
        raise fields.fault("HeaderSize is only allowed for uncompressed voxels in a separate file")
    encoding = "zlib" if compressed else "raw" if binary else "text"
    voxels = StoredVoxels(fields.path, files, shape, dtype, encoding, offset if skip == 0 else skip)
    declared, found = fields.whole("CompressedDataSize", 0, 1 << 48, 0), files[0].stat().st_size - offset
    if compressed and declared and len(files) == 1 and declared != found:
        raise voxels.incomplete(found, declared)
    return voxels
