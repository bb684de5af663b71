"""Memory of a whole process for a long scan, including reading, network, anatomy rules, writing and overlay."""

import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from custom_networks.phantom import make_phantom

ROOT = Path(__file__).resolve().parents[2]
# Runs a command and prints its peak memory. Not the tests' own process: what it starts begins with its peak.
PEAK = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
sys.exit(code)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "slices, mm, kind, flags, limit_mb",
    [
        (1000, 0.5, np.int16, (), 2500),
        (1000, 0.7, np.int16, (), 2500),
        (1000, 1.0, np.int16, (), 2500),
        (1000, 0.86, np.float32, (), 3200),
        (1000, 0.86, np.float32, ("--scout=false",), 3500),
        (130, 0.5, np.int16, (), 1800),
        (130, 1.0, np.int16, (), 1800),
    ],
)
def test_memory_stays_below_its_limit_at_every_pixel_size(
    slices: int, mm: float, kind: type, flags: tuple[str, ...], limit_mb: int, tmp_path: Path
) -> None:
    weights = ROOT / "bundle" / "models" / "model.pt"
    if not weights.is_file():
        pytest.skip("no weights in bundle/models")
    small = make_phantom(3, shape=(256, 256, 100), spacing=(1.4, 1.4, 2.0))
    repeated = np.repeat(np.repeat(small.image, 2, axis=0), 2, axis=1)
    image = np.repeat(repeated, 10, axis=2) if slices == 1000 else repeated[..., np.arange(slices) * 100 // slices]
    affine = np.array(small.affine)
    affine[:3, :3] = np.sign(affine[:3, :3]) * np.diag([mm, mm, 200.0 / slices])
    nib.save(nib.Nifti1Image(image.astype(kind), affine), tmp_path / "long.nii.gz")
    shape = (512, 512, slices)
    assert image.shape == shape
    del image, repeated
    run_it = [sys.executable, "-m", "custom_networks", "segment", "long.nii.gz", "--output", "out", *flags]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PEAK, *run_it]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    peak_mb = int(run.stdout.splitlines()[-1])
    print(f"peak {peak_mb} MB", run.stdout)
    assert nib.load(tmp_path / "out" / "long" / "long_seg.nii.gz").shape == shape
    assert peak_mb < limit_mb
