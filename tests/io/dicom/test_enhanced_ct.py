"""Enhanced multi-frame CT is read like the classic slices it was made from, or refused with a reason."""

import zipfile
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import enhanced_scene as scene
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from custom_networks.errors import InputError
from custom_networks.io import find_cases, only_case, read_volume
from custom_networks.io.dicom import enhanced
from custom_networks.io.dicom.case import dicom_case, list_dicom
from custom_networks.io.volume import Volume

SHUFFLED = [3, 0, 7, 5, 1, 6, 2, 4]
REAL = {
    "liver_ge_c3l00189_5mm": 35,
    "liver_ge_petct_two_studies_jpegls": 34,
    "liver_siemens_kits00072_plus_foreign_topogram": 12,
}


def same(one: Volume, other: Volume) -> bool:
    """Assert that two volumes have the same voxels of the same type at the same positions."""
    arrays = np.array_equal(one.array, other.array) and one.array.dtype == other.array.dtype
    return bool(arrays and np.array_equal(one.affine, other.affine))


@pytest.fixture
def classic(tmp_path: Path) -> Volume:
    """The volume of the scene's classic slices."""
    return read_volume(scene.save_all(scene.slices(), tmp_path / "classic"))


@pytest.fixture
def read(tmp_path: Path) -> Callable[[Dataset], Volume]:
    """Write one image to a separate folder and read it."""

    def read(image: Dataset) -> Volume:
        return read_volume(scene.save(image, tmp_path / generate_uid() / "image").parent)

    return read


Read = Callable[[Dataset], Volume]


@pytest.mark.parametrize("shared", [True, False], ids=["shared groups", "groups of each frame"])
@pytest.mark.parametrize("order", [range(8), SHUFFLED, range(7, -1, -1)], ids=str)
def test_an_enhanced_ct_reads_like_its_slices_in_any_order_of_frames(
    classic: Volume, read: Read, order: Sequence[int], shared: bool
) -> None:
    slices = scene.slices()
    volume = read(scene.enhanced([slices[k] for k in order], shared=shared))
    assert same(volume, classic) and volume.notes == ()
    assert np.array_equal(volume.array, scene.hounsfield())
    assert [header.ReferencedFrameNumber for header in volume.headers] == [list(order).index(k) + 1 for k in range(8)]
    assert [header.ImagePositionPatient[2] for header in volume.headers] == [-100 + 3 * k for k in range(8)]


def test_each_frame_has_its_own_rescale(classic: Volume, read: Read) -> None:
    def change(k: int, dataset: Dataset) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = (1, -1024 - 10 * k) if k % 2 else (0.5, -1100)

    volume = read(scene.enhanced(scene.slices(change=change)))
    assert np.array_equal(volume.array, classic.array) and np.array_equal(volume.affine, classic.affine)


def stored(image: Dataset, change: Callable[[np.ndarray], np.ndarray], bits: int, high: int) -> Dataset:
    """The image with pixels in another encoding."""
    image.BitsStored, image.HighBit = bits, high
    image.PixelData = change(np.frombuffer(image.PixelData, "<u2")).astype("<u2").tobytes()
    return image


def test_pixels_of_frames_are_interpreted_like_those_of_slices(classic: Volume, read: Read) -> None:
    image = scene.enhanced(scene.slices())
    assert same(read(stored(image, lambda cells: cells << 4, 12, 15)), classic)
    image = scene.enhanced(scene.slices())
    volume = read(stored(image, lambda cells: np.r_[cells[:192] | 1 << 15, cells[192:]], 12, 11))
    assert same(volume, classic)
    assert volume.notes == (
        "Pixels have bits set above the 12 of BitsStored, which were taken for old overlays and cleared (1 slice).",
    )
    with pytest.raises(InputError, match="values that do not fit into the 10 bits of BitsStored"):
        read(stored(scene.enhanced(scene.slices()), lambda cells: cells, 10, 9))


def test_an_empty_instance_uid_is_replaced_by_that_of_the_file_meta(tmp_path: Path) -> None:
    path = scene.save(scene.enhanced(scene.slices()), tmp_path / "exam" / "image")
    written = dcmread(path)
    own = str(written.SOPInstanceUID)
    written.SOPInstanceUID = ""
    written.save_as(path)
    case = only_case(path.parent)
    assert {str(h.SOPInstanceUID) for h in (*case.headers(), *case.read().headers)} == {own}
    assert case.notes == ("SOPInstanceUID is empty in 1 file: it was taken from the file meta information.",)


def test_an_unreadable_file_beside_an_enhanced_ct_is_reported(classic: Volume, tmp_path: Path) -> None:
    path = scene.save(scene.enhanced(scene.slices()), tmp_path / "exam" / "image")
    path.with_name("other.dcm").write_bytes(b"")
    volume = read_volume(path.parent)
    assert same(volume, classic) and volume.notes == ("1 damaged or incomplete file was skipped (other.dcm).",)


def test_single_frames_in_separate_files_are_not_a_volume(tmp_path: Path) -> None:
    """Results would refer to them as frames of the same image."""
    for number, frame in enumerate(scene.slices()):
        scene.save(scene.enhanced([frame]), tmp_path / "exam" / str(number))
    with pytest.raises(InputError, match="It holds 1 slice, but at least 5 are needed"):
        read_volume(tmp_path / "exam")


def test_frames_are_ordered_by_position_and_not_by_number_in_the_stack(classic: Volume, read: Read) -> None:
    image = scene.enhanced(scene.slices())
    for k, group in enumerate(image[scene.PER_FRAME].value):
        group.FrameContentSequence[0].InStackPositionNumber = SHUFFLED[k] + 1
        group.FrameContentSequence[0].DimensionIndexValues = [1, SHUFFLED[k] + 1]
    assert same(read(image), classic)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_every_encoding_of_a_data_set_reads_the_same(classic: Volume, read: Read, syntax: str) -> None:
    image = scene.enhanced(scene.slices())
    if syntax == ExplicitVRBigEndian:
        image.PixelData = np.frombuffer(image.PixelData, "<u2").byteswap().tobytes()
    image.file_meta = scene.FileMetaDataset()
    image.file_meta.TransferSyntaxUID = syntax
    assert same(read(image), classic)


@pytest.mark.parametrize("offsets", [True, False], ids=["offset table", "no offset table"])
@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless], ids=lambda syntax: syntax.name)
def test_compressed_frames_read_the_same(read: Read, syntax: str, offsets: bool) -> None:
    hu = np.tile(scene.hounsfield(), (3, 3, 1))  # JPEG 2000 is not written for fewer than 32 pixels
    slices = [scene.slices(hu)[k] for k in SHUFFLED]
    pixels = [np.frombuffer(s.PixelData, "<u2").reshape(s.Rows, s.Columns) for s in slices]
    encoded = [encode(values, syntax) for values in pixels]
    volume = read(scene.encapsulated(scene.enhanced(slices), syntax, encoded, offsets=offsets))
    assert np.array_equal(volume.array, hu)


def encode(values: np.ndarray, syntax: str) -> bytes:
    """Encode a frame (rows, columns) of uint16 losslessly: JPEG 2000 with Pillow, others with highdicom."""
    if syntax == JPEG2000Lossless:
        buffer = BytesIO()
        image = pytest.importorskip("PIL.Image", reason="Pillow, of the extra dicom, encodes JPEG 2000")
        image.fromarray(values).save(buffer, "JPEG2000", no_jp2=True)
        return buffer.getvalue()
    frame = pytest.importorskip("highdicom.frame", reason="highdicom, of the extra dicom, encodes frames")
    return bytes(frame.encode_frame(values, syntax, 16, 16, "MONOCHROME2", 0))


def test_an_enhanced_ct_is_read_from_an_archive_and_under_any_name(classic: Volume, tmp_path: Path) -> None:
    path = scene.save(scene.enhanced(scene.slices()), tmp_path / "image")
    with zipfile.ZipFile(tmp_path / "exam.zip", "w") as archive:
        archive.write(path, "a/b/IM0001")
    assert same(read_volume(tmp_path / "exam.zip"), classic)


def test_several_stacks_are_candidates_like_series(tmp_path: Path) -> None:
    """Stacks are separate volumes even if they adjoin each other in space."""
    below, above = scene.slices(), scene.slices(scene.hounsfield(100), z=-76)
    frames = [frame for pair in zip(below, above) for frame in pair]
    folder = scene.save(scene.enhanced(frames, stacks=["1", "2"] * 8), tmp_path / "exam" / "image").parent
    first = read_volume(folder)
    assert np.array_equal(first.array, scene.hounsfield()) and first.affine[2, 3] == -100
    assert first.notes == (
        "Series 1 of 2 was chosen (CT, 8 slices, 3 mm).",
        f"Series 2 (CT, 8 slices, 3 mm) was not chosen: give {folder}::2 to segment it.",
        "The frames were split by StackID into 2 parts.",
    )
    second = read_volume(f"{folder}::2")
    assert np.array_equal(second.array, scene.hounsfield(100)) and second.affine[2, 3] == -76
    assert [header.ReferencedFrameNumber for header in second.headers] == list(range(2, 17, 2))
    cases = [dicom_case(folder), dicom_case(f"{folder}::2")]
    assert len({case.identity for case in cases}) == len({case.content for case in cases}) == 2


def test_the_most_suitable_stack_is_chosen(tmp_path: Path) -> None:
    few, many = scene.slices(scene.hounsfield()[..., :5], z=200), scene.slices()
    image = scene.enhanced([*few, *many], stacks=["a"] * 5 + ["b"] * 8)
    case = dicom_case(scene.save(image, tmp_path / "exam" / "image").parent)
    assert case.series is not None and case.series.slices == 8 and case.stack.part == "StackID b"


def test_phases_are_separate_volumes(tmp_path: Path) -> None:
    frames = scene.slices() + scene.slices(scene.hounsfield(7))
    folder = scene.save(scene.enhanced(frames, phases=[1] * 8 + [2] * 8), tmp_path / "exam" / "image").parent
    assert np.array_equal(read_volume(folder).array, scene.hounsfield())
    assert np.array_equal(read_volume(f"{folder}::2").array, scene.hounsfield(7))
    assert any("TemporalPositionIndex" in line for line in list_dicom(folder))


def test_a_phase_number_for_each_frame_does_not_split_the_frames(classic: Volume, read: Read) -> None:
    assert same(read(scene.enhanced(scene.slices(), phases=range(1, 9), stacks=list("abcdefgh"))), classic)


def test_acquisitions_at_the_same_positions_are_split(tmp_path: Path) -> None:
    image = scene.enhanced(scene.slices() + scene.slices(scene.hounsfield(7)))
    for k, group in enumerate(image[scene.PER_FRAME].value):
        group.FrameContentSequence[0].FrameAcquisitionNumber = 1 + k // 8
    folder = scene.save(image, tmp_path / "exam" / "image").parent
    assert np.array_equal(read_volume(f"{folder}::2").array, scene.hounsfield(7))


def test_two_files_of_one_series_are_two_volumes(tmp_path: Path) -> None:
    for shift in (0, 7):
        scene.save(scene.enhanced(scene.slices(scene.hounsfield(shift))), tmp_path / "exam" / f"image {shift}")
    cases = [dicom_case(f"{tmp_path / 'exam'}::{number}") for number in (1, 2)]
    assert len({case.identity for case in cases}) == len({case.content for case in cases}) == 2
    assert sorted(int(case.read().array.min()) for case in cases) == [-1024, -1017]


def test_a_copy_of_the_file_is_dropped_with_a_note(classic: Volume, tmp_path: Path) -> None:
    image = scene.enhanced(scene.slices())
    for name in ("one", "two"):
        scene.save(image, tmp_path / "exam" / name)
    volume = read_volume(tmp_path / "exam")
    assert same(volume, classic)
    assert volume.notes == ("1 file repeats another slice and was left out (same SOPInstanceUID).",)


def test_another_image_under_the_same_uid_is_refused(tmp_path: Path) -> None:
    for shift in (0, 7):
        image = scene.enhanced(scene.slices(scene.hounsfield(shift)))
        image.SOPInstanceUID = "1.2.3.9"
        scene.save(image, tmp_path / "exam" / f"image {shift}")
    with pytest.raises(InputError, match="2 different images have the same SOPInstanceUID"):
        read_volume(tmp_path / "exam")


def test_an_enhanced_ct_and_the_classic_series_beside_it_are_candidates(classic: Volume, tmp_path: Path) -> None:
    scene.save_all(scene.slices(), tmp_path / "exam" / "classic")
    scene.save(scene.enhanced(scene.slices(series="1.2.3.7")), tmp_path / "exam" / "enhanced")
    assert all(same(read_volume(f"{tmp_path / 'exam'}::{number}"), classic) for number in (1, 2))
    volume = read_volume(tmp_path / "exam")
    assert same(volume, classic) and "Series 1 of 2 was chosen" in volume.notes[0]


def test_a_localizer_among_the_frames_is_left_out(classic: Volume, read: Read) -> None:
    def scout(k: int, dataset: Dataset) -> None:
        dataset.ImageType, dataset.ImageOrientationPatient = ["ORIGINAL", "PRIMARY", "LOCALIZER"], [1, 0, 0, 0, 0, -1]

    volume = read(scene.enhanced([*scene.slices(scene.hounsfield()[..., :1], scout), *scene.slices()]))
    assert same(volume, classic)
    assert "1 file was skipped: localizers (scouts)." in volume.notes


def test_the_series_facts_for_reports_are_known(tmp_path: Path) -> None:
    path = scene.save(scene.enhanced(scene.slices()), tmp_path / "exam" / "image")
    case = only_case(path.parent)
    assert case.series is not None
    assert (case.series.series_instance_uid, case.series.series_number, case.series.slices) == ("1.2.3.2", 4, 8)
    assert case.series.spacing_mm == pytest.approx((0.8, 0.7, 3))
    assert list_dicom(path.parent)[0] == f"{path.parent}: 1 file, 1 series, 1 to segment"
    assert [h.ReferencedFrameNumber for h in case.headers()] == list(range(1, 9))
    assert [h.to_json() for h in case.headers()] == [h.to_json() for h in case.read().headers]


def test_identity_and_content_do_not_change_when_the_file_is_moved(tmp_path: Path) -> None:
    image = scene.enhanced(scene.slices())
    one, other = (dicom_case(scene.save(image, tmp_path / name / name).parent) for name in ("a", "b"))
    assert (one.identity, one.content) == (other.identity, other.content)


def test_without_uids_the_content_is_the_digest_of_the_file(tmp_path: Path) -> None:
    for name, shift in (("a", 0), ("b", 0), ("c", 7)):
        image = scene.enhanced(scene.slices(scene.hounsfield(shift)))
        image.SOPInstanceUID = "1.2.3.9"
        scene.save(image, tmp_path / name / "image")
        written = dcmread(tmp_path / name / "image")
        del written.SOPInstanceUID
        written.save_as(tmp_path / name / "image")
    a, b, c = (dicom_case(tmp_path / name).content for name in "abc")
    assert a == b != c


@pytest.mark.parametrize(
    "wrong, sentence",
    [
        (lambda i: scene.empty(i, "PlanePositionSequence"), "1 have no ImagePositionPatient: export them as classic"),
        (lambda i: scene.empty(i, "PlaneOrientationSequence"), "frame 1 have no ImageOrientationPatient"),
        (lambda i: scene.empty(i, "PixelMeasuresSequence", "PixelSpacing"), "frame 1 have no PixelSpacing"),
        (lambda i: scene.empty(i, "PixelValueTransformationSequence"), "have no RescaleSlope, RescaleIntercept"),
        (lambda i: i.pop(scene.PER_FRAME) and i, "they have no PerFrameFunctionalGroupsSequence"),
        (lambda i: setattr(i, "NumberOfFrames", 9), "NumberOfFrames is 9, but there are functional groups of 8"),
        (lambda i: setattr(i, "ConcatenationUID", "1.2.9"), "each is only a part of a concatenation"),
        (lambda i: setattr(i, "SOPClassUID", "1.2.840.10008.5.1.4.1.1.2"), "SOP class is not Enhanced CT"),
        (lambda i: setattr(i, "PixelData", i.PixelData[:-2]), "truncated or damaged"),
        (lambda i: setattr(i, "PixelData", i.PixelData * 2), "pixel data of more frames than NumberOfFrames"),
        (lambda i: setattr(i, "Modality", "PT"), "1 of 1 files are not CT but PT"),
    ],
)
def test_attributes_missing_in_any_frame_are_refused_by_name(
    read: Read, wrong: Callable[[Dataset], object], sentence: str
) -> None:
    image = scene.enhanced(scene.slices())
    wrong(image)
    with pytest.raises(InputError, match=sentence):
        read(image)


def test_too_many_frames_are_refused(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enhanced, "MOST_FRAMES", 7)
    with pytest.raises(InputError, match="they hold 8 frames, but at most 7 are read"):
        read(scene.enhanced(scene.slices()))


def test_a_concatenation_of_a_single_part_is_read(classic: Volume, read: Read) -> None:
    image = scene.enhanced(scene.slices())
    image.ConcatenationUID, image.InConcatenationNumber, image.InConcatenationTotalNumber = "1.2.9", 1, 1
    assert same(read(image), classic)


def of_frame(k: int, **values: object) -> Callable[[int, Dataset], None]:
    """An edit that sets elements only in slice k."""
    return lambda index, dataset: dataset.update(values) if index == k else None


@pytest.mark.parametrize(
    "change, sentence",
    [
        (of_frame(3, PixelSpacing=[0.7, 0.9]), "pixel spacing differs between slices"),
        (of_frame(3, ImageOrientationPatient=[0, 1, 0, 1, 0, 0]), "slices differ in orientation"),
        (of_frame(3, ImagePositionPatient=[-50, -40, -91.6]), "it must be even"),
        (of_frame(3, ImagePositionPatient=[-50, -40, -94]), "lie at the same position"),
        (of_frame(3, RescaleType="Z_EFF"), "1 of 1 files have no rescale to Hounsfield units"),
        (of_frame(3, ImageType=["DERIVED", "PRIMARY", "MAX_IP"]), r"derived images \(ImageType MAX_IP"),
    ],
)
def test_the_rules_for_slices_apply_to_frames(read: Read, change: scene.Change, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        read(scene.enhanced(scene.slices(change=change)))


def test_missing_frames_are_refused_as_a_gap(read: Read) -> None:
    frames = scene.slices()
    with pytest.raises(InputError, match="slices are missing"):
        read(scene.enhanced(frames[:3] + frames[4:]))


def test_axial_slices_that_were_derived_are_read_with_a_note(read: Read) -> None:
    image = scene.enhanced(scene.slices())
    for item in scene.groups_of(image, "CTImageFrameTypeSequence"):
        item.FrameType, item.VolumeBasedCalculationTechnique = ["DERIVED", "PRIMARY", "VOLUME", "NONE"], "MPR"
    assert read(image).notes == ("The slices are derived images (ImageType DERIVED).",)
    for item in scene.groups_of(image, "CTImageFrameTypeSequence"):
        item.VolumeBasedCalculationTechnique = "MAX_IP"
    with pytest.raises(InputError, match=r"derived images \(ImageType MAX_IP"):
        read(image)


def test_a_damaged_enhanced_file_does_not_hide_the_classic_series(classic: Volume, tmp_path: Path) -> None:
    scene.save_all(scene.slices(), tmp_path / "exam" / "classic")
    image = scene.empty(scene.enhanced(scene.slices(series="1.2.3.7")), "PlanePositionSequence")
    scene.save(image, tmp_path / "exam" / "enhanced")
    volume = read_volume(tmp_path / "exam")
    assert same(volume, classic) and any("no ImagePositionPatient" in note for note in volume.notes)


def test_all_cases_of_a_file_are_found_without_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = scene.save(scene.enhanced(scene.slices()), tmp_path / "exam" / "image").parent
    monkeypatch.setattr(Dataset, "pixel_array", property(lambda dataset: pytest.fail("decoded")))
    cases, refused = find_cases([str(folder)])
    assert len(cases) == 1 and refused == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", REAL)
def test_a_converted_series_is_read_like_the_series(name: str, shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("highdicom.legacy", reason="highdicom, of the extra dicom, makes enhanced CT")
    case = dicom_case(shared_data / "dicom" / name)
    files = [Path(str(header.file)) for header in case.stack.slices]
    volume = read_volume(scene.converted(files, tmp_path / "exam" / "image").parent)
    assert volume.array.shape[2] == REAL[name] and same(volume, case.read())
