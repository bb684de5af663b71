"""Hostile DICOM: slices missing at the ends, wrong sizes, invalid UIDs, pixels with another meaning."""

import gzip
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
from hostile import NOTED, READ, REFUSED, Hostile, with_truth
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.uid import (
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

Edit = Callable[[int, Dataset], object]
SIZE, SLICES, STEP = 48, 12, 3.0  # pixels of 2.4 mm: 115 mm across
LOST = "damaged or incomplete"


def values(k: int) -> np.ndarray:
    """HU of slice k (rows, columns): a body of about 40 HU in air."""
    y, x = np.mgrid[:SIZE, :SIZE] - 23.5
    body = 20 + (3 * x + 5 * y + 7 * k).astype(int) % 60
    return np.where(x**2 + y**2 < 324, body, -1000).astype(np.int16)


def dataset(k: int, series: str, stored: np.ndarray | None = None) -> Dataset:
    """Slice k of a series as written by a scanner: 12 bits, HU + 1024."""
    pixels = values(k) + 1024 if stored is None else stored
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = CTImageStorage
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[series, str(k)])
    made.ImageType, made.Modality, made.Manufacturer = ["ORIGINAL", "PRIMARY", "AXIAL"], "CT", "X"
    made.StudyDate, made.StudyTime, made.StudyID, made.AccessionNumber = "20240101", "120000", "1", ""
    made.PatientName, made.PatientID, made.PatientBirthDate, made.PatientSex = "Phantom^A", "P1", "", ""
    made.ReferringPhysicianName = ""
    made.StudyInstanceUID, made.FrameOfReferenceUID = "1.2.3", "1.2.4"
    made.SeriesInstanceUID = generate_uid(entropy_srcs=[series])
    made.SeriesNumber, made.AcquisitionNumber, made.InstanceNumber, made.SliceThickness = 2, 1, k + 1, 3.0
    made.ConvolutionKernel = "B30f"
    made.ImagePositionPatient, made.ImageOrientationPatient = [-57.6, -57.6, STEP * k - 100], [1, 0, 0, 0, 1, 0]
    made.PixelSpacing, (made.Rows, made.Columns) = [2.4, 2.4], pixels.shape
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PixelRepresentation = 1, "MONOCHROME2", 0
    made.BitsAllocated, made.BitsStored, made.HighBit = 16, 12, 11
    made.RescaleIntercept, made.RescaleSlope, made.RescaleType = -1024, 1, "HU"
    made.PixelData = pixels.astype("<u2").tobytes()
    return made


def nothing(k: int, made: Dataset) -> None:
    """An edit that changes nothing."""


def write(
    folder: Path, edit: Edit = nothing, name: str = "IM{:04d}.dcm", slices: int = SLICES, series: str = "1"
) -> list[Path]:
    """Write a series to a folder; slices for which `edit` returns False are left out."""
    paths = []
    with pydicom.config.disable_value_validation():
        for k in range(slices):
            made = dataset(k, series)
            path = folder / name.format(k + 1, uid=generate_uid(entropy_srcs=["name", str(k)]))
            path.parent.mkdir(parents=True, exist_ok=True)
            if edit(k, made) is not False:
                made.save_as(path, enforce_file_format=True)
                paths.append(path)
    return paths


def edited(edit: Edit, folder: Path, slices: int = SLICES) -> Path:
    """An input: a series with a change in each slice."""
    write(folder, edit, slices=slices)
    return folder


def setting(folder: Path, only: int | None = None, **elements: object) -> Path:
    """A series with elements set, or deleted if None, in all slices or in slice `only`."""

    def edit(k: int, made: Dataset) -> None:
        for keyword, value in elements.items() if only in (None, k) else ():
            if value is None:
                delattr(made, keyword)
            else:
                setattr(made, keyword, value)

    return edited(edit, folder)


def packed(folder: Path) -> Path:
    """Pack the contents of a folder into an archive beside it."""
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            archive.write(file, file.relative_to(folder))
    return path


# What can become of a file.


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def stub(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def zeroed(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("/nonexistent/archive/slice")


def pointer(path: Path) -> None:
    path.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 2912\n")


def unmarked(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"DICM", b"DIXM", 1))


def marked_zero(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"DICM", bytes(4), 1))


def web_page(path: Path) -> None:
    path.write_text("<html><body>503 Service Unavailable</body></html>" + " " * 200)


def header_only(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:132])


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-700])


def unfinished(path: Path) -> None:
    path.with_name(path.name + ".part").write_bytes(path.read_bytes()[:100])
    path.unlink()


def gzipped(path: Path) -> None:
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()


def lost(
    folder: Path, how: Callable[[Path], None], name: str, which: slice = slice(-3, None), zipped: bool = False
) -> Path:
    """A series in which some slices, by default the last three, were replaced by something else."""
    for path in write(folder, name=name)[which]:
        how(path)
    return packed(folder) if zipped else folder


def every_second(folder: Path) -> Path:
    return edited(lambda k, made: k % 2 == 0, folder)


def elsewhere(folder: Path) -> Path:
    write(folder / "a")
    emptied(write(folder / "b", slices=1)[0])
    return folder


def other_name(folder: Path) -> Path:
    write(folder)
    (folder / "structures.dcm").touch()
    return folder


def folder_a_slice(folder: Path) -> Path:
    for path in write(folder, name="S{:03d}/image")[-3:]:
        emptied(path)
    return folder


def random_names(folder: Path) -> Path:
    for k, path in enumerate(write(folder)):
        path.rename(folder / f"{'qwrtzuiopsgh'[k] * 5}.dcm")
    (folder / "xxxxx.dcm").touch()
    return folder


def export(folder: Path, name: str = "IM{:04d}", zipped: bool = False) -> Path:
    """A CD as written by viewers."""
    write(folder, name=name)
    for other in ("DICOMDIR", "viewer.exe", "autorun.inf", "Thumbs.db", ".DS_Store", "README", "LICENSE", "report.pdf"):
        (folder / other).write_bytes(b"text of some length, which no slice begins with" * 5)
    for other in ("index.xml", "preview.jpg", "IM0001.jpg", "IM0002.json", "IM0003.dcm.md5", "2024.txt", "._IM0001"):
        (folder / other).write_bytes(b"\xff\xd8\xff\xe0" + bytes(200))
    return packed(folder) if zipped else folder


def beside_volume(folder: Path, how: Callable[[Path], None]) -> Path:
    """A NIfTI volume, and beside it a second one that is changed by `how`."""
    array = np.stack([values(k).T for k in range(SLICES)], axis=2)
    for name in ("a.nii.gz", "b.nii.gz"):
        nib.save(nib.Nifti1Image(array, np.diag([2.4, 2.4, STEP, 1.0])), folder / name)
    how(folder / "b.nii.gz")
    return folder


# Frames, data sets and archives whose size is not what they say.


def compressed(folder: Path, syntax: UID, change: Callable[[bytes], bytes] = lambda frame: frame) -> Path:
    """A series of compressed frames, each changed by `change`."""

    def edit(k: int, made: Dataset) -> None:
        frame = coded(values(k) + 1024, syntax)
        made.file_meta.TransferSyntaxUID, made.PixelData = syntax, encapsulate([change(frame)])
        made["PixelData"].is_undefined_length = True

    return edited(edit, folder)


def coded(stored: np.ndarray, syntax: UID) -> bytes:
    """One compressed frame."""
    if syntax == JPEG2000Lossless:
        from PIL import Image

        stream = BytesIO()
        Image.fromarray(stored.astype(np.uint16)).save(stream, "JPEG2000", irreversible=False, no_jp2=True)
        return stream.getvalue()
    made = dataset(0, "1", stored)
    made.compress(syntax, generate_instance_uid=False)
    return next(pydicom.encaps.generate_frames(made.PixelData, number_of_frames=1))


def jpeg_2000_of(size: int, frame: bytes) -> bytes:
    """A JPEG 2000 frame whose header claims `size` rows and columns, in tiles of that size."""
    return frame[:8] + struct.pack(">IIIIII", size, size, 0, 0, size, size) + frame[32:]


def jpeg_ls_of(size: int, frame: bytes) -> bytes:
    start = frame.index(b"\xff\xf7") + 5
    return frame[:start] + struct.pack(">HH", size, size) + frame[start + 4 :]


def deflated(folder: Path, padding: int = 0, meta: Callable[[bytes], bytes] = bytes) -> Path:
    """A series of deflated data sets; the first has `padding` more zeros, and its start is changed by `meta`."""
    write(folder)
    for number, path in enumerate(sorted(folder.iterdir())):
        plain, stream = pydicom.dcmread(path), BytesIO()
        plain.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        written = Dataset()
        written.update({element.tag: element for element in plain})
        written.file_meta = plain.file_meta
        dcmwrite(stream, written, enforce_file_format=True, implicit_vr=None, little_endian=None)
        whole = stream.getvalue()
        if padding and number == 0:
            here = 144 + struct.unpack("<I", whole[140:144])[0]
            inside, deflater = zlib.decompress(whole[here:], -15), zlib.compressobj(9, zlib.DEFLATED, -15)
            parts = [deflater.compress(inside)] + [deflater.compress(bytes(1 << 20)) for _ in range(padding >> 20)]
            whole = meta(whole[:here]) + b"".join([*parts, deflater.flush()])
        path.write_bytes(whole)
    return folder


def with_long_meta(start: bytes) -> bytes:
    """The start of a file whose meta information has nine thousand more bytes of private information."""
    return start + struct.pack("<HH4sI", 2, 0x0102, b"OB", 9000) + bytes(9000)


def padded(folder: Path, size: int, zipped: bool) -> Path:
    """A series in which one file has zeros after its pixels."""
    path = write(folder)[4]
    os.truncate(path, size)
    return packed(folder) if zipped else folder


def longer(folder: Path, extra: int) -> Path:
    return edited(lambda k, made: setattr(made, "PixelData", made.PixelData + bytes(extra)), folder)


def swollen_rle(folder: Path) -> Path:
    return compressed(folder, RLELossless, lambda frame: frame + b"\x81\x00" * (2 << 20))


def lying_member(folder: Path) -> Path:
    """An archive whose directory states too small a size for each member."""
    write(folder)
    path = packed(folder)
    content = path.read_bytes()
    true = struct.pack("<I", (folder / "IM0001.dcm").stat().st_size)
    path.write_bytes(content.replace(true, struct.pack("<I", 1000)))
    return path


def in_syntax(folder: Path, syntax: UID) -> Path:
    """A series in another uncompressed transfer syntax."""
    write(folder)
    for path in folder.iterdir():
        plain = pydicom.dcmread(path)
        if syntax == ExplicitVRBigEndian:
            plain.PixelData = np.frombuffer(plain.PixelData, "<u2").astype(">u2").tobytes()
        plain.file_meta.TransferSyntaxUID = syntax
        written = Dataset()
        written.update({element.tag: element for element in plain})
        written.file_meta = plain.file_meta
        dcmwrite(path, written, enforce_file_format=True, implicit_vr=None, little_endian=None)
    return folder


# UIDs.


def named(folder: Path, slices: int = SLICES, **templates: str) -> Path:
    """A series whose UIDs are made from templates with the slice's number."""

    def edit(k: int, made: Dataset) -> None:
        for keyword, template in templates.items():
            setattr(made, keyword, template.format(k + 1))
        made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID

    return edited(edit, folder, slices)


def digits_agree(folder: Path) -> Path:
    """Two series whose UIDs differ only in their letters."""
    for letter in "ab":
        write(
            folder, lambda k, made: setattr(made, "SeriesInstanceUID", f"1.2.{letter}7"), f"{letter}{{}}", series=letter
        )
    return folder


def uneven_series(folder: Path) -> Path:
    """A series UID for each slice, and two slices missing."""

    def edit(k: int, made: Dataset) -> bool:
        made.SeriesInstanceUID = f"1.2.5.{k}"
        return k not in (4, 5)

    return edited(edit, folder)


# What pixels mean.


def stored(
    folder: Path, change: Callable[[np.ndarray], np.ndarray], only: int | None = None, **elements: object
) -> Path:
    """A series with changed stored values and changed header attributes that describe them."""

    def edit(k: int, made: Dataset) -> None:
        if only in (None, k):
            cells = change(np.frombuffer(made.PixelData, "<u2").astype(np.int64).reshape(SIZE, SIZE))
            made.PixelData = (cells & 0xFFFF).astype("<u2").tobytes()
        for keyword, value in elements.items():
            setattr(made, keyword, value)

    return edited(edit, folder)


def with_value(value: int, cells: np.ndarray) -> np.ndarray:
    cells[24, 24:26] = value
    return cells


def declared_overlay(folder: Path) -> Path:
    def edit(k: int, made: Dataset) -> None:
        cells = np.frombuffer(made.PixelData, "<u2").copy()
        cells[5:9] |= 0x1000
        made.PixelData = cells.tobytes()
        made.add_new(0x60000102, "US", 12)

    return edited(edit, folder)


def two_kernels(folder: Path, apart: float) -> Path:
    """Alternating slices of two kernels, of which the second ones are shifted by `apart` mm."""
    for number, kernel in enumerate(("B30f", "B70f")):

        def edit(k: int, made: Dataset) -> None:
            made.ConvolutionKernel, made.InstanceNumber = kernel, 2 * k + number + 1
            made.SeriesInstanceUID = "1.2.6"
            made.ImagePositionPatient = [-57.6, -57.6, STEP * k - 100 + number * apart]

        write(folder, edit, f"{kernel}{{}}", series=kernel)
    return folder


# Where slices lie.


def placed(folder: Path, step: float, digits: int = 9, without: tuple[int, ...] = (), move: float = 0.0) -> Path:
    """Slices `step` mm apart with rounded positions; every third one is shifted."""

    def edit(k: int, made: Dataset) -> bool:
        z = round(-393.5 + k * step + 1e-9, digits) + move * (k % 3 == 1)
        made.ImagePositionPatient = [-57.6, -57.6, z]
        return k not in without

    return edited(edit, folder, 36)


def oriented(folder: Path, along_row: tuple[float, ...], along_column: tuple[float, ...], digits: int = 6) -> Path:
    """Slices in another orientation, with rounded positions."""
    normal = np.cross(along_row, along_column)

    def edit(k: int, made: Dataset) -> None:
        made.ImageOrientationPatient = [*along_row, *along_column]
        made.ImagePositionPatient = [round(float(x), digits) for x in normal * STEP * k - 60]

    return edited(edit, folder)


def lost_inputs() -> list[Hostile]:
    found = []
    ways = (emptied, stub, zeroed, dangling, pointer, unmarked, marked_zero, web_page, header_only)
    for how in ways:
        for called, name in (("ending", "IM{:04d}.dcm"), ("number", "IM{:04d}"), ("uid", "CT.{uid}")):
            made = partial(lost, how=how, name=name)
            quick = how in (emptied, dangling) and called == "number"
            found.append(Hostile(f"{how.__name__}_{called}", "lost", made, REFUSED, LOST, quick))
    for how in (emptied, stub, pointer, unmarked):
        made = partial(lost, how=how, name="IM{:04d}", zipped=True)
        found.append(Hostile(f"{how.__name__}_in_zip", "lost", made, REFUSED, LOST))
    for how in (unfinished, gzipped):
        found.append(Hostile(how.__name__, "lost", partial(lost, how=how, name="IM{}.dcm"), REFUSED, LOST))
    first = partial(lost, how=emptied, name="IM{:04d}", which=slice(0, 2))
    truncated = partial(lost, how=cut, name="IM{:04d}", which=slice(0, 1))
    return found + [
        Hostile("first_two", "lost", first, REFUSED, LOST),
        Hostile("last_cut", "lost", truncated, REFUSED, "truncated or damaged"),
        Hostile("every_second", "lost", every_second, NOTED, "InstanceNumber skips 5 of 11"),
        Hostile("in_another_folder", "lost", elsewhere, NOTED, LOST),
        Hostile("of_another_name", "lost", other_name, NOTED, LOST),
        Hostile("a_folder_a_slice", "lost", folder_a_slice, REFUSED, LOST),
        Hostile("random_names", "lost", random_names, REFUSED, LOST),
        Hostile("dangling_volume", "lost", partial(beside_volume, how=dangling), REFUSED, "b.nii.gz"),
        Hostile("empty_volume", "lost", partial(beside_volume, how=emptied), REFUSED, "b.nii.gz"),
        Hostile("cd_export", "lost", export, READ, quick=True),
        Hostile("cd_export_with_endings", "lost", partial(export, name="1.2.{}.dcm"), READ),
        Hostile("cd_export_in_zip", "lost", partial(export, zipped=True), READ),
        Hostile("series_from_85", "lost", partial(edited, lambda k, d: setattr(d, "InstanceNumber", k + 85)), READ),
        Hostile(
            "numbers_shuffled", "lost", partial(edited, lambda k, d: setattr(d, "InstanceNumber", k * 5 % 12)), READ
        ),
        Hostile("numbers_absent", "lost", partial(setting, InstanceNumber=None), READ),
        Hostile("numbers_all_1", "lost", partial(setting, InstanceNumber=1), READ),
    ]


def size_inputs() -> list[Hostile]:
    j2k, jls = partial(compressed, syntax=JPEG2000Lossless), partial(compressed, syntax=JPEGLSLossless)
    other = "frame of another size than Rows and Columns"
    return [
        Hostile("jpeg_2000", "size", j2k, READ),
        Hostile("jpeg_2000_bomb", "size", partial(j2k, change=partial(jpeg_2000_of, 60000)), REFUSED, other, True),
        Hostile("jpeg_2000_larger", "size", partial(j2k, change=partial(jpeg_2000_of, 64)), REFUSED, other),
        Hostile("jpeg_ls", "size", jls, READ),
        Hostile("jpeg_ls_bomb", "size", partial(jls, change=partial(jpeg_ls_of, 60000)), REFUSED, other),
        Hostile("jpeg_ls_smaller", "size", partial(jls, change=partial(jpeg_ls_of, 16)), REFUSED, other),
        Hostile("rle", "size", partial(compressed, syntax=RLELossless), READ),
        Hostile("rle_swollen", "size", swollen_rle, REFUSED, "more pixel data"),
        Hostile("deflated", "size", deflated, READ),
        *(
            Hostile(name, "size", partial(deflated, padding=1 << 29, meta=meta), REFUSED, "would inflate")
            for name, meta in {
                "deflated_bomb": bytes,
                "deflated_bomb_without_preamble": lambda start: start[132:],
                "deflated_bomb_behind_long_meta": with_long_meta,
            }.items()
        ),
        Hostile("padded_in_zip", "size", partial(padded, size=1 << 28, zipped=True), REFUSED, "would unpack"),
        Hostile("padded_in_folder", "size", partial(padded, size=3 << 30, zipped=False), READ),
        Hostile("member_lies", "size", lying_member, REFUSED, "unpacked|damaged|readable"),
        Hostile("pixels_10_rows_long", "size", partial(longer, extra=960), REFUSED, "more pixel data"),
        Hostile("pixels_2_bytes_long", "size", partial(longer, extra=2), READ),
        Hostile("half_the_rows", "size", partial(setting, Rows=16), REFUSED, "more pixel data"),
        Hostile("twice_the_rows", "size", partial(setting, Rows=64), REFUSED, "too early"),
        Hostile("rows_65535", "size", partial(setting, Rows=65535, Columns=65535), REFUSED, "too early"),
        Hostile("one_row_count_off", "size", partial(setting, only=3, Rows=47), REFUSED, "differ in size"),
        Hostile("frames_1000", "size", partial(setting, NumberOfFrames=1000), REFUSED),
        Hostile("implicit", "size", partial(in_syntax, syntax=ImplicitVRLittleEndian), READ),
        Hostile("big_endian", "size", partial(in_syntax, syntax=ExplicitVRBigEndian), READ),
    ]


def uid_inputs() -> list[Hostile]:
    odd, long = "is not a valid UID", "1.2." + "34567890" * 8 + "{:03d}"
    return [
        Hostile("letters_in_instance", "uid", partial(named, SOPInstanceUID="ab.1.c{}"), NOTED, odd),
        Hostile("letters_in_series", "uid", partial(named, SeriesInstanceUID="STUDY-0228.AB"), NOTED, odd),
        Hostile("letters_in_study", "uid", partial(named, StudyInstanceUID="patient.smith"), NOTED, "^(?!.*smith)"),
        Hostile("letters_in_frame", "uid", partial(named, FrameOfReferenceUID="x"), NOTED, odd),
        Hostile("71_characters", "uid", partial(named, SOPInstanceUID=long), NOTED, odd, True),
        Hostile("digits_agree", "uid", digits_agree, NOTED, "was not chosen"),
        Hostile("leading_zeros", "uid", partial(named, SeriesInstanceUID="1.02.03"), READ),
        Hostile("padded_with_spaces", "uid", partial(named, SeriesInstanceUID="1.2.30 "), READ),
        Hostile(
            "one_for_all",
            "uid",
            partial(named, SOPInstanceUID="1.2.30"),
            REFUSED,
            "12 different images have the same SOPInstanceUID",
        ),
        Hostile(
            "series_a_slice",
            "uid",
            partial(named, SeriesInstanceUID="1.2.5.{}"),
            NOTED,
            "SeriesInstanceUID has 12 different",
            True,
        ),
        Hostile(
            "study_a_slice",
            "uid",
            partial(named, StudyInstanceUID="1.2.5.{}"),
            NOTED,
            "StudyInstanceUID has 12 different",
        ),
        Hostile(
            "series_a_slice_uneven", "uid", uneven_series, REFUSED, "missing.*Each slice has its own SeriesInstanceUID"
        ),
        Hostile(
            "frame_a_slice", "uid", partial(named, FrameOfReferenceUID="1.2.5.{}"), NOTED, "assumed to be the same"
        ),
        Hostile("series_empty", "uid", partial(named, SeriesInstanceUID=""), NOTED, "no SeriesInstanceUID"),
        Hostile("modality_a_name", "uid", partial(setting, Modality="SMITH"), REFUSED, "^(?!.*SMITH).*not CT"),
    ]


def pixel_inputs() -> list[Hostile]:
    beyond, signed = "do not fit into the 12 bits", {"PixelRepresentation": 1, "RescaleIntercept": 0}
    hu = partial(stored, **signed)
    found = [
        Hostile(f"without_{keyword}", "pixels", partial(setting, **{keyword: None}), REFUSED, f"lack {keyword}")
        for keyword in (*("PhotometricInterpretation", "SamplesPerPixel", "PixelRepresentation", "BitsStored"),)
    ]
    return found + [
        Hostile("left_justified", "pixels", partial(stored, change=lambda c: c << 4, HighBit=15), READ, quick=True),
        Hostile("signed_full", "pixels", partial(hu, change=lambda c: c - 1024), READ),
        Hostile("signed_zero_filled", "pixels", partial(hu, change=lambda c: (c - 1024) & 0xFFF), READ),
        Hostile(
            "signed_2500", "pixels", partial(hu, change=lambda c: with_value(2500, c - 1024)), REFUSED, beyond, True
        ),
        Hostile("signed_4500", "pixels", partial(hu, change=lambda c: with_value(4500, c - 1024)), REFUSED, beyond),
        Hostile("signed_below", "pixels", partial(hu, change=lambda c: with_value(-3000, c - 1024)), REFUSED, beyond),
        Hostile(
            "signed_padding",
            "pixels",
            partial(hu, change=lambda c: with_value(-3000, c - 1024), PixelPaddingValue=-3000),
            READ,
        ),
        Hostile("unsigned_5000", "pixels", partial(stored, change=partial(with_value, 5000)), REFUSED, beyond),
        Hostile(
            "unsigned_5000_in_one", "pixels", partial(stored, change=partial(with_value, 5000), only=7), REFUSED, beyond
        ),
        Hostile("unsigned_4095", "pixels", partial(stored, change=partial(with_value, 4095)), READ),
        Hostile("old_overlay", "pixels", declared_overlay, READ),
        Hostile(
            "old_overlay_undeclared", "pixels", partial(stored, change=partial(with_value, 0x8400)), NOTED, "overlays"
        ),
        Hostile("high_bit_7", "pixels", partial(setting, HighBit=7), NOTED, "HighBit contradicts BitsStored"),
        Hostile("high_bit_absent", "pixels", partial(setting, HighBit=None), READ),
        Hostile("bits_stored_20", "pixels", partial(setting, BitsStored=20), REFUSED),
        Hostile("bits_stored_8", "pixels", partial(setting, BitsStored=8, HighBit=7), REFUSED, "8-bit"),
        Hostile("palette", "pixels", partial(setting, PhotometricInterpretation="PALETTE COLOR"), REFUSED, "colour"),
        Hostile("monochrome1", "pixels", partial(setting, PhotometricInterpretation="MONOCHROME1"), READ),
        Hostile("colour", "pixels", partial(setting, SamplesPerPixel=3), REFUSED),
        Hostile(
            "other_intercept", "pixels", partial(setting, only=5, RescaleIntercept=0), NOTED, "RescaleIntercept differs"
        ),
        Hostile("intercept_absent", "pixels", partial(setting, only=5, RescaleIntercept=None), REFUSED, "rescale"),
        Hostile("slope_nan", "pixels", partial(setting, RescaleSlope="nan"), REFUSED, "rescale"),
        Hostile("kernels_in_turn", "pixels", partial(two_kernels, apart=STEP / 2), NOTED, "ConvolutionKernel"),
        Hostile("kernels_in_place", "pixels", partial(two_kernels, apart=0.0), NOTED, "ConvolutionKernel"),
        Hostile("kernel_absent", "pixels", partial(setting, ConvolutionKernel=None), READ),
    ]


def place_inputs() -> list[Hostile]:
    axial = [((a, 0, 0), (0, b, 0)) for a in (1, -1) for b in (1, -1)]
    axial += [((0, a, 0), (b, 0, 0)) for a in (1, -1) for b in (1, -1)]
    across = [((1, 0, 0), (0, 0, -1)), ((0, 1, 0), (0, 0, -1)), ((0, 0, 1), (0, 1, 0))]
    found = [
        Hostile(f"axial_{number}", "place", partial(oriented, along_row=row, along_column=column), READ)
        for number, (row, column) in enumerate(axial)
    ]
    found += [
        Hostile(
            f"not_axial_{number}", "place", partial(oriented, along_row=row, along_column=column), REFUSED, "not axial"
        )
        for number, (row, column) in enumerate(across)
    ]
    found += [
        Hostile(
            f"rounded_{step:g}_to_{digits}", "place", partial(placed, step=step, digits=digits), READ, "", step == 1.25
        )
        for step, digits in ((1.25, 1), (3.75, 1), (1.875, 1), (2.5, 1), (0.75, 2), (1.375, 1), (5.0, 0))
    ]
    tilted = {"along_row": (1.0, 0.0, 0.0), "along_column": (0.0, np.cos(0.2), np.sin(0.2))}
    return found + [
        Hostile("oblique", "place", partial(oriented, **tilted), READ),
        Hostile("oblique_rounded", "place", partial(oriented, **tilted, digits=1), READ),
        Hostile("moved_005", "place", partial(placed, step=3, move=0.1), READ),
        Hostile("moved_02", "place", partial(placed, step=3, move=0.4), REFUSED, "even"),
        Hostile("rounded_with_a_gap", "place", partial(placed, step=1.25, digits=1, without=(20,)), REFUSED, "missing"),
        Hostile("gap_at_the_last", "place", partial(placed, step=3, without=(34,)), REFUSED, "missing"),
        Hostile("position_nan", "place", partial(setting, only=2, ImagePositionPatient=["nan", "0", "0"]), REFUSED),
    ]


INPUTS = with_truth(
    [*lost_inputs(), *size_inputs(), *uid_inputs(), *pixel_inputs(), *place_inputs()],
    [values(k).T for k in range(40)],
    but=("signed_padding", "unsigned_4095", "old_overlay_undeclared", "other_intercept"),  # a pixel or slice is changed
)
