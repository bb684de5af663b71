"""Stored values are converted to HU as each file specifies, in every supported transfer syntax."""

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from custom_networks.errors import InputError
from custom_networks.io import only_case, read_volume
from custom_networks.io.dicom.listing import list_series

Write = Callable[..., Path]


def first_voxels(folder: Path) -> list[int]:
    """HU of voxels 0, 1 and 2 of the first row of the first slice."""
    return [int(value) for value in read_volume(folder).array[:3, 0, 0]]


def stored(values: list[int], dtype: str = "<i2", **elements: object) -> Callable[[int, Dataset], None]:
    """Store `values` in the first voxels of an image of `dtype` with the attributes `elements`."""

    def change(k: int, dataset: Dataset) -> None:
        pixels = np.frombuffer(dataset.PixelData, "<i2").astype(dtype)
        pixels[: len(values)] = values
        dataset.PixelData = pixels.tobytes()
        dataset.PixelRepresentation = int(dtype == "<i2")
        for keyword, value in elements.items():
            setattr(dataset, keyword, value)

    return change


def test_padding_values_are_trusted_only_outside_the_range_of_tissue(write_series: Write) -> None:
    high = write_series(stored([4095, 1064, 7], PixelPaddingValue=4095), "high")
    assert first_voxels(high) == [-1024, 40, 7 - 1024]
    water = write_series(stored([1024, 1064, 7], PixelPaddingValue=1024), "water")
    assert first_voxels(water) == [0, 40, 7 - 1024]


def test_padding_written_unsigned_in_a_signed_image_is_recognised_by_its_bits(write_series: Write) -> None:
    def change(k: int, dataset: Dataset) -> None:
        stored([-2000, 50, 0], RescaleIntercept=1000)(k, dataset)
        dataset.add_new("PixelPaddingValue", "US", 63536)

    assert first_voxels(write_series(change)) == [-1024, 1050, 1000]


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_other_encodings_give_the_same_volume(write_series: Write, syntax: UID, hounsfield: np.ndarray) -> None:
    folder = write_series()
    for path in folder.iterdir():
        dataset = dcmread(path)
        if syntax == ExplicitVRBigEndian:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
        dataset.file_meta.TransferSyntaxUID = syntax
        written = Dataset()
        written.update({element.tag: element for element in dataset})
        written.file_meta = dataset.file_meta
        dcmwrite(path, written, enforce_file_format=True, implicit_vr=None, little_endian=None)
    assert np.array_equal(read_volume(folder).array, hounsfield)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
def test_lossless_compression_gives_the_same_volume(write_series: Write, syntax: UID, hounsfield: np.ndarray) -> None:
    if syntax == JPEGLSLossless:
        pytest.importorskip("jpeg_ls", reason="pyjpegls, of highdicom, writes JPEG-LS")

    def compress(k: int, dataset: Dataset) -> None:
        dataset.compress(syntax, generate_instance_uid=False)

    assert np.array_equal(read_volume(write_series(compress)).array, hounsfield)


def test_a_truncated_compressed_frame_is_detected_without_decoding(write_series: Write) -> None:
    folder = write_series(lambda k, dataset: dataset.compress(RLELossless, generate_instance_uid=False))
    path = folder / "5.dcm"
    for cut in (-4, -9, -100):
        path.write_bytes(path.read_bytes()[:cut])
        (series,) = list_series(folder).series
        assert "1 of 8 files are truncated or damaged (their pixel data end too early)" in series.reasons[0]


def test_native_pixels_with_a_compressed_syntax_and_the_reverse_are_reported(write_series: Write) -> None:
    folder = write_series()
    for path in folder.iterdir():  # the syntaxes' UIDs are of one length
        path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0"))
    with pytest.raises(InputError, match="8 of 8 files hold pixel data that do not match the declared transfer syntax"):
        read_volume(folder)


def test_overlays_above_the_stored_bits_are_cleared(write_series: Write) -> None:
    unsigned = stored([0x8000 + 1064, 1064, 7], "<u2", BitsStored=12, HighBit=11)
    assert first_voxels(write_series(unsigned, "unsigned")) == [40, 40, 7 - 1024]
    signed = stored([0x0FFF, 0x1000 + 1064, 7], BitsStored=12, HighBit=11, RescaleIntercept=-500)
    assert first_voxels(write_series(signed, "signed")) == [-501, 564, 7 - 500]


def test_unsigned_values_above_32767_are_kept(write_series: Write) -> None:
    array = read_volume(write_series(stored([40000], "<u2"))).array
    assert array.dtype == np.int32 and array[0, 0, 0] == 40000 - 1024


def test_files_without_preamble_and_meta_information_are_read(write_series: Write, hounsfield: np.ndarray) -> None:
    folder = write_series()
    for path in folder.iterdir():
        dataset = dcmread(path)
        del dataset.file_meta
        dataset.preamble = None
        stream = BytesIO()
        dcmwrite(stream, dataset, enforce_file_format=False, implicit_vr=True, little_endian=True)
        path.write_bytes(stream.getvalue())
        assert path.read_bytes()[128:132] != b"DICM"
    assert np.array_equal(read_volume(folder).array, hounsfield)


@pytest.mark.parametrize("element", [b"\x20\x00\x10\x00SH", b"\x08\x00\x30\x00TM", b"\x18\x00\x50\x00DS"])
def test_result_headers_lack_only_values_of_a_wrong_type(write_series: Write, element: bytes) -> None:
    folder = write_series(stored([7], StudyID="ID 7", StudyTime="1201"))
    whole = only_case(folder).read().headers
    for path in folder.iterdir():  # a double needs 8 bytes, these elements have 2 or 4
        path.write_bytes(path.read_bytes().replace(element, element[:4] + b"FD"))
    case = only_case(folder)
    for headers in (case.read().headers, case.headers()):
        for header, before in zip(headers, whole, strict=True):
            told, expected = (json.loads(dataset.to_json()) for dataset in (header, before))
            tag = f"{element[1]:02X}{element[0]:02X}{element[3]:02X}{element[2]:02X}"
            assert expected.pop(tag)["Value"] and "Value" not in told.pop(tag, {})
            assert told == expected and header.PatientName == "Secret^Name"


def test_left_justified_pixels_are_shifted(write_series: Write, hounsfield: np.ndarray) -> None:
    def change(k: int, dataset: Dataset) -> None:
        cells = np.frombuffer(dataset.PixelData, "<u2") << 4 | k % 3  # whatever lies in the unused bits
        stored(list(cells), "<u2", BitsStored=12, HighBit=15)(k, dataset)

    volume = read_volume(write_series(change))
    assert np.array_equal(volume.array, hounsfield) and volume.notes == ()


def test_values_above_the_stored_bits_are_refused_if_signs_are_extended(write_series: Write) -> None:
    for value in (2500, 4500, -3000):
        folder = write_series(stored([-1000, value], BitsStored=12, HighBit=11, RescaleIntercept=0), f"v{value}")
        with pytest.raises(InputError, match="do not fit into the 12 bits of BitsStored"):
            read_volume(folder)
    padded = stored([-1000, -3000], BitsStored=12, HighBit=11, RescaleIntercept=0, PixelPaddingValue=-3000)
    assert first_voxels(write_series(padded, "padded"))[:2] == [-1000, -1024]


@pytest.mark.parametrize("keyword", ["SamplesPerPixel", "PhotometricInterpretation", "BitsStored"])
def test_a_missing_attribute_is_reported(write_series: Write, keyword: str) -> None:
    with pytest.raises(InputError, match=f"8 of 8 files lack {keyword}, without which"):
        read_volume(write_series(lambda k, dataset: delattr(dataset, keyword)))
