"""Write label maps as MetaImage or NRRD, with exactly the geometry of an input in that format.

NIfTI stores the geometry in single precision, so ITK, SimpleITK and pyradiomics would report a different physical
space.
"""

import zlib
from pathlib import Path

import numpy as np

from custom_networks.files import atomic_write
from custom_networks.io.image_header import LPS_TO_RAS
from custom_networks.labelmap.grid import spacing_of

METAIMAGE = """ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = False
CompressedData = True
CompressedDataSize = {length}
TransformMatrix = {directions}
Offset = {origin}
CenterOfRotation = 0 0 0
ElementSpacing = {spacing}
DimSize = {sizes}
ElementType = MET_UCHAR
ElementDataFile = LOCAL
"""
NRRD = """NRRD0004
type: uint8
dimension: 3
space: left-posterior-superior
sizes: {sizes}
space directions: {vectors}
kinds: domain domain domain
encoding: gzip
space origin: ({comma_origin})

"""
# For each suffix of the input: suffix and header of the label map, and zlib's `wbits` for the compressed data.
FORMATS = {
    **dict.fromkeys((".mha", ".mhd"), (".mha", METAIMAGE, zlib.MAX_WBITS)),
    **dict.fromkeys((".nrrd", ".nhdr"), (".nrrd", NRRD, 16 + zlib.MAX_WBITS)),
}


def write_as_input(labels: np.ndarray, affine: np.ndarray, folder: Path, stem: str, suffix: str) -> str | None:
    """Write labels atomically in the format of the input, if that is MetaImage or NRRD.

    Args:
        labels: (i, j, k), 0 to 255.
        affine: (4, 4), from voxel indices to RAS mm.
        folder: where to write the file.
        stem: the file's name without suffix.
        suffix: suffix of the input.

    Returns:
        The name of the file in `folder`; None for an input in another format.
    """
    if suffix not in FORMATS:
        return None
    ending, header, wrapping = FORMATS[suffix]
    deflate = zlib.compressobj(1, wbits=wrapping)
    packed = deflate.compress(labels.astype(np.uint8, copy=False).tobytes(order="F")) + deflate.flush()
    with atomic_write(folder / f"{stem}{ending}") as temporary:
        temporary.write_bytes(header.format(length=len(packed), **_geometry(labels.shape, affine)).encode() + packed)
    return f"{stem}{ending}"


def _geometry(shape: tuple[int, ...], affine: np.ndarray) -> dict[str, str]:
    """Header fields that describe the grid in LPS, with numbers in full precision."""
    lps, spacing = LPS_TO_RAS @ affine, spacing_of(affine)
    columns, origin = lps[:3, :3].T, lps[:3, 3].tolist()
    return {
        "sizes": " ".join(map(str, shape)),
        "spacing": " ".join(map(repr, spacing)),
        "directions": " ".join(map(repr, (columns / np.array(spacing)[:, None]).ravel().tolist())),
        "vectors": " ".join(f"({','.join(map(repr, column))})" for column in columns.tolist()),
        "origin": " ".join(map(repr, origin)),
        "comma_origin": ",".join(map(repr, origin)),
    }
