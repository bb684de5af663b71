"""The numbers of threads and open files do not grow over sixty volumes in one process."""

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from custom_networks.batch.run import Run
from custom_networks.io import find_cases
from custom_networks.pipeline import Pipeline

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="NO /proc on this system"),
]
VOLUMES, SETTLED = 60, 10


def held() -> tuple[int, int]:
    """The numbers of threads and open files of this process."""
    return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))


def test_threads_and_open_files_do_not_grow_over_sixty_volumes(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "none.pt")
    stub = {"network_def": {"_target_": "test_pipeline.ThresholdNetwork"}, "device": "cpu", "progress": False}
    pipeline = Pipeline(overrides=stub, checkpoint=str(tmp_path / "none.pt"))
    hu = np.full((48, 48, 12), -120, dtype=np.int16)
    hu[12:36, 12:36, 2:10] = 60
    (tmp_path / "in").mkdir()
    for number in range(VOLUMES):
        path = tmp_path / "in" / f"{number:02}.nii.gz"
        if number % 7 == 3:
            path.write_text("not an image")
        else:
            nib.save(nib.Nifti1Image(hu, np.diag([3.0, 3.0, 3.0, 1.0])), path)
    cases, _ = find_cases([str(tmp_path / "in")])
    run = Run(tmp_path / "out", pipeline, False, {"overlay": True})
    counts = []
    for case in cases:
        run.segment(case)
        counts.append(held())
    assert len(counts) == VOLUMES and run.sum_up() == ""
    print("threads, files:", counts[0], counts[SETTLED], counts[-1])
    threads, files = np.transpose(counts[SETTLED:])
    assert np.ptp(threads) <= 1 and np.ptp(files) <= 1
