"""Exported files against the network, on slabs of a phantom and a real CT after the bundle's preprocessing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.inferers import SlidingWindowInferer
from torch import Tensor

from custom_networks.bundle_files import bundle_network, bundle_root
from custom_networks.io import only_case
from custom_networks.packing.export import Exported, export_network
from custom_networks.phantom import make_phantom
from custom_networks.phantom.files import write_nifti
from custom_networks.pipeline import Pipeline

pytestmark = pytest.mark.slow

SLICES = 16
Answer = Callable[[Tensor], Tensor]


@pytest.fixture(scope="module", params=["phantom", "real"])
def scan(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A volume of slices through the liver on the network's grid, height and width multiples of 16.

    The anatomy is whole in-plane and the affine tells where the patient's right is: without either, hardly any liver is
    found, and nothing is compared.
    """
    path = tmp_path_factory.mktemp(request.param) / f"{request.param}.nii.gz"
    if request.param == "phantom":
        phantom = make_phantom(3, shape=(288, 288, 60), spacing=(1.25, 1.25, 3.0))
        write_nifti(path, phantom.image, phantom.affine)
        whole, liver = nib.load(path), phantom.label > 0
    else:
        folder = request.getfixturevalue("shared_data") / "ct" / "dev"
        whole = nib.load(folder / "lits050_ct.nii.gz")
        liver = np.asarray(nib.load(folder / "lits050_label.nii.gz").dataobj) > 0
    first = int(liver.sum(axis=(0, 1)).argmax()) - SLICES // 2
    height, width = (n // 16 * 16 for n in whole.shape[:2])
    nib.save(whole.slicer[:height, :width, first : first + SLICES], path)
    return path


@pytest.fixture(scope="module")
def image(scan: Path) -> Tensor:
    """The network's input for that volume: `(1, 1, H, W, D)`."""
    parser = ConfigParser()
    parser.read_config(str(bundle_root() / "configs" / "inference.json"))
    volume = parser.get_parsed_content("preprocessing")({"image": str(scan)})["image"][None]
    return torch.as_tensor(volume).as_subclass(Tensor)


@pytest.fixture(scope="module")
def logits(image: Tensor) -> Tensor:
    """The network's logits."""
    with torch.no_grad():
        answer: Tensor = bundle_network(bundle_root())(image)
    assert (answer.argmax(1) == 1).sum() > 10_000, "hardly any liver found: nothing to compare"
    return answer


@pytest.fixture(scope="session", params=["torchscript", "onnx"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Exported, Answer]:
    """An exported file, and a function that runs it without this package."""
    folder = tmp_path_factory.mktemp("export")
    if request.param == "torchscript":
        file = export_network("torchscript", folder / "model.ts")
        return file, torch.jit.load(file.path)
    runtime = pytest.importorskip("onnxruntime")
    file = export_network("onnx", folder / "model.onnx")
    session = runtime.InferenceSession(file.path)
    return file, lambda image: torch.from_numpy(session.run(None, {"image": image.numpy()})[0])


def test_an_exported_network_has_the_same_logits_and_labels(
    exported: tuple[Exported, Answer], image: Tensor, logits: Tensor, scan: Path
) -> None:
    file, answer = exported
    with torch.no_grad():
        other = answer(image)
    difference, labels = float((other - logits).abs().max()), int((other.argmax(1) != logits.argmax(1)).sum())
    print(f"| {file.path.suffix} | {scan.name} | {file.size} | {difference:.1e} | {labels} of {labels_found(logits)} |")
    assert difference < 1e-4
    assert labels <= 2  # two classes may be alike to rounding


def labels_found(logits: Tensor) -> int:
    return int((logits.argmax(1) > 0).sum())


def test_the_stock_inferer_returns_the_networks_logits(
    exported: tuple[Exported, Answer], image: Tensor, logits: Tensor
) -> None:
    with torch.no_grad():
        other = SlidingWindowInferer(roi_size=(-1, -1, -1))(image, exported[1])
    torch.testing.assert_close(other, logits, atol=1e-4, rtol=0)


def label_map(scan: Path, **overrides: Any) -> np.ndarray[Any, Any]:
    ours = {"device": "$torch.device('cpu')", "precision": "float32", **overrides}
    return Pipeline(overrides=ours).predict(only_case(scan)).labels


def test_torchscript_in_the_stock_inferer_has_the_bundles_label_map(scan: Path, tmp_path: Path) -> None:
    file = export_network("torchscript", tmp_path / "model.ts")
    stock = {"_target_": "SlidingWindowInferer", "roi_size": [-1, -1, -1]}
    network = f"$torch.jit.load({str(file.path)!r})"
    bare = label_map(scan, network=network, inferer=stock)
    eager = label_map(scan, inferer=stock)
    shipped = label_map(scan)
    assert (shipped > 0).sum() > 10_000
    np.testing.assert_array_equal(bare, eager)
    print(f"| .ts, stock inferer | {scan.name} | {int((bare != shipped).sum())} of {int((shipped > 0).sum())} |")
    # The bundle's own inferer rounds probabilities to 1/255, the stock one keeps logits.
    assert (bare != shipped).sum() < 1e-3 * (shipped > 0).sum()
