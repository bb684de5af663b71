"""Unit test in the form of MONAI's model zoo (ci/unit_tests/): train, evaluate and infer on synthetic volumes.

It needs only MONAI and the bundle in models/, and is run in the zoo's folder with the bundle on Python's path:
`PYTHONPATH=models/liver_tumor_ct_25d python ci/unit_tests/runner.py --b liver_tumor_ct_25d`.
"""

import json
import os
import shutil
import tempfile
import unittest
from typing import Any

import nibabel as nib
import numpy as np
from monai.bundle import ConfigWorkflow

ROOT = "models/liver_tumor_ct_25d"
CASES = 4
SHAPE, AFFINE = (48, 48, 12), np.diag([2.5, 2.5, 3.0, 1.0])
SMALL = {"network_def#channels": [4, 8, 8, 8, 8], "network_def#aspp_channels": 8}


def ball(centre: tuple[int, int, int], radius: int) -> np.ndarray:
    """Mask of a ball, in voxels."""
    grid = np.indices(SHAPE, dtype=float)
    return sum((axis - place) ** 2 for axis, place in zip(grid, centre)) < radius**2


def volume(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A CT in HU and its labels: a body in air with a liver that contains a darker tumor."""
    body, liver, tumor = ball((24, 24, 6), 22), ball((20, 24, 6), 12), ball((18 + seed, 24, 6), 4)
    image = np.select([tumor, liver, body], [60, 110, 40], -1000)
    noise = np.random.default_rng(seed).integers(-10, 11, SHAPE)
    return (image + noise).astype(np.int16), np.select([tumor, liver], [2, 1], 0).astype(np.uint8)


def run(names: list[str], workflow_type: str, **overrides: Any) -> None:
    """Build, check, run and close a workflow of the bundle."""
    workflow = ConfigWorkflow(
        workflow_type=workflow_type,
        config_file=[os.path.join(ROOT, f"configs/{name}.json") for name in names],
        logging_file=os.path.join(ROOT, "configs/logging.conf"),
        meta_file=os.path.join(ROOT, "configs/metadata.json"),
        bundle_root=ROOT,
        **overrides,
    )
    workflow.initialize()
    wrong = workflow.check_properties()
    if wrong:
        raise ValueError(f"check properties for workflow failed: {wrong}")
    workflow.run()
    workflow.finalize()


class TestLiverTumorCT25D(unittest.TestCase):
    def setUp(self) -> None:
        self.dataset_dir, self.output_dir = tempfile.mkdtemp(), tempfile.mkdtemp()
        for number in range(CASES):
            for name, array in zip(("image", "label"), volume(number)):
                nib.save(nib.Nifti1Image(array, AFFINE), os.path.join(self.dataset_dir, f"{name}_{number}.nii.gz"))
        cases = [{key: f"{key}_{number}.nii.gz" for key in ("image", "label")} for number in range(CASES)]
        with open(os.path.join(self.dataset_dir, "dataset.json"), "w") as stream:
            json.dump({"training": cases}, stream)

    def tearDown(self) -> None:
        shutil.rmtree(self.dataset_dir)
        shutil.rmtree(self.output_dir)

    def test_train_eval_config(self) -> None:
        override = {
            "dataset_dir": self.dataset_dir,
            "output_dir": self.output_dir,
            "ckpt_dir": self.output_dir,
            "epochs": 1,
            "epoch_length": 2,
            "folds": 2,
            "val_interval": 1,
            "cache_rate": 0.0,
            "patch_size": [32, 32],
            "patch_slices": 2,
            **SMALL,
        }
        run(["train"], "train", **override)
        weights = os.path.join(self.output_dir, "model.pt")
        self.assertTrue(os.path.isfile(weights))
        # override train.json, thus set the workflow to "train" rather than "eval"
        run(["train", "evaluate"], "train", checkpoint=weights, **override)
        with open(os.path.join(self.output_dir, "cases.csv")) as stream:
            self.assertEqual(len(stream.readlines()), 1 + CASES // 2)

    def test_infer_config(self) -> None:
        datalist = [f"image_{number}.nii.gz" for number in range(CASES)]
        run(["inference"], "infer", dataset_dir=self.dataset_dir, datalist=datalist, output_dir=self.output_dir)
        for number in range(CASES):
            mask = nib.load(os.path.join(self.output_dir, f"image_{number}", f"image_{number}_seg.nii.gz"))
            self.assertEqual(mask.shape, SHAPE)
            self.assertTrue(set(np.unique(np.asarray(mask.dataobj))) <= {0, 1, 2})


if __name__ == "__main__":
    unittest.main()
