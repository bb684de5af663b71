"""Hostile NIfTI, NRRD and MetaImage files, and similar valid ones."""

import gzip
import os
import zlib
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from hostile import NOTED, READ, REFUSED, Hostile, with_truth

SHAPE = (40, 36, 12)
AFFINE = np.array([[-4.0, 0, 0, 80], [0, -4.0, 0, 70], [0, 0, 5.0, -100], [0, 0, 0, 1]])
NIFTI_FIELDS = {  # offset in the header of NIfTI-1, and type
    **{"dim": (40, "<i2"), "datatype": (70, "<i2"), "bitpix": (72, "<i2"), "pixdim": (76, "<f4")},
    **{"vox_offset": (108, "<f4"), "scl_slope": (112, "<f4"), "scl_inter": (116, "<f4"), "xyzt_units": (123, "u1")},
    **{"qform_code": (252, "<i2"), "sform_code": (254, "<i2"), "quatern": (256, "<f4"), "qoffset": (268, "<f4")},
    **{"srow_x": (280, "<f4"), "srow_y": (296, "<f4"), "srow_z": (312, "<f4"), "magic": (344, "S4")},
}
Bytes = Callable[[bytes], bytes]
SAME: Bytes = bytes


def voxels() -> np.ndarray:
    """A body in air with noise: int16 HU (40, 36, 12)."""
    i, j, _ = np.indices(SHAPE)
    body = ((i - 20) / 18) ** 2 + ((j - 18) / 15) ** 2 < 1
    noise = np.random.default_rng(1).normal(0, 15, SHAPE)
    return (np.where(body, 60, -1000) + noise).astype(np.int16)


RAW = voxels().tobytes(order="F")


def nifti(fields: dict[str, object] | None = None, body: bytes = RAW) -> bytes:
    """A NIfTI-1 file; `fields` are header fields to change, arrays from their first element on."""
    header = bytearray(348)
    place = {"dim": (3, *SHAPE, 1, 1, 1, 1), "datatype": 4, "bitpix": 16, "pixdim": (1, 4, 4, 5), "vox_offset": 352}
    place |= {"xyzt_units": 2, "qform_code": 1, "sform_code": 1, "quatern": (0, 0, 1), "qoffset": (80, 70, -100)}
    place |= {"srow_x": AFFINE[0], "srow_y": AFFINE[1], "srow_z": AFFINE[2], "magic": b"n+1\0"}
    header[:4] = (348).to_bytes(4, "little")
    for name, value in {**place, **(fields or {})}.items():
        offset, kind = NIFTI_FIELDS[name]
        content = np.atleast_1d(np.asarray(value)).astype(kind).tobytes()
        header[offset : offset + len(content)] = content
    return bytes(header) + bytes(4) + body


def nrrd(lines: dict[str, str | None] | None = None, body: bytes = RAW, more: str = "") -> bytes:
    """An NRRD file; `lines` are header fields to change, None removes one; `more` is inserted unchanged."""
    fields: dict[str, str | None] = {"type": "short", "dimension": "3", "space": "left-posterior-superior"}
    fields |= {"sizes": "40 36 12", "space directions": "(4,0,0) (0,4,0) (0,0,5)", "endian": "little"}
    fields |= {"encoding": "raw", "space origin": "(-80,-70,-100)", **(lines or {})}
    text = "".join(f"{name}: {value}\n" for name, value in fields.items() if value is not None)
    return f"NRRD0005\n{text}{more}\n".encode("utf-8", "replace") + body


def meta(lines: dict[str, str | None] | None = None, body: bytes = RAW) -> bytes:
    """A MetaImage file; `lines` are header fields to change, None removes one."""
    fields: dict[str, str | None] = {"ObjectType": "Image", "NDims": "3", "BinaryData": "True"}
    fields |= {"BinaryDataByteOrderMSB": "False", "CompressedData": "False", "TransformMatrix": "1 0 0 0 1 0 0 0 1"}
    fields |= {"Offset": "-80 -70 -100", "ElementSpacing": "4 4 5", "DimSize": "40 36 12"}
    data = (lines or {}).get("ElementDataFile") or "LOCAL"
    fields |= {"ElementType": "MET_SHORT", **(lines or {}), "ElementDataFile": None}
    text = "".join(f"{name} = {value}\n" for name, value in fields.items() if value is not None)
    return f"{text}ElementDataFile = {data}\n".encode("utf-8", "replace") + body


def packed_meta(wrap: Bytes = SAME) -> bytes:
    """A compressed MetaImage whose compressed voxels are changed by `wrap`."""
    packed = zlib.compress(RAW)
    return meta({"CompressedData": "True", "CompressedDataSize": str(len(packed))}, wrap(packed))


def packed_nrrd(wrap: Bytes = SAME) -> bytes:
    """A compressed NRRD whose compressed voxels are changed by `wrap`."""
    return nrrd({"encoding": "gzip"}, wrap(gzip.compress(RAW, mtime=0)))


def packed_nifti(wrap: Bytes = SAME) -> bytes:
    """A .nii.gz file changed by `wrap`."""
    return wrap(gzip.compress(nifti(), mtime=0))


PACKED = {"seg.mha": packed_meta, "seg.nrrd": packed_nrrd, "seg.nii.gz": packed_nifti}


def write(folder: Path, name: str, content: bytes | Callable[[], bytes], **beside: bytes) -> Path:
    """Write a file, and others beside it (`ct_raw` is `ct.raw`); return its path."""
    for other, more in beside.items():
        (folder / other.replace("_", ".")).write_bytes(more)
    (folder / name).write_bytes(content if isinstance(content, bytes) else content())
    return folder / name


def file(name: str, content: bytes | Callable[[], bytes], **beside: bytes) -> Callable[[Path], Path]:
    """A function that writes a file."""
    return lambda folder: write(folder, name, content, **beside)


def flip(content: bytes, share: float, bit: int) -> bytes:
    """Flip one bit, at a fraction of the length."""
    changed = bytearray(content)
    changed[min(int(share * len(content)), len(content) - 1)] ^= 1 << bit
    return bytes(changed)


def cut(content: bytes, share: float) -> bytes:
    """Only the beginning of the content."""
    return content[: int(share * len(content))]


def damaged() -> list[Hostile]:
    """Inputs with flipped bits, truncated ends and added bytes, in compressed and plain files."""
    made = []
    for (name, pack), share in product(PACKED.items(), (0.02, 0.2, 0.4, 0.6, 0.8, 0.97, 0.9999)):
        changed = partial(pack, partial(flip, share=share, bit=int(share * 50) % 8))
        made.append(Hostile(f"bit_at_{share:g}_of_{name}", "damage", file(name, changed), REFUSED))
    for (name, pack), share in product(PACKED.items(), (0.0, 0.01, 0.5, 0.99)):
        changed = partial(pack, partial(cut, share=share))
        made.append(Hostile(f"cut_at_{share:g}_of_{name}", "damage", file(name, changed), REFUSED, quick=share == 0.5))
    for (name, pack), more in product(PACKED.items(), (b"x", b"x" * 5000, gzip.compress(b"more"))):
        changed = partial(pack, lambda content, more=more: content + more)  # type: ignore[misc]
        made.append(Hostile(f"{len(more)}_bytes_after_{name}", "damage", file(name, changed), REFUSED))
    plain = {"plain.nii": nifti(), "plain.nrrd": nrrd(), "plain.mha": meta()}
    for name, content in plain.items():
        made.append(Hostile(f"one_byte_missing_of_{name}", "damage", file(name, content[:-1]), REFUSED, "damaged"))
        made.append(Hostile(f"one_byte_after_{name}", "damage", file(name, content + b"x"), REFUSED, "damaged"))
        made.append(Hostile(f"empty_{name}", "damage", file(name, b""), REFUSED, "not a readable"))
        made.append(Hostile(f"zeros_{name}", "damage", file(name, bytes(9000)), REFUSED, "not a readable"))
    return made


def nifti_headers() -> list[Hostile]:
    """Inputs with NIfTI header fields that are impossible or mean another unit."""
    nan, inf = float("nan"), float("inf")
    micro = {"xyzt_units": 3, "srow_x": AFFINE[0] * 1e3, "srow_y": AFFINE[1] * 1e3, "srow_z": AFFINE[2] * 1e3}
    metre = {"xyzt_units": 1, "srow_x": AFFINE[0] / 1e3, "srow_y": AFFINE[1] / 1e3, "srow_z": AFFINE[2] / 1e3}
    metre |= {"pixdim": (1, 0.004, 0.004, 0.005), "qoffset": (0.08, 0.07, -0.1)}
    micro |= {"pixdim": (1, 4000, 4000, 5000), "qoffset": (80e3, 70e3, -100e3)}
    cases: dict[str, tuple[dict[str, object], str, str]] = {
        "vox_offset_0": ({"vox_offset": 0}, REFUSED, "vox_offset"),
        "vox_offset_348": ({"vox_offset": 348}, REFUSED, "vox_offset|vox offset"),
        "vox_offset_nan": ({"vox_offset": nan}, REFUSED, "vox_offset|NIfTI"),
        "vox_offset_1e30": ({"vox_offset": 1e30}, REFUSED, "vox_offset"),
        "vox_offset_400": ({"vox_offset": 400}, REFUSED, "damaged"),
        "pair_magic": ({"magic": b"ni1\0"}, REFUSED, "pair"),
        "fewer_slices": ({"dim": (3, 40, 36, 8)}, REFUSED, "damaged"),
        "more_slices": ({"dim": (3, 40, 36, 14)}, REFUSED, "damaged"),
        "negative_size": ({"dim": (3, -40, 36, 12)}, REFUSED, "impossible size"),
        "dim_0_is_300": ({"dim": 300}, REFUSED, "NIfTI"),
        "largest_sizes": ({"dim": (3, 32767, 32767, 32767)}, REFUSED, "million"),
        "type_of_8_bytes": ({"datatype": 64, "bitpix": 64}, REFUSED, "damaged"),
        "unknown_type": ({"datatype": 77}, REFUSED, "NIfTI"),
        "complex": ({"datatype": 32, "bitpix": 64}, REFUSED, "integers or real numbers"),
        "infinite_slope": ({"scl_slope": inf}, REFUSED, "scl_slope"),
        "nan_intercept": ({"scl_slope": 1, "scl_inter": nan}, REFUSED, "scl_"),
        "metres": (metre, NOTED, "converted to mm"),
        "micrometres": (micro, NOTED, "converted to mm"),
        "metres_that_are_mm": ({"xyzt_units": 1}, REFUSED, "pixel size"),
        "unit_7": ({"xyzt_units": 7}, REFUSED, "xyzt_units"),
        "unit_unknown": ({"xyzt_units": 0}, READ, ""),
        "unit_seconds_and_mm": ({"xyzt_units": 10}, READ, ""),
        "no_forms": ({"sform_code": 0, "qform_code": 0}, REFUSED, "no usable affine"),
        "qform_pixdim_0": ({"sform_code": 0, "pixdim": (1, 4, 4, 0)}, REFUSED, "pixdim"),
        "qform_pixdim_nan": ({"sform_code": 0, "pixdim": (1, 4, nan, 5)}, REFUSED, "pixdim"),
        "qform_pixdim_negative": ({"sform_code": 0, "pixdim": (1, 4, 4, -5)}, REFUSED, "pixdim"),
        "qform_alone": ({"sform_code": 0}, READ, ""),
        "qform_spoilt_beside_sform": ({"quatern": (3, 3, 3)}, NOTED, "qform is not valid"),
        "qform_nan_beside_sform": ({"qoffset": nan}, NOTED, "qform is not valid"),
        "sform_infinite": ({"srow_x": (-4, 0, 0, inf)}, REFUSED, "not finite"),
        "sform_nan": ({"srow_z": (0, 0, nan, 0)}, REFUSED, "not finite"),
        "sform_far_away": ({"srow_x": (-4, 0, 0, 3e38)}, REFUSED, "origin"),
        "slices_1e30_apart": ({"srow_z": (0, 0, 1e30, 0)}, REFUSED, "slice distance"),
        "pixels_of_50_mm": ({"srow_x": (50, 0, 0, 0), "srow_y": (0, 50, 0, 0)}, REFUSED, "pixel size"),
        "pixels_of_a_micron": ({"srow_x": (0.001, 0, 0, 0), "srow_y": (0, 0.001, 0, 0)}, REFUSED, "pixel size"),
        "slices_of_a_micron": ({"srow_z": (0, 0, 0.001, 0)}, REFUSED, "slice distance"),
        "a_body_of_4_m": ({"srow_z": (0, 0, 400, 0)}, REFUSED, "slice distance"),
        "a_body_of_20_mm": ({"srow_x": (0.5, 0, 0, 0), "srow_y": (0, 0.5, 0, 0)}, REFUSED, "across"),
        "singular": ({"srow_y": AFFINE[0]}, REFUSED, "no usable affine"),
    }
    return [
        Hostile(f"nifti_{name}", "header", file("ct.nii", nifti(fields)), ends, says, quick=name == "vox_offset_0")
        for name, (fields, ends, says) in cases.items()
    ]


def nrrd_headers() -> list[Hostile]:
    """Inputs with NRRD header lines that are impossible or mean another unit."""
    micro = {"space directions": "(4000,0,0) (0,4000,0) (0,0,5000)", "space origin": "(-80000,-70000,-100000)"}
    cases: dict[str, tuple[dict[str, str | None], str, str]] = {
        "dimension_999": ({"dimension": "999"}, REFUSED, "dimension"),
        "dimension_minus_3": ({"dimension": "-3"}, REFUSED, "dimension"),
        "sizes_of_5000_characters": ({"sizes": "9" * 5000}, REFUSED, "sizes"),
        "type_of_5000_characters": ({"type": "s" * 5000}, REFUSED, "type"),
        "huge_sizes": ({"sizes": "40000 40000 40000"}, REFUSED, "million"),
        "fewer_slices": ({"sizes": "40 36 8"}, REFUSED, "damaged"),
        "no_direction_at_all": ({"space directions": "none none none"}, REFUSED, "space directions"),
        "one_direction_missing": ({"space directions": "(4,0,0) (0,4,0) none"}, REFUSED, "space directions"),
        "nan_direction": ({"space directions": "(4,0,0) (0,nan,0) (0,0,5)"}, REFUSED, "space directions"),
        "micrometres": ({**micro, "space units": '"um" "um" "um"'}, NOTED, "converted to mm"),
        "millimetres": ({"space units": '"mm" "mm" "mm"'}, READ, ""),
        "parsecs": ({"space units": '"pc" "pc" "pc"'}, REFUSED, "space units"),
        "second_geometry": ({"spacings": "1 1 1"}, REFUSED, "spacings"),
        "no_endian": ({"endian": None}, REFUSED, "endian"),
        "wrong_encoding": ({"encoding": "bzip2"}, REFUSED, "encoding"),
        "no_origin": ({"space origin": None}, NOTED, "origin"),
        "unknown_line": ({"sizes ": "1 2 3"}, REFUSED, "twice"),
        "device": ({"data file": "/dev/zero"}, REFUSED, "in the same folder"),
        "data_file_above": ({"data file": "../ct.raw"}, REFUSED, "in the same folder"),
        "data_file_missing": ({"data file": "absent.raw"}, REFUSED, "absent.raw"),
        "format_string": ({"data file": "%s%s%n 1 9 1"}, REFUSED, "voxel file"),
        "long_data_file": ({"data file": "a" * 5000}, REFUSED, "voxel file"),
        "endless_row": ({"data file": "ct%d.raw 0 999999 1"}, REFUSED, "voxel files"),
        "byte_skip_minus_9": ({"byte skip": "-9"}, REFUSED, "byteskip"),
    }
    return [
        Hostile(f"nrrd_{name}", "header", file("ct.nrrd", nrrd(lines)), ends, says, quick=name == "dimension_999")
        for name, (lines, ends, says) in cases.items()
    ]


def metaimage_headers() -> list[Hostile]:
    """Inputs with MetaImage header lines that are impossible or mean another unit."""
    cm = {"ElementSpacing": ".4 .4 .5", "Offset": "-8 -7 -10", "DistanceUnits": "cm"}
    cases: dict[str, tuple[dict[str, str | None], str, str]] = {
        "dimension_999": ({"NDims": "999"}, REFUSED, "NDims"),
        "dimension_minus_3": ({"NDims": "-3"}, REFUSED, "NDims"),
        "sizes_of_5000_characters": ({"DimSize": "7" * 5000}, REFUSED, "DimSize"),
        "many_sizes": ({"DimSize": "7 " * 2500}, REFUSED, "DimSize"),
        "spacing_of_5000_characters": ({"ElementSpacing": "1." + "0" * 5000 + " 1 1"}, REFUSED, "ElementSpacing"),
        "name_of_5000_characters": ({"Name": "n" * 5000}, READ, ""),
        "huge_sizes": ({"DimSize": "40000 40000 40000"}, REFUSED, "million"),
        "more_slices": ({"DimSize": "40 36 14"}, REFUSED, "damaged"),
        "negative_size": ({"DimSize": "40 -36 12"}, REFUSED, "impossible size"),
        "spacing_0": ({"ElementSpacing": "4 0 5"}, REFUSED, "ElementSpacing"),
        "spacing_negative": ({"ElementSpacing": "4 4 -5"}, REFUSED, "ElementSpacing"),
        "spacing_nan": ({"ElementSpacing": "4 4 nan"}, REFUSED, "ElementSpacing"),
        "matrix_of_length_2": ({"TransformMatrix": "2 0 0 0 1 0 0 0 1"}, REFUSED, "TransformMatrix"),
        "matrix_of_zeros": ({"TransformMatrix": "0 0 0 0 0 0 0 0 0"}, REFUSED, "TransformMatrix"),
        "centimetres": (cm, NOTED, "converted to mm"),
        "unit_unknown": ({"DistanceUnits": "furlong"}, REFUSED, "DistanceUnits"),
        "intensity_slope": ({"ElementToIntensityFunctionSlope": "2"}, REFUSED, "Slope"),
        "type_unknown": ({"ElementType": "MET_STRING"}, REFUSED, "ElementType"),
        "two_channels": ({"ElementNumberOfChannels": "2"}, REFUSED, "values per voxel"),
        "format_string": ({"ElementDataFile": "%s%s%n%d 1 9 1"}, REFUSED, "voxels|files"),
        "absolute_data_file": ({"ElementDataFile": "/etc/hostname"}, REFUSED, "in the same folder"),
        "device": ({"ElementDataFile": "/dev/zero"}, REFUSED, "in the same folder"),
        "data_file_missing": ({"ElementDataFile": "absent.raw"}, REFUSED, "absent.raw"),
        "header_as_data": ({"ElementDataFile": "ct.mha"}, REFUSED, "damaged"),
        "header_size_1e9": ({"HeaderSize": "1000000000"}, REFUSED, "HeaderSize"),
        "not_compressed": ({"CompressedData": "True"}, REFUSED, "damaged"),
    }
    made = [
        Hostile(f"meta_{name}", "header", file("ct.mha", meta(lines)), ends, says, quick=name == "device")
        for name, (lines, ends, says) in cases.items()
    ]
    detached = meta({"ElementDataFile": "ct.raw"}, b"")
    made.append(Hostile("detached", "valid", file("ct.mhd", detached, ct_raw=RAW), READ, quick=True))
    made.append(Hostile("detached_cut", "damage", file("ct.mhd", detached, ct_raw=RAW[:-2]), REFUSED, "damaged"))
    made.append(Hostile("detached_pipe", "header", partial(pipe, header=detached, name="ct.raw"), REFUSED, "ordinary"))
    return made


def pipe(folder: Path, header: bytes, name: str) -> Path:
    """A header and a pipe that nobody writes to; without a header, the pipe itself is the input."""
    os.mkfifo(folder / name)
    return write(folder, "ct.mhd", header) if header else folder / name


def zeros(folder: Path, name: str, slices: int) -> Path:
    """A .nii.gz of slices of 512 x 512 zeros: a small file with a huge volume."""
    with gzip.open(folder / name, "wb", compresslevel=1) as stream:
        stream.write(nifti({"dim": (3, 512, 512, slices), "srow_x": (0.7, 0, 0, 0), "srow_y": (0, 0.7, 0, 0)}, b""))
        for _ in range(slices):
            stream.write(bytes(512 * 512 * 2))
    return folder / name


def sizes() -> list[Hostile]:
    """Archives that unpack to more than they should, and headers that declare more data than there is."""
    zip_bomb = partial(zlib.compress, bytes(50 << 20))
    bomb = lambda: meta({"CompressedData": "True"}, zip_bomb())  # noqa: E731
    trailing = lambda: gzip.compress(nifti() + bytes(200 << 20), 1)  # noqa: E731
    return [
        Hostile("pipe_as_nifti", "header", partial(pipe, header=b"", name="ct.nii.gz"), REFUSED, "ordinary|volume"),
        Hostile("ten_gigabytes_of_zeros", "size", partial(zeros, name="ct.nii.gz", slices=20000), REFUSED, "million"),
        Hostile("half_a_gigabyte_of_zeros", "size", partial(zeros, name="ct.nii.gz", slices=400), REFUSED, "constant"),
        Hostile("bomb_behind_a_small_header", "size", file("ct.mha", bomb), REFUSED, "damaged"),
        Hostile("bomb_behind_nifti", "size", file("ct.nii.gz", trailing), REFUSED, "damaged"),
    ]


def valid() -> list[Hostile]:
    """Valid inputs that a strict reader must accept."""
    big = voxels().astype(">i2").tobytes(order="F")
    text = " ".join(map(str, voxels().ravel(order="F"))).encode()
    two = gzip.compress(RAW[:5000]) + gzip.compress(RAW[5000:])
    kept: dict[str, tuple[str, bytes]] = {
        "nifti": ("ct.nii", nifti()),
        "nifti_gzip": ("ct.nii.gz", packed_nifti()),
        "nifti_zero_padding_after_gzip": ("ct.nii.gz", packed_nifti() + bytes(512)),
        "nifti_with_extension": ("ct.nii", nifti({"vox_offset": 416}, bytes(64) + RAW)),
        "nifti_no_scaling": ("ct.nii", nifti({"scl_slope": float("nan"), "scl_inter": float("nan")})),
        "nrrd": ("ct.nrrd", nrrd()),
        "nrrd_gzip": ("ct.nrrd", packed_nrrd()),
        "nrrd_two_gzip_members": ("ct.nrrd", nrrd({"encoding": "gzip"}, two)),
        "nrrd_text": ("ct.nrrd", nrrd({"encoding": "ascii"}, text)),
        "nrrd_big_endian": ("ct.nrrd", nrrd({"endian": "big"}, big)),
        "nrrd_comments_and_pairs": ("ct.nrrd", nrrd(more="# made by hand\nsegment name:=" + "x" * 9000 + "\n")),
        "nrrd_byte_skip": ("ct.nrrd", nrrd({"byte skip": "-1"}, b"preamble" + RAW)),
        "meta": ("ct.mha", meta()),
        "meta_compressed": ("ct.mha", packed_meta()),
        "meta_big_endian": ("ct.mha", meta({"BinaryDataByteOrderMSB": "True"}, big)),
        "meta_windows_lines": ("ct.mha", meta(body=b"").replace(b"\n", b"\r\n") + RAW),
        "meta_program_keys": ("ct.mha", meta({"ITK_original_direction": "[UNKNOWN]", "0008|0060": "CT"})),
    }
    single = [Hostile(f"valid_{name}", "valid", file(*content), READ) for name, content in kept.items()]
    slices = {f"s{k:02d}_raw": RAW[k * 2880 : (k + 1) * 2880] for k in range(SHAPE[2])}
    row = meta({"ElementDataFile": "s%02d.raw 0 11 1"}, b"")
    listed = nrrd({"data file": "LIST"}, b"", "".join(f"s{k:02d}.raw\n" for k in range(SHAPE[2])))
    return [
        *single,
        Hostile("valid_row_of_slices", "valid", file("ct.mhd", row, **slices), READ),
        Hostile("valid_list_of_slices", "valid", file("ct.nhdr", listed, **slices), READ),
    ]


INPUTS = with_truth(
    [*damaged(), *nifti_headers(), *nrrd_headers(), *metaimage_headers(), *sizes(), *valid()],
    np.moveaxis(np.maximum(voxels(), -1024), 2, 0),
)
