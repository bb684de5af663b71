"""Enhanced multi-frame CT that is unusual, incomplete, damaged or mislabelled."""

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import enhanced_scene as scene
import numpy as np
from hostile import NOTED, READ, REFUSED, Hostile
from pydicom.dataset import Dataset
from pydicom.encaps import itemize_frame
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    EnhancedMRImageStorage,
    JPEG2000Lossless,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedPETImageStorage,
    RLELossless,
)

FAMILY = "enhanced multi-frame CT"
SHUFFLED = [3, 0, 7, 5, 1, 6, 2, 4]
Edit = Callable[[Dataset], object]


def slices(
    hu: np.ndarray | None = None, change: scene.Change = lambda k, dataset: None, series: str = ""
) -> list[Dataset]:
    """The slices of the scene with pixels so large that they have the size of a body."""

    def widened(k: int, dataset: Dataset) -> None:
        dataset.PixelSpacing = [7, 8]
        change(k, dataset)

    return scene.slices(hu, widened, series=series)


def image(edit: Edit = lambda image: None, frames: Sequence[Dataset] | None = None, **options: object) -> Dataset:
    """One enhanced CT, edited."""
    made = scene.enhanced(slices() if frames is None else frames, **options)  # type: ignore[arg-type]
    edit(made)
    return made


def one(edit: Edit = lambda image: None, **options: object) -> Callable[[Path], Path]:
    """An input: a folder with one such file."""
    return lambda folder: scene.save(image(edit, **options), folder / "image.dcm").parent


def cut(share: float) -> Callable[[Path], Path]:
    """A folder with a truncated file."""

    def make(folder: Path) -> Path:
        path = scene.save(image(), folder / "image.dcm")
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
        return folder

    return make


def changed(**values: object) -> Edit:
    """Set elements of the file."""
    return lambda image: image.update(values)


def cells(change: Callable[[np.ndarray], np.ndarray], **values: object) -> Edit:
    """Store the pixels in another way, and set elements of the file."""

    def edit(image: Dataset) -> None:
        image.update(values)
        image.PixelData = change(np.frombuffer(image.PixelData, "<u2")).astype("<u2").tobytes()

    return edit


def in_frame(k: int, **values: object) -> list[Dataset]:
    """Classic slices with other attributes in slice k."""
    return slices(change=lambda index, dataset: dataset.update(values) if index == k else None)


def rle_frames() -> list[bytes]:
    """The frames of the scene, RLE-encoded as two segments of literal runs, high and low bytes."""
    frames = []
    for frame in slices():
        values = np.frombuffer(frame.PixelData, "<u2")
        segments = []
        for plane in (values >> 8, values & 255):
            data, encoded = plane.astype(np.uint8).tobytes(), b""
            for start in range(0, len(data), 128):
                run = data[start : start + 128]
                encoded += bytes([len(run) - 1]) + run
            segments.append(encoded + bytes(len(encoded) % 2))
        header = np.zeros(16, "<u4")
        header[:3] = 2, 64, 64 + len(segments[0])
        frames.append(header.tobytes() + b"".join(segments))
    return frames


def rle(frames: Sequence[bytes], offsets: bool = True) -> Callable[[Path], Path]:
    """A folder with a compressed file of these frames."""
    return lambda folder: scene.save(
        scene.encapsulated(image(), RLELossless, frames, offsets=offsets), folder / "image.dcm"
    ).parent


def lying_offsets(folder: Path) -> Path:
    """Compressed frames whose offset table points past the end."""
    made = scene.encapsulated(image(), RLELossless, rle_frames())
    table = np.arange(8, dtype="<u4") * 100_000
    head = b"\xfe\xff\x00\xe0" + (32).to_bytes(4, "little") + table.tobytes()
    made.PixelData = head + b"".join(item for frame in rle_frames() for item in itemize_frame(frame))
    made["PixelData"].is_undefined_length = True
    return scene.save(made, folder / "image.dcm").parent


def deflated(folder: Path) -> Path:
    made = image()
    made.file_meta = scene.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    return scene.save(made, folder / "image.dcm").parent


def parts_of_a_concatenation(folder: Path) -> Path:
    for number, part in enumerate((slice(0, 4), slice(4, 8)), start=1):
        made = image(frames=slices()[part])
        made.ConcatenationUID, made.InConcatenationNumber, made.InConcatenationTotalNumber = "1.2.9", number, 2
        scene.save(made, folder / f"{number}.dcm")
    return folder


def one_frame_a_file(folder: Path) -> Path:
    for number, frame in enumerate(slices()):
        scene.save(image(frames=[frame]), folder / f"{number}.dcm")
    return folder


def zipped(folder: Path) -> Path:
    path = scene.save(image(), folder / "image.dcm")
    with zipfile.ZipFile(folder / "exam.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, "deep/er/image")
    return folder / "exam.zip"


def beside_classic(edit: Edit) -> Callable[[Path], Path]:
    """A folder with the classic slices and an enhanced file of another series of the study."""

    def make(folder: Path) -> Path:
        scene.save_all(slices(), folder / "classic")
        scene.save(image(edit, frames=slices(series="1.2.3.7")), folder / "enhanced.dcm")
        return folder

    return make


def two_of(first: Dataset, second: Dataset) -> Callable[[Path], Path]:
    """A folder with two files."""

    def make(folder: Path) -> Path:
        for name, made in (("one.dcm", first), ("two.dcm", second)):
            scene.save(made, folder / name)
        return folder

    return make


def same_uid(shift: int) -> Dataset:
    """Give the image a SOPInstanceUID that does not depend on its pixels."""
    return image(changed(SOPInstanceUID="1.2.3.9"), slices(scene.hounsfield(shift)))


def type_of_all(*words: str, technique: str = "NONE") -> Edit:
    """Set FrameType and the technique by which frames were computed."""

    def edit(image: Dataset) -> None:
        for item in scene.groups_of(image, "CTImageFrameTypeSequence"):
            item.FrameType, item.VolumeBasedCalculationTechnique = list(words), technique

    return edit


def no_sequence(image: Dataset) -> None:
    """Replace the sequence of positions with a text."""
    del image[scene.PER_FRAME]
    image.add_new(0x52009231, "LO", "not a sequence")  # the tag is put right when the file is written


def reject(name: str, make: Callable[[Path], Path], says: str, quick: bool = False) -> Hostile:
    return Hostile(name, FAMILY, make, REFUSED, says, quick)


def accept(name: str, make: Callable[[Path], Path], ends: str = READ, says: str = "", quick: bool = False) -> Hostile:
    return Hostile(name, FAMILY, make, ends, says, quick)


BOTH = [*slices(), *slices(scene.hounsfield(7))]
INPUTS = [
    accept("enhanced_plain", one(), quick=True),
    accept("enhanced_shuffled_frames", one(frames=[slices()[k] for k in SHUFFLED]), quick=True),
    accept("enhanced_groups_of_each_frame", one(shared=False)),
    accept("enhanced_legacy_converted", one(changed(SOPClassUID=LegacyConvertedEnhancedCTImageStorage))),
    accept(
        "enhanced_rescale_of_each_frame",
        one(frames=in_frame(3, RescaleSlope=0.5, RescaleIntercept=-1100)),
        NOTED,
        "RescaleIntercept differs between slices",
    ),
    accept("enhanced_left_justified", one(cells(lambda stored: stored << 4, BitsStored=12, HighBit=15))),
    accept(
        "enhanced_old_overlays",
        one(cells(lambda stored: stored | (stored % 2) << 15, BitsStored=12, HighBit=11)),
        NOTED,
        r"which were taken for old overlays and cleared \(4 slices\)",
    ),
    reject(
        "enhanced_above_bits_stored", one(cells(lambda stored: stored, BitsStored=10, HighBit=9)), "do not fit into"
    ),
    reject("enhanced_no_bits_stored", one(lambda image: image.pop("BitsStored")), "lack BitsStored"),
    reject("enhanced_colour", one(changed(PhotometricInterpretation="PALETTE COLOR")), "8-bit or colour pixels"),
    accept("enhanced_odd_uid", one(changed(SOPInstanceUID="1.2.3.X")), NOTED, "SOPInstanceUID is not a valid UID"),
    reject("enhanced_one_frame_a_file", one_frame_a_file, "at least 5 are needed"),
    accept("enhanced_deflated", deflated),
    accept("enhanced_in_a_zip", zipped),
    accept("enhanced_rle", rle(rle_frames())),
    accept("enhanced_rle_no_offsets", rle(rle_frames(), offsets=False)),
    accept("enhanced_phase_counts_frames", one(phases=range(1, 9))),
    accept("enhanced_two_stacks", one(frames=BOTH, stacks=["1"] * 8 + ["2"] * 8), NOTED, "StackID into 2", quick=True),
    accept("enhanced_two_whole_phases", one(frames=BOTH, phases=[1] * 8 + [2] * 8), NOTED, "TemporalPositionIndex"),
    accept("enhanced_derived_mpr", one(type_of_all("DERIVED", "PRIMARY", "VOLUME", "NONE", technique="MPR")), NOTED),
    accept("enhanced_beside_classic", beside_classic(lambda image: None), NOTED, "Series 1 of 2 was chosen"),
    accept(
        "enhanced_broken_beside_classic",
        beside_classic(lambda image: scene.empty(image, "PlanePositionSequence")),
        NOTED,
        "no ImagePositionPatient",
    ),
    accept("enhanced_copied_file", two_of(same_uid(0), same_uid(0)), NOTED, "1 file repeats"),
    reject("enhanced_other_image_same_uid", two_of(same_uid(0), same_uid(7)), "2 different images have the same"),
    reject("enhanced_concatenation", parts_of_a_concatenation, "part of a concatenation", quick=True),
    reject(
        "enhanced_no_position",
        one(lambda image: scene.empty(image, "PlanePositionSequence")),
        "no ImagePositionPatient",
        quick=True,
    ),
    reject("enhanced_no_orientation", one(lambda i: scene.empty(i, "PlaneOrientationSequence")), "no ImageOrientation"),
    reject("enhanced_no_measures", one(lambda i: scene.empty(i, "PixelMeasuresSequence")), "no PixelSpacing"),
    reject("enhanced_no_rescale", one(lambda i: scene.empty(i, "PixelValueTransformationSequence")), "no RescaleSlope"),
    reject("enhanced_no_groups", one(lambda i: i.pop(scene.PER_FRAME)), "no PerFrameFunctionalGroupsSequence"),
    reject("enhanced_groups_no_sequence", one(no_sequence), "no PerFrameFunctionalGroupsSequence|damaged"),
    reject("enhanced_one_frame_too_many_declared", one(changed(NumberOfFrames=9)), "NumberOfFrames is 9"),
    reject("enhanced_billions_of_frames", one(changed(NumberOfFrames=2**31 - 1)), "NumberOfFrames is 2147483647"),
    reject(
        "enhanced_no_number_of_frames", one(lambda image: image.pop("NumberOfFrames")), "functional groups of 8 frames"
    ),
    reject("enhanced_short_pixels", one(lambda i: setattr(i, "PixelData", i.PixelData[:-384])), "truncated or damaged"),
    reject("enhanced_long_pixels", one(lambda i: setattr(i, "PixelData", i.PixelData * 2)), "more frames than"),
    reject("enhanced_cut_file", cut(0.8), "truncated or damaged", quick=True),
    reject("enhanced_cut_in_the_groups", cut(0.3), ""),
    reject("enhanced_rle_one_frame_missing", rle(rle_frames()[:-1]), "truncated or damaged"),
    reject("enhanced_rle_one_frame_damaged", rle([*rle_frames()[:-1], bytes(100)]), "cannot be decoded"),
    reject("enhanced_rle_lying_offsets", lying_offsets, "cannot be decoded"),
    reject(
        "enhanced_no_jpeg_2000_in_it",
        lambda folder: scene.save(
            scene.encapsulated(image(), JPEG2000Lossless, rle_frames()), folder / "image.dcm"
        ).parent,
        "do not match the declared transfer syntax",
    ),
    reject("enhanced_spacing_of_one_frame", one(frames=in_frame(3, PixelSpacing=[0.7, 0.9])), "pixel spacing differs"),
    reject("enhanced_position_no_number", one(frames=in_frame(3, ImagePositionPatient=[])), "no ImagePositionPatient"),
    reject("enhanced_missing_frame", one(frames=[s for k, s in enumerate(slices()) if k != 3]), "are missing"),
    reject("enhanced_mixed_up_phases", one(frames=BOTH, phases=[1, 2] * 8), "lie at the same position"),
    reject("enhanced_time_series", one(frames=BOTH), "lie at the same position"),
    reject("enhanced_localizer", one(type_of_all("ORIGINAL", "PRIMARY", "LOCALIZER", "NONE")), "localizers"),
    reject("enhanced_mip", one(type_of_all("DERIVED", "PRIMARY", "VOLUME", technique="MAX_IP")), "ImageType MAX_IP"),
    reject("enhanced_z_effective", one(frames=in_frame(3, RescaleType="Z_EFF")), "no rescale to Hounsfield"),
    reject(
        "enhanced_pet", one(changed(SOPClassUID=LegacyConvertedEnhancedPETImageStorage, Modality="PT")), "not CT but PT"
    ),
    reject("enhanced_mr_that_says_ct", one(changed(SOPClassUID=EnhancedMRImageStorage)), "class is not Enhanced CT"),
    reject("enhanced_few_frames", one(frames=slices()[:3]), "It holds 3 slices"),
]
