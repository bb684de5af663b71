"""What a long scan costs: the whole process, reading, network, anatomy, writing and overlay included."""

import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from custom_networks.phantom import make_phantom

ROOT = Path(__file__).resolve().parents[2]
LIMIT_MB = 3000
# Runs a command and prints its peak memory. Not the tests' own process: what it starts begins with its peak.
PEAK = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
sys.exit(code)
"""


@pytest.mark.slow
def test_a_scan_of_1000_slices_stays_under_3_gb(tmp_path: Path) -> None:
    weights = ROOT / "bundle" / "models" / "model.pt"
    if not weights.is_file():
        pytest.skip("no weights in bundle/models")
    small = make_phantom(3, shape=(256, 256, 100), spacing=(1.4, 1.4, 2.0))
    image = np.repeat(np.repeat(np.repeat(small.image, 2, axis=0), 2, axis=1), 10, axis=2)
    affine = np.array(small.affine)
    affine[:3, :3] = affine[:3, :3] @ np.diag([0.5, 0.5, 0.5])
    nib.save(nib.Nifti1Image(image, affine), tmp_path / "long.nii.gz")
    assert image.shape == (512, 512, 1000)
    del image
    command = [
        sys.executable,
        "-c",
        PEAK,
        sys.executable,
        "-m",
        "custom_networks",
        "segment",
        "long.nii.gz",
        "--output",
        "out",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    peak_mb = int(run.stdout.splitlines()[-1])
    print(f"peak {peak_mb} MB", run.stdout)
    assert nib.load(tmp_path / "out" / "long" / "long_seg.nii.gz").shape == (512, 512, 1000)
    assert peak_mb < LIMIT_MB
