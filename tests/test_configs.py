"""The bundle's JSON: valid, consistent between training and inference, with the ids that zoo and MONAI Label need."""

import inspect
import json
import logging
import re
from collections import Counter
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser as BundleParser
from monai.bundle import ConfigWorkflow
from monai.bundle.config_item import ComponentLocator
from monai.transforms import Compose
from monai.utils import optional_import, set_determinism
from packaging.requirements import Requirement

from custom_networks import __version__
from custom_networks.transforms import LabelsOnInputGridd
from custom_networks.tuning.adopt import configured_numbers
from custom_networks.tuning.lesion_tables import OperatingPoint
from custom_networks.tuning.tune import SETTINGS

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "bundle" / "configs"
JSON_FILES = sorted(CONFIGS.glob("*.json"))


def without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    twice = [key for key, number in Counter(key for key, _ in pairs).items() if number > 1]
    if twice:
        raise ValueError(f"keys given twice: {twice}")
    return dict(pairs)


def config(name: str) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads((CONFIGS / f"{name}.json").read_text(encoding="utf-8"))
    return parsed


def items(node: Any, place: str = "") -> Iterator[tuple[str, str, Any]]:
    """Yield path, last key and value of every item in a config, at any depth."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in inner:
        yield f"{place}/{key}", str(key), value
        yield from items(value, f"{place}/{key}")


def workflow(*names: str, kind: str, **overrides: Any) -> ConfigWorkflow:
    files = [str(CONFIGS / f"{name}.json") for name in names]
    return ConfigWorkflow(
        workflow_type=kind,
        config_file=files,
        meta_file=str(CONFIGS / "metadata.json"),
        logging_file=False,
        **{"bundle_root": str(ROOT / "bundle"), **overrides},
    )


def test_the_files_are_those_of_a_zoo_bundle() -> None:
    names = {path.stem for path in JSON_FILES}
    assert {"metadata", "inference", "train", "evaluate", "multi_gpu_train", "multi_gpu_evaluate"} <= names
    assert {"inference_torch", "inference_openvino"} <= names  # overlays, as the zoo's inference_trt
    assert (ROOT / "bundle" / "LICENSE").is_file() and (CONFIGS / "logging.conf").is_file()


@pytest.mark.parametrize("path", JSON_FILES, ids=lambda path: path.stem)
def test_json_has_no_duplicate_keys_and_the_zoos_format(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    parsed = json.loads(text, object_pairs_hook=without_duplicates)
    assert text == json.dumps(parsed, indent=4, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("path", JSON_FILES, ids=lambda path: path.stem)
def test_every_target_can_be_imported_and_accepts_its_arguments(path: Path) -> None:
    locator = ComponentLocator()
    for place, key, node in items(config(path.stem)):
        if not (isinstance(node, dict) and "_target_" in node):
            continue
        name = node["_target_"]
        full = name if "." in name else f"{locator.get_component_module_name(name)}.{name}"
        module, _, attribute = full.rpartition(".")
        target, found = optional_import(module, name=attribute)
        assert found, f"{place}: {name}"
        accepted = inspect.signature(target).parameters
        if not any(p.kind is p.VAR_KEYWORD for p in accepted.values()):
            given = {key for key in node if not key.startswith("_")}
            assert given <= set(accepted), f"{place}: {name} takes no {given - set(accepted)}"


@pytest.mark.parametrize("path", JSON_FILES, ids=lambda path: path.stem)
def test_no_string_is_altered_by_monai_or_has_a_path_of_some_machine(path: Path) -> None:
    for place, _, value in items(config(path.stem)):
        if isinstance(value, str):
            without_references = re.sub(r"@\w+(#\w+)+", "", value)
            assert "#" not in without_references, f"{place}: MONAI writes :: for it"
            assert not re.search(r"(^|['\"])(/(home|root|tmp|work|Users|mnt|data)/|[A-Za-z]:\\|~)", value), place


@pytest.mark.parametrize(
    "names, kind",
    [
        (["inference"], "infer"),
        (["train"], "train"),
        (["train", "evaluate"], "train"),
        (["train", "train_scout"], "train"),
        (["train", "train_segments"], "train"),
        (["train", "multi_gpu_train"], "train"),
        (["train", "evaluate", "multi_gpu_evaluate"], "train"),
    ],
)
def test_monai_finds_the_ids_of_its_properties(names: list[str], kind: str) -> None:
    parsed = workflow(*names, kind=kind)
    asked = {name: spec["id"] for name, spec in parsed.properties.items() if spec["required"]}
    assert {name: id for name, id in asked.items() if id not in parsed.parser} == {}
    parsed.parser.parse()
    optional = {name: spec for name, spec in parsed.properties.items() if not spec["required"]}
    assert [name for name, spec in optional.items() if not parsed._check_optional_id(name, spec)] == []


def test_the_segments_network_is_trained_and_run_with_the_same_settings() -> None:
    run, trained = config("inference"), config("train_segments")
    for name, value in run["segments_def"].items():
        if name not in ("_target_", "dropout"):
            assert trained[f"network_def#{name}"] == value
    (copy,) = run["coarse_transforms"]
    assert (trained["coarse_spacing"], trained["coarse_slice_spacing"]) == (copy["spacing"], copy["slice_spacing"])


def test_the_inference_workflow_is_built_and_complete(tmp_path: Path) -> None:
    (tmp_path / "ct.nii.gz").touch()
    ready = workflow("inference", kind="infer", dataset_dir=str(tmp_path))
    ready.initialize()
    assert ready.check_properties() == []
    assert ready.network_def.stack == 9 and len(ready.dataset) == 1


@pytest.mark.parametrize("names", [["train"], ["train", "evaluate"]], ids=" ".join)
def test_the_training_workflows_are_built_and_complete(tmp_path: Path, names: list[str]) -> None:
    cases = [{"image": f"{name}.nii.gz", "label": f"{name}_label.nii.gz"} for name in "abcde"]
    (tmp_path / "dataset.json").write_text(json.dumps({"training": cases}))
    folders = {"dataset_dir": str(tmp_path), "output_dir": str(tmp_path / "log"), "ckpt_dir": str(tmp_path / "models")}
    ready = workflow(*names, kind="train", cache_rate=0.0, **folders)
    try:
        ready.initialize()
        assert ready.check_properties() == []
        assert (len(ready.train_dataset), len(ready.val_dataset), ready.max_epochs) == (4, 1, 400)
    finally:
        set_determinism(None)


@pytest.mark.parametrize(
    "name, ids",
    [
        ("inference", "bundle_root device network_def inferer output_dir preprocessing postprocessing evaluator run"),
        ("train", "bundle_root device dataset_dir output_dir network network_def epochs val_interval ckpt_dir run"),
        ("train", "train#trainer#max_epochs train#dataset#data train#handlers train#inferer train#preprocessing"),
        ("train", "validate#evaluator validate#handlers validate#dataset#data validate#preprocessing"),
        ("train", "validate#postprocessing validate#inferer validate#key_metric"),
        ("evaluate", "validate#handlers validate#postprocessing run"),
    ],
)
def test_the_ids_that_the_zoo_and_monai_label_need_exist(name: str, ids: str) -> None:
    parsed = config(name)
    for wanted in ids.split():
        node: Any = parsed
        if wanted in parsed:
            continue
        for key in wanted.split("#"):
            assert key in node, f"{name}.json has no {wanted}"
            node = node[key]


@pytest.mark.parametrize("path", JSON_FILES, ids=lambda path: path.stem)
def test_the_bundles_code_is_imported_only_after_its_folder_is_on_the_path(path: Path) -> None:
    # MONAI puts it there when it runs, after "initialize" and all "$import"; packed, the code lies in that folder.
    strings = [value for _, _, value in items(config(path.stem)) if isinstance(value, str)]
    assert not [text for text in strings if re.match(r"\$\s*(from|import)\s+custom_networks", text)]
    if "initialize" in config(path.stem):  # it replaces that of the files before; "+initialize" goes on with it
        assert config(path.stem)["initialize"][0] == "$sys.path.insert(1, @bundle_root)"


def test_monai_label_can_use_the_parts_of_inference() -> None:
    inference = config("inference")
    assert all(inference[name]["_target_"] == "Compose" for name in ("preprocessing", "postprocessing"))
    assert {step["keys"] for step in inference["file_transforms"] + inference["grid_transforms"]} == {"image"}
    assert {step["keys"] for step in inference["anatomy"]} == {"pred"}
    assert [step["_target_"] for step in inference["output"] if step["keys"] == "pred"] == [
        "Invertd",
        "custom_networks.transforms.SaveLabelMapd",
    ]
    strings = [value for _, _, value in items(inference) if isinstance(value, str)]
    assert not [text for text in strings if "_meta_" in text], "MONAI Label reads no metadata into the config"
    assert not [text for text in strings if "@device." in text], "MONAI Label sets the device as a string"
    assert "dropout" in inference["network_def"], "MONAI Label sets it to score uncertainty"
    keys = {key for _, _, node in items(inference) if isinstance(node, dict) for key in node}
    assert not [key for key in keys if re.match(r"(image|label)_", key)], "stock Spacingd of MONAI 1.6 fails on them"


def test_the_options_shown_by_monai_label_are_arguments_of_the_anatomy_rules() -> None:
    inference = config("inference")
    options = inference["displayable_configs"]
    assert {type(value) for value in options.values()} == {float}  # of an integer a viewer makes a field of integers
    given = {name: value for step in inference["anatomy"] for name, value in step.items() if name in options}
    assert given == {name: f"@displayable_configs#{name}" for name in options}
    assert "displayable_configs" not in config("train"), "MONAI Label fails where a client does not send them all"


def test_monai_label_can_add_its_handler_to_those_of_training() -> None:
    handlers = config("train")["train"]["handlers"]
    assert isinstance(handlers, list) and all("_target_" in handler for handler in handlers)
    assert all(isinstance(handler, dict) for handler in handlers)
    targets = {handler["_target_"] for handler in handlers}
    assert "CheckpointLoader" not in targets, "where it finds one, MONAI Label adds none that loads the weights"


def test_diverged_training_stops_before_validation_and_saving() -> None:
    order = [handler["_target_"].rpartition(".")[2] for handler in config("train")["train"]["handlers"]]
    assert order.index("FiniteLossGuard") < order.index("ValidationHandler") < order.index("ResumableState")


@pytest.mark.parametrize("held_back, also", [([], ["model.pt"]), ([{"image": "a", "label": "b"}], [])])
def test_the_final_weights_become_the_model_if_no_case_is_held_out(held_back: list[object], also: list[str]) -> None:
    parsed = workflow("train", kind="train", **{"validate#dataset#data": held_back}).parser
    last = len(parsed["train"]["handlers"]) - 1
    assert parsed.get_parsed_content(f"train#handlers#{last}#filenames") == ["model_final.pt", *also]


def test_monai_labels_number_of_epochs_applies_to_schedule_and_validation() -> None:
    parsed = workflow("train", kind="train", **{"train#trainer#max_epochs": 3}).parser
    assert parsed.get_parsed_content("lr_scheduler#t_total") == 3 * config("train")["epoch_length"]
    validation = [h["_target_"] for h in config("train")["train"]["handlers"]].index("ValidationHandler")
    assert parsed.get_parsed_content(f"train#handlers#{validation}#interval") == 3


# What differs between the files by its purpose; everything else that two of them define must be one definition. A file
# that all share is no way out: the relative macro "%configs/shared.json::network_def" is read from the bundle's own
# folder alone, an expression fails in monai.bundle.load from elsewhere, and with neither can --network_def#dropout and
# the like reach inside; a list of config files is given by no loader but `run` (zoo, load and MONAI Label read one).
BY_PURPOSE = {"dataset_dir", "datalist", "output_dir", "progress", "device", "imports", "initialize", "run"}


@pytest.mark.parametrize("name", ["train", "evaluate"])
def test_ids_shared_by_inference_and_other_configs_have_the_same_definition(name: str) -> None:
    other, inference = config(name), config("inference")
    inference["spacing"] = BundleParser(config("inference")).get_parsed_content("spacing")  # that of the answer in full
    common = set(other) & set(inference) - BY_PURPOSE
    assert {id for id in common if other[id] != inference[id]} == set()
    needed = {
        "train": "network_def file_transforms grid_transforms spacing intensity_range context_spacing",
        "evaluate": "anatomy displayable_configs",
    }
    assert set(needed[name].split()) <= common


def test_the_scout_is_trained_and_run_with_the_same_settings() -> None:
    inference, recipe = config("inference"), config("train_scout")
    trained = {
        **config("train")["network_def"],
        **{k.split("#")[1]: v for k, v in recipe.items() if "network_def#" in k},
    }
    assert inference["scout_def"] == trained
    (step,) = inference["scout_transforms"]
    assert (step["spacing"], step["slice_spacing"]) == (recipe["spacing"], recipe["context_spacing"])
    assert (step["fine_spacing"], step["window"]) == ("@spacing", "@intensity_range")


def test_without_the_scout_its_weights_are_not_needed() -> None:
    parser = workflow("inference", kind="infer", scout=False, scout_checkpoint="/nowhere/scout.pt").parser
    steps = [type(step).__name__ for step in parser.get_parsed_content("preprocessing").transforms]
    assert steps == ["LoadVolumed", "EnsureChannelFirstd", "Orientationd", "ResampleInPlaned", "WindowIntensityd"]


def test_tuning_also_tries_the_values_of_inference() -> None:
    configured = configured_numbers(config("inference"))
    grid = json.loads(SETTINGS.read_text(encoding="utf-8"))["grid"]
    assert set(configured) == set(OperatingPoint._fields)
    assert set(configured) - set(grid) == {"max_hole_mm2"}
    assert all(configured[name] in values for name, values in grid.items())


def test_the_shipped_operating_point_is_that_of_the_tuning_files() -> None:
    tuned = json.loads((ROOT / "docs" / "training" / "operating_point.json").read_text(encoding="utf-8"))
    assert configured_numbers(config("inference")) == tuned["chosen"]["operating_point"]
    assert config("inference")["confidence_coefficients"] == tuned["confidence_coefficients"]


def test_validation_runs_the_network_as_inference_does() -> None:
    def with_defaults(inferer: dict[str, Any]) -> dict[str, Any]:
        target, found = optional_import("custom_networks.inference", name="SliceStackInferer")
        assert found
        defaults = {name: p.default for name, p in inspect.signature(target).parameters.items()}
        # Validation runs in PyTorch, because OpenVINO would have to convert the changed weights each time, and it
        # always runs all sub-volumes.
        return {**defaults, **inferer, "runtime": None, "sub_volumes": None}

    assert with_defaults(config("train")["validate"]["inferer"]) == with_defaults(config("inference")["inferer"])


def test_the_best_weights_are_chosen_by_the_same_decision_rule_as_in_inference() -> None:
    decide, organ_and_tumor = config("train")["validate"]["postprocessing"]["transforms"]
    for name in ("tumor_threshold", "organ_threshold"):
        default = inspect.signature(LabelsOnInputGridd).parameters[name].default
        configured = config("inference")["anatomy"][0] | config("inference")["displayable_configs"]
        assert configured[name] == decide.get(name, default)
    assert organ_and_tumor == config("evaluate")["organ_and_tumor"]


def test_metadata_follows_the_zoos_schema(shared_data: Path) -> None:
    from jsonschema import Draft201909Validator

    path = shared_data / "zoo" / "meta_schema_20240725.json"
    if not path.is_file():
        pytest.skip(f"SCHEMA ABSENT: no {path}")
    schema = json.loads(path.read_text(encoding="utf-8"))
    assert path.name == config("metadata")["schema"].rpartition("/")[2]
    assert [error.message for error in Draft201909Validator(schema).iter_errors(config("metadata"))] == []


def test_the_packages_version_is_that_of_the_metadata_and_its_changelog() -> None:
    metadata = config("metadata")
    assert __version__ == metadata["version"] and metadata["changelog"][__version__]


def test_metadata_describes_the_networks_input_and_output() -> None:
    metadata, network = config("metadata"), config("inference")["network_def"]
    image, pred = (
        metadata["network_data_format"][side][name] for side, name in (("inputs", "image"), ("outputs", "pred"))
    )
    assert (image["num_channels"], pred["num_channels"]) == (network["in_channels"], network["out_channels"])
    assert image["spatial_shape"] == pred["spatial_shape"] == [f"{2 ** (len(network['channels']) - 1)}*n"] * 2 + ["*"]
    assert pred["channel_def"] == {"0": "background", "1": "liver", "2": "tumor"}


def locked() -> dict[str, str]:
    """Version of each package in requirements.txt."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {name.lower(): version for name, version in pairs}


def test_metadata_has_the_versions_that_the_tests_use() -> None:
    metadata = config("metadata")
    core = {
        name: metadata[f"{key}_version"] for name, key in (("monai", "monai"), ("torch", "pytorch"), ("numpy", "numpy"))
    }
    named = core | metadata["required_packages_version"]
    assert {name: locked().get(name) for name in named} == named


def test_the_install_requirements_accept_the_versions_that_the_tests_use() -> None:
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg")
    extras = "\n".join(settings["options.extras_require"].values())
    asked = [Requirement(line) for line in f"{settings['options']['install_requires']}\n{extras}".split("\n") if line]
    assert {
        r.name: locked().get(r.name.lower())
        for r in asked
        if not r.specifier.contains(locked().get(r.name.lower(), "0"))
    } == {}


def test_the_metadata_list_all_install_requirements() -> None:
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg")
    needed = {Requirement(line).name for line in settings["options"]["install_requires"].split("\n") if line}
    assert needed - {"torch", "monai", "numpy", "matplotlib", "jinja2", "pillow"} <= set(
        config("metadata")["required_packages_version"]
    )


def test_monai_accepts_the_logging_settings() -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    disabled = {
        name: logger.disabled
        for name, logger in logging.root.manager.loggerDict.items()
        if isinstance(logger, logging.Logger)
    }
    try:
        ConfigWorkflow(
            config_file=str(CONFIGS / "inference.json"),
            workflow_type="infer",
            logging_file=str(CONFIGS / "logging.conf"),
        )
        assert (root.level, len(root.handlers)) == (logging.INFO, 1)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        for name, state in disabled.items():
            logging.getLogger(name).disabled = state


@pytest.mark.parametrize("prob", [0.0, 1.0])
def test_augmented_stacks_always_have_the_same_type_and_shape_so_that_they_collate(prob: float) -> None:
    parser = BundleParser()
    parser.read_config(CONFIGS / "train.json")
    for step in parser["train"]["augmentation"]:
        step.update({"prob": prob} if "prob" in step else {})
    parser["patch_size"] = [32, 32]
    augmentation = Compose(parser.get_parsed_content("train#augmentation"))
    halo, slices = parser.get_parsed_content("network_def").halo, parser["patch_slices"]
    stack = torch.rand(1, 42, 42, slices + 2 * halo)
    drawn = augmentation({"image": stack, "label": (stack > 0.5).to(torch.uint8)})
    assert type(drawn["image"]) is type(drawn["label"]) is torch.Tensor
    assert drawn["image"].dtype == torch.float32 and drawn["image"].shape == (1, 32, 32, slices + 2 * halo)
    assert drawn["label"].shape == (1, 32, 32, slices)


def test_fast_uses_larger_pixels_for_network_and_scout_and_one_sub_volume() -> None:
    parser = BundleParser(config("inference"))
    assert parser.get_parsed_content("spacing") == config("train")["spacing"]
    assert parser.get_parsed_content("inferer").sub_volumes is None
    parser = BundleParser({**config("inference"), "fast": True})
    assert parser.get_parsed_content("spacing") == 1.6
    assert parser.get_parsed_content("inferer").sub_volumes == 1
