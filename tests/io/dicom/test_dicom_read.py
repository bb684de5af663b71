"""A regular axial CT series is read correctly with any file names; each irregularity has its own message."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000, UID, EnhancedCTImageStorage, JPEGExtended12Bit, JPEGLosslessSV1, generate_uid

from custom_networks.errors import InputError
from custom_networks.io import read_label_map, read_volume

Change = Callable[[int, Dataset], object]
Write = Callable[..., Path]


def refusal(folder: Path) -> str:
    """The message with which a folder is refused, which must be one line without patient text."""
    with pytest.raises(InputError) as caught:
        read_volume(folder)
    assert "\n" not in str(caught.value) and "Secret" not in str(caught.value)
    return str(caught.value)


def test_slices_are_ordered_only_by_position(write_series: Write, hounsfield: np.ndarray, affine: np.ndarray) -> None:
    folder = write_series()
    (folder / "readme.txt").write_text("not DICOM")
    (folder / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    affine[:2, 3] = [50, 40]
    volume = read_volume(folder)
    assert volume.array.dtype == np.int16 and np.array_equal(volume.array, hounsfield)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-9)
    assert volume.notes == () and volume.source == folder


def test_with_flipped_orientation_every_voxel_is_at_its_position(write_series: Write) -> None:
    def flip(k: int, dataset: Dataset) -> None:
        dataset.ImageOrientationPatient = [-1, 0, 0, 0, -1, 0]
        dataset.ImagePositionPatient = [62, 37, -100 + 3 * k]

    flipped, straight = read_volume(write_series(flip, "flipped")), read_volume(write_series(name="straight"))
    for index in ((0, 0, 0), (15, 11, 7), (3, 9, 2)):
        expected = np.array([62 - 0.8 * index[0], 37 - 0.7 * index[1], -100 + 3 * index[2]]) * [-1, -1, 1]
        np.testing.assert_allclose((flipped.affine @ [*index, 1])[:3], expected, atol=1e-9)
    assert np.array_equal(flipped.array, straight.array)


def test_slices_with_a_normal_towards_the_feet_are_sorted_along_it(write_series: Write, hounsfield: np.ndarray) -> None:
    def prone(k: int, dataset: Dataset) -> None:
        dataset.ImageOrientationPatient = [1, 0, 0, 0, -1, 0]

    volume = read_volume(write_series(prone))
    assert np.array_equal(volume.array, hounsfield[..., ::-1])
    np.testing.assert_allclose(volume.affine[:3, 2], [0, 0, -3], atol=1e-9)
    np.testing.assert_allclose(volume.affine[:3, 3], [50, 40, -79], atol=1e-9)


def test_rescale_is_taken_from_each_slice(write_series: Write, hounsfield: np.ndarray) -> None:
    def change(k: int, dataset: Dataset) -> None:
        if k % 2:  # stored v with slope 2, intercept -1024 instead of 1
            dataset.RescaleSlope = 2

    array = read_volume(write_series(change)).array
    stored = hounsfield.astype(int) + 1024
    expected = np.where(np.arange(8) % 2, 2 * stored - 1024, hounsfield)
    assert array.dtype == np.int16 and np.array_equal(array, expected)


def test_fractional_slope_gives_float32(write_series: Write) -> None:
    array = read_volume(write_series(lambda k, d: setattr(d, "RescaleSlope", 0.5))).array
    assert array.dtype == np.float32 and array[0, 0, 1] == -1024 + 0.5


def test_padding_below_air_is_clipped(write_series: Write) -> None:
    array = read_volume(write_series(lambda k, d: setattr(d, "RescaleIntercept", -2000))).array
    assert (array.min(), array.max()) == (-1024, 1535 - 2000)


def test_copies_are_dropped_with_a_note_even_if_the_uid_is_only_in_the_file_meta(write_series: Write) -> None:
    def empty(k: int, dataset: Dataset) -> None:
        dataset.SOPInstanceUID = ""

    for change, name in ((lambda k, d: None, "full"), (empty, "empty")):
        folder = write_series(change, name)
        (folder / "copy.dcm").write_bytes((folder / "0.dcm").read_bytes())
        notes = read_volume(folder).notes
        assert notes[0] == "1 file repeats another slice and was left out (same SOPInstanceUID)."
        assert [note.split(":")[0] for note in notes[1:]] == ["SOPInstanceUID is empty in 8 files"] * (name == "empty")


def test_harmless_oddities_are_noted(write_series: Write) -> None:
    def change(k: int, dataset: Dataset) -> None:
        dataset.SeriesInstanceUID = ""
        dataset.FrameOfReferenceUID = generate_uid()
        dataset.LossyImageCompression = "01"

    notes = read_volume(write_series(change)).notes
    assert [note.split()[0] for note in notes] == ["FrameOfReferenceUID", "The", "The"]
    assert "8 different values" in notes[0] and "no SeriesInstanceUID" in notes[1] and "lossily" in notes[2]


def set_to(**values: object) -> Change:
    """An edit that sets elements in every slice, or deletes them if None."""

    def change(k: int, dataset: Dataset) -> None:
        for keyword, value in values.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)

    return change


@pytest.mark.parametrize(
    "change, sentence",
    [
        (set_to(Modality="MR"), "8 of 8 files are not CT but MR"),
        (set_to(Modality=None), "8 of 8 files are damaged or incomplete \\(they have no modality"),
        (set_to(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), "8 of 8 files are localizers"),
        (set_to(ImageType=["DERIVED", "SECONDARY", "MIP"]), r"8 of 8 files are derived images \(ImageType MIP\)"),
        (set_to(SOPClassUID=EnhancedCTImageStorage, NumberOfFrames=4), "have frames that cannot be read, because"),
        (set_to(PixelData=None), "8 of 8 files have no pixel data"),
        (set_to(Rows=None), "8 of 8 files are damaged or incomplete \\(they have no Rows"),
        (set_to(ImagePositionPatient=None), "8 of 8 files have no position or orientation"),
        (set_to(ImageOrientationPatient=None), "8 of 8 files have no position or orientation"),
        (set_to(PixelSpacing=[0, 0.8]), "8 of 8 files have no position or orientation"),
        (set_to(ImageOrientationPatient=[1, 0, 0, 1, 0, 0]), "8 of 8 files have no position or orientation"),
        (set_to(BitsStored=8), "8 of 8 files hold 8-bit or colour pixels"),
        (set_to(RescaleSlope=None), "8 of 8 files have no rescale to Hounsfield units"),
        (set_to(RescaleType="Z_EFF"), "8 of 8 files have no rescale to Hounsfield units"),
        (set_to(ImageOrientationPatient=[1, 0, 0, 0, 0, -1]), r"not axial \(normal 90 degrees off"),
    ],
)
def test_objects_other_than_axial_ct_slices_are_refused(write_series: Write, change: Change, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        read_volume(write_series(change))


def one(k: int, **values: object) -> Change:
    """An edit that sets elements only in slice k."""
    return lambda index, dataset: set_to(**values)(index, dataset) if index == k else None


@pytest.mark.parametrize(
    "change, sentence",
    [
        (one(3, SeriesInstanceUID="1.2.9"), r"Series . \(CT, 1 slice\) was skipped. It holds 1 slice, but at least 5"),
        (
            one(3, SeriesInstanceUID="1.2.9"),
            r"Series . \(CT, 7 slices.*\) was skipped. Slice positions jump from -94.00",
        ),
        (one(3, RescaleSlope=None), r"1 of 8 files have no rescale to Hounsfield units .* \(first: 7.dcm\)"),
        (one(3, ImagePositionPatient=None), r"1 of 8 files have no position or orientation"),
        (one(7, ImageOrientationPatient=None), r"1 of 8 files have no position or orientation"),
        (one(7, ImagePositionPatient=None), r"1 of 8 files have no position or orientation"),
        (one(7, Modality=None), r"1 of 8 files are damaged or incomplete \(they have no modality"),
        (one(7, ImageOrientationPatient=[0.8, 0.6, 0, -0.6, 0.8, 0]), "slices differ in orientation"),
        (one(3, PixelSpacing=[0.7, 0.9]), r"pixel spacing differs between slices \(0.7 to 0.9 mm\)"),
        (one(3, Rows=6), r"slices differ in size: 16 x 12 \(7\), 16 x 6 \(1\)"),
        (one(3, ImageOrientationPatient=[0.8, 0.6, 0, -0.6, 0.8, 0]), "slices differ in orientation"),
        (
            one(3, ImagePositionPatient=[-50, -40, -93.995]),
            r"Slices 3 and 4 lie at the same position \(z = -94.000 and",
        ),
        (one(3, ImagePositionPatient=[-50, -40, -92]), "Slice distance varies from 2.00 to 4.00 mm"),
        (one(3, ImagePositionPatient=[-49, -40, -91]), "Slice 4 lies 1.00 mm off the even grid"),
    ],
)
def test_one_slice_of_another_kind_is_refused(write_series: Write, change: Change, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        read_volume(write_series(change))


def test_a_missing_slice_is_refused_with_the_positions(write_series: Write) -> None:
    sentence = refusal(write_series(lambda k, d: k != 4))
    jump = "Slice positions jump from -91.00 to -85.00 mm after slice 4, a gap of 6.00 mm instead of 3.00: "
    assert sentence.endswith(jump + "slices are missing. Export the whole series again.")


def test_gantry_tilt_is_named_in_degrees(write_series: Write) -> None:
    def tilt(k: int, dataset: Dataset) -> None:
        dataset.ImagePositionPatient = [-50, -40 + 3 * k * np.tan(np.radians(14)), -100 + 3 * k]

    assert "gantry tilt of 14.0 degrees" in refusal(write_series(tilt))


def test_every_reason_is_named_at_once(write_series: Write) -> None:
    sentence = refusal(write_series(lambda k, d: k in (0, 1, 3)))
    assert "It holds 3 slices, but at least 5 are needed" in sentence and "slices are missing" in sentence

    def bolus(k: int, dataset: Dataset) -> None:
        dataset.ImagePositionPatient = [-50, -40, 0]
        dataset.AcquisitionNumber = k // 4 + 1

    sentence = refusal(write_series(bolus, "bolus"))
    assert (
        "All 8 slices lie at one position (z = 0 mm): a time series is not a volume. Give the series of the liver."
        in sentence
    )
    assert "2 acquisitions (AcquisitionNumber 1, 2) share one series" in sentence


def test_different_slices_with_the_same_uid_are_not_copies(write_series: Write) -> None:
    assert "8 different images have the same SOPInstanceUID" in refusal(write_series(set_to(SOPInstanceUID="1.2.3")))


def declare(syntax: UID, fragment: bytes = b"\xff\xd8\xff\xd9") -> Change:
    """Declare a compressed transfer syntax and encapsulate a few bytes, by default the start and end of a JPEG."""

    def change(k: int, dataset: Dataset) -> None:
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.PixelData = pydicom.encaps.encapsulate([fragment])
        dataset["PixelData"].is_undefined_length = True

    return change


def test_transfer_syntaxes_that_cannot_be_decoded_are_named(
    write_series: Write, monkeypatch: pytest.MonkeyPatch
) -> None:

    class Absent:
        is_available = False

    assert "JPEG Spectral Selection, Non-Hierarchical (1.2.840.10008.1.2.4.53) is not supported" in refusal(
        write_series(declare(UID("1.2.840.10008.1.2.4.53")), "retired")
    )
    sentence = refusal(write_series(declare(JPEG2000, b"junk"), "junk"))
    assert (
        "8 of 8 files hold pixel data that do not match the declared transfer syntax: export them again (first: 0"
        in sentence
    )
    sentence = refusal(write_series(declare(JPEG2000, b"\xff\x4f\xff\x51"), "cut"))
    assert "0.dcm: the pixel data cannot be decoded as JPEG 2000" in sentence
    assert "JPEG Extended (1.2.840.10008.1.2.4.51) is not supported" in refusal(
        write_series(declare(JPEGExtended12Bit), "12 bit")
    )
    monkeypatch.setattr("pydicom.pixels.decoders.base.get_decoder", lambda syntax: Absent())
    assert "(1.2.840.10008.1.2.4.70) needs python-gdcm" in refusal(write_series(declare(JPEGLosslessSV1), "lossless"))


def test_damaged_files_are_named(write_series: Write) -> None:
    folder = write_series()
    path = folder / "5.dcm"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert (
        "1 of 8 files are truncated or damaged (their pixel data end too early): export them again (first: 5"
        in refusal(folder)
    )
    for damage in (whole[:132], whole[:132] + bytes(range(256)) * 3, whole[:300]):
        path.write_bytes(damage)
        assert "1 file is damaged or incomplete (5.dcm) and may belong to this series" in refusal(folder)


def test_a_damaged_file_elsewhere_is_noted(write_series: Write) -> None:
    folder = write_series()
    (folder / "other").mkdir()
    (folder / "other" / "cut").write_bytes(bytes(128) + b"DICM")
    assert read_volume(folder).notes == ("1 damaged or incomplete file was skipped (other/cut).",)


def test_a_slice_without_pixel_data_is_named(write_series: Write) -> None:
    assert "1 of 8 files have no pixel data: export them again (first: 0.dcm)" in refusal(
        write_series(one(0, PixelData=None))
    )


def test_a_folder_without_dicom_files_is_refused_with_their_number(tmp_path: Path) -> None:
    (tmp_path / "empty.dcm").touch()
    (tmp_path / "text.dcm").write_text("DICM")
    assert f"{tmp_path} holds no DICOM image (2 files checked" in refusal(tmp_path)


def test_a_folder_is_refused_as_a_label_map(write_series: Write) -> None:
    with pytest.raises(InputError, match="is a folder, but a label map is one file"):
        read_label_map(write_series())


def test_real_series_equals_its_nifti(shared_data: Path) -> None:
    series = read_volume(shared_data / "dicom" / "liver_ge_c3l00189_5mm")
    nifti = read_volume(shared_data / "ct" / "full" / "cptac_c3l00189.nii.gz")
    assert series.array.dtype == nifti.array.dtype == np.int16
    np.testing.assert_allclose(series.affine, nifti.affine, atol=1e-4)
    assert np.array_equal(series.array, nifti.array) and series.array.min() == -1024
