"""Small scans, weights with known output, and a function that runs `liverseg` in this process."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import monai.bundle  # noqa: F401  here, for its loggers keep the stdout of the moment, which `capsys` closes
import nibabel as nib
import pytest
import torch

from custom_networks.networks import ContextNet25D
from custom_networks.phantom import make_phantom

SHAPE, SPACING = (80, 80, 24), (1.25, 1.25, 3.0)  # voxels, mm: the network's own grid, so that nothing is resampled


class Answer(NamedTuple):
    """Exit code and output of a run of `liverseg`."""

    code: int
    out: str
    err: str


Liverseg = Callable[..., Answer]


def save_weights(path: Path, bias: tuple[float, float, float] | None) -> Path:
    """Write weights of the default network: random ones, or such that the logits of every voxel are `bias`."""
    torch.manual_seed(0)
    state = ContextNet25D().state_dict()
    if bias is not None:
        state["head.weight"], state["head.bias"] = torch.zeros_like(state["head.weight"]), torch.tensor(bias)
    torch.save(state, path)
    return path


@pytest.fixture(scope="session")
def all_liver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that classify every voxel as liver."""
    return save_weights(tmp_path_factory.mktemp("weights") / "all_liver.pt", (0.0, 9.0, 0.0))


@pytest.fixture(scope="session")
def no_liver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that classify every voxel as background."""
    return save_weights(tmp_path_factory.mktemp("weights") / "no_liver.pt", (9.0, 0.0, 0.0))


@pytest.fixture(scope="session")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained weights."""
    return save_weights(tmp_path_factory.mktemp("weights") / "random.pt", None)


@pytest.fixture(scope="session")
def scan() -> nib.Nifti1Image:
    """A CT of 100 x 100 x 72 mm, the smallest accepted size of a body."""
    phantom = make_phantom(5, shape=SHAPE, spacing=SPACING, lesions=1)
    return nib.Nifti1Image(phantom.image, phantom.affine)


@pytest.fixture
def save_scan(scan: nib.Nifti1Image, tmp_path: Path) -> Callable[[str], Path]:
    """A function that writes the scan under a name below tmp_path."""

    def save(name: str = "ct.nii.gz") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(scan, path)
        return path

    return save


@pytest.fixture
def liverseg(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Liverseg:
    """A function that runs the command in this process, with tmp_path as working directory."""
    from custom_networks.cli import main

    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Answer:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as exit:
            code = int(exit.code or 0)
        return Answer(code, *capsys.readouterr())

    return run


@pytest.fixture
def segment(liverseg: Liverseg, all_liver: Path) -> Liverseg:
    """Run `liverseg segment` on the CPU with known weights, without pictures or progress bar; results are in `out`."""

    def run(*arguments: object, weights: Path = all_liver) -> Answer:
        fixed = ("--output=out", f"--checkpoint={weights}", "--device=cpu", "--overlay=false", "--page=off")
        fixed += ("--progress=false",)
        return liverseg("segment", *arguments, *fixed)

    return run
