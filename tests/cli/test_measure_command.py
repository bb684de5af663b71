"""`liverseg measure` writes the same files as `segment`, for a person's mask."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

Liverseg = Callable[..., Any]
SaveScan = Callable[..., Path]


def test_a_measured_mask_gets_a_row_in_the_summary(liverseg: Liverseg, save_scan: SaveScan, tmp_path: Path) -> None:
    scan = nib.load(save_scan("ct.nii.gz"))
    labels = np.zeros(scan.shape, np.uint8)
    labels[20:60, 20:60, 4:20], labels[30:40, 30:40, 8:12] = 1, 2
    nib.save(nib.Nifti1Image(labels, scan.affine), tmp_path / "mask.nii.gz")
    answer = liverseg("measure", "ct.nii.gz", "mask.nii.gz", "-o", "out")
    assert answer.code == 0, answer.err
    liver_ml, tumor_ml = (n * 1.25 * 1.25 * 3 / 1000 for n in (40 * 40 * 16, 10 * 10 * 4))
    assert answer.out.startswith(f"ct: liver {liver_ml:.1f} ml, tumor {tumor_ml:.1f} ml in 1 lesion (")
    assert {"  mask    out/ct/ct_seg.nii.gz", "  overlay out/ct/overlay.png"} <= set(answer.out.splitlines())
    assert "  page    out/ct/report.html" in answer.out.splitlines() and "thumbnail" not in answer.out
    with (tmp_path / "out" / "summary.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert row["case"] == "ct" and row["verdict"] in ("ok", "look", "stop") and row["lesions"] == "1"


def test_measure_exits_with_1_for_a_refusal_and_2_for_wrong_usage(
    liverseg: Liverseg, save_scan: SaveScan, tmp_path: Path
) -> None:
    save_scan("ct.nii.gz")
    nib.save(nib.Nifti1Image(np.zeros((8, 8, 8), np.uint8), np.eye(4)), tmp_path / "mask.nii.gz")
    answer = liverseg("measure", "ct.nii.gz", "mask.nii.gz", "--output", "out")
    assert answer.code == 1 and answer.err.splitlines()[-1].startswith("liverseg: mask.nii.gz ")
    assert liverseg("measure", "ct.nii.gz", "absent.nii.gz", "-o", "out").code == 1
    for arguments, message in (
        (["ct.nii.gz", "-o", "out"], "liverseg measure needs a CT and its mask."),
        (["ct.nii.gz", "mask.nii.gz"], "liverseg measure needs --output DIR"),
    ):
        answer = liverseg("measure", *arguments)
        assert answer.code == 2 and message in answer.err
