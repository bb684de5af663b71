"""The bundle in MONAI Label: a viewer's requests to the server, from the first result to one after training.

The server and its weights change during the tests: fixtures do each step once, in the order in which they depend on
each other.
"""

import gzip
import shutil
import subprocess
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from label_server import MODEL, LabelServer

LENIENT = {"tumor_threshold": 0.02, "min_lesion_mm3": 0.0, "min_lesion_confidence": 0.0}
# The training options of 3D Slicer's extension, all of which it sends, with one epoch in place of 50.
AS_SLICER = {
    "device": "cpu",
    "pretrained": True,
    "max_epochs": 1,
    "val_split": 0.2,
    "multi_gpu": True,
    "gpus": "all",
    "tracking": "None",
    "tracking_uri": "",
    "tracking_experiment_name": "",
    "run_id": "",
    "model_filename": "model.pt",
}

Answers = dict[str, nib.Nifti1Image]


def labels(image: Any) -> np.ndarray:
    return np.asarray(image.dataobj)


def answer(server: LabelServer, image: str, **options: Any) -> Any:
    return nib.Nifti1Image.from_bytes(gzip.decompress(server.infer(image, **options)))


def bundle_run(python: Path, bundle: Path, image: Path, output: Path) -> Any:
    """The label map that `monai.bundle run` writes for an image, in MONAI Label's environment without its server."""
    given = {"dataset_dir": image.parent, "datalist": f"['{image.name}']", "output_dir": output, "progress": "False"}
    flags = [text for name, value in given.items() for text in (f"--{name}", str(value))]
    command = [str(python), "-m", "monai.bundle", "run", "--config_file", "configs/inference.json", *flags]
    run = subprocess.run(
        command, cwd=bundle, env={"CUDA_VISIBLE_DEVICES": ""}, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    case = image.name.removesuffix(".nii.gz")
    return nib.load(output / case / f"{case}_seg.nii.gz")


@pytest.fixture(scope="module")
def first_answers(server: LabelServer) -> Answers:
    """Label maps with the weights of the archive, by a name for the requested options."""
    asked: dict[str, dict[str, Any]] = {
        "as configured": {},
        "lenient": LENIENT,
        "large lesions only": {"min_lesion_mm3": 1e9},
        "certain lesions only": {"min_lesion_confidence": 1.0},
        "as configured again": {},
    }
    return {name: answer(server, "phantom_1", **options) for name, options in asked.items()}


@pytest.fixture(scope="module")
def trained_on_one(server: LabelServer, first_answers: Answers, bundle: Path, truth: Path) -> dict[str, Any]:
    """Train on the first saved label only; return the task's final state and the weights."""
    assert server.save_label("phantom_1", truth / "phantom_1.nii.gz") == {"image": "phantom_1", "label": "phantom_1"}
    return {**server.train(**AS_SLICER), "weights": sorted(path.name for path in (bundle / "models").glob("*.pt"))}


@pytest.fixture(scope="module")
def answer_after_one(server: LabelServer, trained_on_one: dict[str, Any]) -> Any:
    return answer(server, "phantom_1")


@pytest.fixture(scope="module")
def weights_after_one(bundle: Path, trained_on_one: dict[str, Any], folder: Path) -> Path:
    """A copy of the weights after the first training run."""
    return Path(shutil.copyfile(bundle / "models" / "model.pt", folder / "after_one.pt"))


@pytest.fixture(scope="module")
def trained_on_three(
    server: LabelServer, answer_after_one: Any, weights_after_one: Path, truth: Path
) -> dict[str, Any]:
    """Train on three labels, of which MONAI Label holds out one for validation."""
    for image in ("phantom_2", "phantom_3"):
        server.save_label(image, truth / f"{image}.nii.gz")
    return server.train(max_epochs=1)


def test_the_environment_needs_no_highdicom(python: Path, tmp_path: Path) -> None:
    absent = ("highdicom", "onnxruntime", "custom_networks", "pytest")
    code = f"from importlib.util import find_spec; print([name for name in {absent} if find_spec(name)])"
    run = subprocess.run([python, "-c", code], cwd=tmp_path, env={}, capture_output=True, text=True, timeout=60)
    assert run.stdout == "[]\n", run.stderr


def test_a_client_gets_the_models_labels_and_tasks(server: LabelServer) -> None:
    info = server.get("/info/")
    assert info["labels"] == ["liver", "tumor"]
    model = info["models"][MODEL]
    assert (model["type"], model["labels"], model["dimension"]) == ("segmentation", {"liver": 1, "tumor": 2}, 3)
    assert set(info["trainers"]) == {MODEL} and info["trainers"][MODEL]["config"]["max_epochs"] == 50
    assert set(info["strategies"]) == {"first", "random"}
    assert info["datastore"]["total"] == 4


def test_a_client_is_shown_the_thresholds_of_lesions_as_options(server: LabelServer) -> None:
    options = server.get("/info/")["models"][MODEL]["config"]
    shown = {name: type(options[name]) for name in LENIENT}
    assert shown == {name: float for name in LENIENT}  # a viewer offers a number's field
    assert options["model_filename"] == ["model.pt", "model_shipped.pt"]  # the first one is the default


def test_label_maps_equal_those_of_the_bundle_run(
    python: Path, bundle: Path, first_answers: Answers, folder: Path, tmp_path: Path
) -> None:
    source = nib.load(folder / "studies" / "phantom_1.nii.gz")
    served, written = first_answers["as configured"], bundle_run(python, bundle, Path(source.get_filename()), tmp_path)
    np.testing.assert_array_equal(labels(served), labels(written))
    assert set(np.unique(labels(served))) == {0, 1, 2}
    assert served.shape == source.shape and served.get_data_dtype() == np.uint8
    np.testing.assert_allclose(served.affine, source.affine, atol=1e-4)  # oblique; written by ITK


def test_label_maps_came_from_the_packed_code(first_answers: Answers, bundle: Path) -> None:
    compiled = {path.parents[1].name for path in (bundle / "custom_networks").rglob("__pycache__/*.pyc")}
    assert {"networks", "io", "transforms", "inference"} <= compiled


def test_openvino_ran_the_network(server: LabelServer, first_answers: Answers) -> None:
    assert server.log.count("The network is run by openvino in float32") >= len(first_answers)
    scouts = server.log.count("Transform (FindLiverd)")  # PyTorch runs the scout on every machine
    assert server.log.count("The network is run by torch") <= scouts


def test_options_affect_only_the_request_that_has_them(first_answers: Answers) -> None:
    tumor = {name: int(np.sum(labels(image) == 2)) for name, image in first_answers.items()}
    assert 0 == tumor["large lesions only"] == tumor["certain lesions only"] < tumor["as configured"] < tumor["lenient"]
    organ = [labels(first_answers[name]) > 0 for name in ("as configured", "large lesions only")]
    np.testing.assert_array_equal(*organ)
    np.testing.assert_array_equal(*(labels(first_answers[f"as configured{again}"]) for again in ("", " again")))


def test_training_on_one_label_starts_from_the_weights_and_replaces_them(
    server: LabelServer, trained_on_one: dict[str, Any], bundle: Path
) -> None:
    # One label leaves none for validation: the last weights are kept as the model, too.
    assert trained_on_one["status"] == "DONE", server.log[-3000:]
    assert f"Restored all variables from {bundle}/models/model.pt" in server.log
    assert trained_on_one["weights"] == ["model.pt", "model_final.pt", "model_shipped.pt"]


def test_inference_after_training_uses_the_new_weights(
    python: Path,
    bundle: Path,
    first_answers: Answers,
    answer_after_one: Any,
    weights_after_one: Path,
    folder: Path,
    tmp_path: Path,
) -> None:
    assert np.any(labels(answer_after_one) != labels(first_answers["as configured"]))
    copy = Path(shutil.copytree(bundle, tmp_path / MODEL))
    shutil.copyfile(weights_after_one, copy / "models" / "model.pt")
    written = bundle_run(python, copy, folder / "studies" / "phantom_1.nii.gz", tmp_path)
    np.testing.assert_array_equal(labels(answer_after_one), labels(written))


def test_weights_kept_under_another_name_can_be_requested(
    server: LabelServer, first_answers: Answers, answer_after_one: Any
) -> None:
    shipped, today = (answer(server, "phantom_1", **option) for option in ({"model_filename": "model_shipped.pt"}, {}))
    np.testing.assert_array_equal(labels(shipped), labels(first_answers["as configured"]))
    np.testing.assert_array_equal(labels(today), labels(answer_after_one))


def test_training_with_a_held_out_label_writes_the_best_weights_for_it(
    server: LabelServer, trained_on_three: dict[str, Any], weights_after_one: Path, bundle: Path
) -> None:
    assert trained_on_three["status"] == "DONE", server.log[-3000:]
    assert "Got new best metric of val_mean_dice" in server.log
    before, after = (torch.load(p, weights_only=True) for p in (weights_after_one, bundle / "models" / "model.pt"))
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert answer(server, "phantom_1").shape == (64, 56, 20)


def test_all_weights_were_loaded_and_trained(server: LabelServer, trained_on_three: dict[str, Any]) -> None:
    assert "don't match" not in server.log and "Traceback" not in server.log
    assert server.log.count("Restored all variables from") == 2


def test_the_next_sample_is_one_without_a_label(server: LabelServer, trained_on_three: dict[str, Any]) -> None:
    assert {server.post(f"/activelearning/{name}", {})["id"] for name in ("first", "random")} == {"phantom_4"}


def test_a_batch_segments_unlabelled_images_and_saves_the_labels(
    server: LabelServer, trained_on_three: dict[str, Any], folder: Path
) -> None:
    # On a server without GPU MONAI Label needs both options: its own defaults divide by the number of GPUs.
    options = {"device": "cpu", "multi_gpu": False, "save_label": True, "label_tag": "original"}
    server.post(f"/batch/infer/{MODEL}?images=unlabeled", options)
    assert server.finished("/batch/infer")["status"] == "DONE"
    saved = sorted((folder / "studies" / "labels" / "original").glob("*.nii.gz"))
    assert [path.name for path in saved] == ["phantom_4.nii.gz"]
    np.testing.assert_array_equal(labels(nib.load(saved[0])), labels(answer(server, "phantom_4")))
