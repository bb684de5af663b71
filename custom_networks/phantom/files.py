"""Phantoms on disk, in the layout of the Medical Segmentation Decathlon (MSD)."""

import gzip
import json
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
import numpy.typing as npt

from custom_networks.errors import UsageError
from custom_networks.files import atomic_write, write_text
from custom_networks.phantom.dicom import write_series
from custom_networks.phantom.synthesis import Phantom, make_phantom

FORMATS = ("nifti", "dicom")


def case_seed(seed: int, index: int) -> int:
    """Seed of case `index` in a set: sets of neighbouring seeds share no case."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1)[0])


def write_nifti(path: Path, voxels: npt.NDArray[Any], affine: npt.NDArray[np.float64]) -> None:
    """Write an array (i, j, k) with its affine (RAS mm) as .nii.gz; equal voxels give equal bytes."""
    image = nib.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    with atomic_write(path) as temporary:
        # The time in a gzip header would make each run's bytes differ.
        temporary.write_bytes(gzip.compress(image.to_bytes(), compresslevel=3, mtime=0))


def _dataset_json(seed: int, training: list[dict[str, str]]) -> str:
    """The MSD's dataset.json for a list of {"image", "label"} paths relative to its folder."""
    description = {
        "name": "Phantom",
        "description": f"Synthetic abdominal CT with exact truth, seed {seed}; no patients",
        "reference": "custom_networks.phantom",
        "licence": "Apache-2.0",
        "release": "1.0",
        "tensorImageSize": "3D",
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "liver", "2": "tumor"},
        "numTraining": len(training),
        "numTest": 0,
        "training": training,
        "test": [],
    }
    return json.dumps(description, indent=2) + "\n"


def _write_case(folder: Path, name: str, phantom: Phantom, format: str) -> tuple[Path, Path]:
    """Write one case; returns the paths of its image (a file, or a folder of slices) and of its label map."""
    if format == "dicom":
        image, label = folder / name, folder / "labels" / f"{name}.nii.gz"
        write_series(phantom, image, name.rpartition("_")[2])
    else:
        image, label = folder / "imagesTr" / f"{name}.nii.gz", folder / "labelsTr" / f"{name}.nii.gz"
        write_nifti(image, phantom.image, phantom.affine)
    write_nifti(label, phantom.label, phantom.affine)
    return image, label


def write_phantoms(
    folder: str | Path, cases: int, seed: int, format: Literal["nifti", "dicom"] = "nifti"
) -> list[Path]:
    """Write `cases` phantoms and a dataset.json; returns the images' paths, in order.

    "nifti" writes imagesTr/phantom_000.nii.gz (int16 HU) and labelsTr/phantom_000.nii.gz; "dicom" writes
    phantom_000/IM0001.dcm and on, and labels/phantom_000.nii.gz. Both hold the same voxels at the same places for one
    seed, and the same bytes each time. Raises UsageError for bad arguments or a folder that cannot be written.
    """
    if format not in FORMATS:
        raise UsageError(f"A phantom's format must be one of {', '.join(FORMATS)}, got {format!r}; choose one of them.")
    if cases < 1 or seed < 0:
        raise UsageError(f"Phantoms need cases >= 1 and a seed >= 0, got cases {cases} and seed {seed}; change them.")
    folder = Path(folder)
    training = []
    images = []
    try:
        for index in range(cases):
            name = f"phantom_{index:03d}"
            image, label = _write_case(folder, name, make_phantom(case_seed(seed, index)), format)
            images.append(image)
            paths = {"image": image, "label": label}
            training.append({key: f"./{path.relative_to(folder).as_posix()}" for key, path in paths.items()})
        write_text(folder / "dataset.json", _dataset_json(seed, training))
    except OSError as error:
        raise UsageError(f"Phantoms cannot be written to {folder} ({error}); choose another folder.") from error
    return images
