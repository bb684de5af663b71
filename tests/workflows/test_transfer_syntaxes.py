"""A real CT in every lossless transfer syntax, in shuffled, renamed and nested files, has the mask of its NIfTI."""

import random
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID

from custom_networks.io import only_case, read_volume
from custom_networks.pipeline import Pipeline
from custom_networks.result import Result

WEIGHTS = Path(__file__).resolve().parents[2] / "bundle" / "models" / "model.pt"
NATIVE = {
    "implicit": UID("1.2.840.10008.1.2"),
    "explicit": UID("1.2.840.10008.1.2.1"),
    "deflated": UID("1.2.840.10008.1.2.1.99"),
    "big endian": UID("1.2.840.10008.1.2.2"),
}
COMPRESSED = {
    "JPEG lossless 57": UID("1.2.840.10008.1.2.4.57"),
    "JPEG lossless 70": UID("1.2.840.10008.1.2.4.70"),
    "JPEG-LS": UID("1.2.840.10008.1.2.4.80"),
    "JPEG 2000": UID("1.2.840.10008.1.2.4.90"),
    "RLE": UID("1.2.840.10008.1.2.5"),
}


def transcode(series: Path, syntax: UID, folder: Path) -> Path:
    """Write a series in another transfer syntax, in files with random order, names and folders."""
    dice = random.Random(str(syntax))
    paths = sorted(path for path in series.iterdir() if path.is_file())
    dice.shuffle(paths)
    for number, path in enumerate(paths):
        dataset = dcmread(path)
        if syntax.is_encapsulated:
            dataset.PixelData = encapsulate([frame_by_gdcm(path, syntax, folder)])
            dataset["PixelData"].VR = "OB"
            dataset["PixelData"].is_undefined_length = True
        elif not syntax.is_little_endian:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
        dataset.file_meta.TransferSyntaxUID = syntax
        written = Dataset()
        written.update({element.tag: element for element in dataset})
        written.file_meta = dataset.file_meta
        place = folder / str(dice.randrange(3)) / str(dice.randrange(2))
        place.mkdir(parents=True, exist_ok=True)
        dcmwrite(place / f"IM{number:05}", written, enforce_file_format=True, implicit_vr=None, little_endian=None)
    return folder


def frame_by_gdcm(path: Path, syntax: UID, folder: Path) -> bytes:
    """The pixels of a file, compressed by another program."""
    import gdcm

    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(path))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(syntax))))
    change.SetInput(reader.GetImage())
    assert change.Change()
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / ".gdcm"
    writer.SetFileName(str(temporary))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    compressed = dcmread(temporary)
    temporary.unlink()
    assert compressed.file_meta.TransferSyntaxUID == syntax
    return next(generate_frames(compressed.PixelData, number_of_frames=1))


def in_the_patient(result: Result) -> tuple[Any, Any]:
    """A mask with its axes along the patient's axes, and its affine."""
    image = nib.as_closest_canonical(nib.Nifti1Image(result.labels, result.affine))
    return np.asarray(image.dataobj), image.affine


@pytest.fixture(scope="module")
def series(shared_data: Path) -> Path:
    return shared_data / "dicom" / "liver_ge_c3l00189_5mm"


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    if not WEIGHTS.is_file():
        pytest.skip(f"TRAINED WEIGHTS ABSENT: no {WEIGHTS}")
    return Pipeline(overrides={"progress": False, "precision": "float32"})


@pytest.fixture(scope="module")
def expected(pipeline: Pipeline, shared_data: Path) -> tuple[Any, Any]:
    """The mask of the same scan as NIfTI."""
    return in_the_patient(pipeline.predict(only_case(shared_data / "ct" / "full" / "cptac_c3l00189.nii.gz")))


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NATIVE, *COMPRESSED])
def test_every_transfer_syntax_has_the_mask_of_the_nifti(
    name: str, pipeline: Pipeline, expected: tuple[Any, Any], series: Path, tmp_path: Path
) -> None:
    pytest.importorskip("gdcm", reason="python-gdcm, of the extra dicom")
    syntax = (NATIVE | COMPRESSED)[name]
    folder = transcode(series, syntax, tmp_path / "exam")
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID for path in files} == {syntax}
    np.testing.assert_array_equal(read_volume(folder).array, read_volume(series).array)
    mask, affine = in_the_patient(pipeline.predict(only_case(folder)))
    np.testing.assert_array_equal(mask, expected[0])
    np.testing.assert_allclose(affine, expected[1], atol=1e-3)
