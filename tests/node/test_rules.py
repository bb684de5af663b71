"""Rules that choose a series, on headers of a few slices."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from custom_networks.errors import InputError, UsageError
from custom_networks.io.dicom.files import files_of
from custom_networks.io.dicom.listing import FileScan, scan_files
from custom_networks.node.rules import Rule, apply_rules, read_rules


def rules_of(folder: Path, *rules: object) -> tuple[Rule, ...]:
    path = folder / "rules.json"
    path.write_text(json.dumps(rules))
    return read_rules(str(path))


@pytest.fixture
def scan(write_series: Callable[..., Path]) -> FileScan:
    """Three series of eight slices: thin and sharp, thick and smooth, thick without a description."""

    def changed(description: str | None, kernel: str, thickness: float) -> Callable[[int, Dataset], None]:
        def change(k: int, dataset: Dataset) -> None:
            dataset.SeriesDescription, dataset.ConvolutionKernel = description, kernel
            dataset.SliceThickness = thickness

        return change

    write_series(changed("Abdomen PV 1.0", "I70f", 1.0), "in/1")
    write_series(changed("Abdomen PV 5.0", "I30f", 5.0), "in/2")
    return scan_files(files_of(write_series(changed(None, "B30", 5.0), "in/3").parent))


def taken(scan: FileScan, rules: tuple[Rule, ...]) -> set[str]:
    return {header.file.folder for header in apply_rules(scan, rules)[0].headers}


@pytest.mark.parametrize(
    "rules, folders",
    [
        ([{"description": "pv"}], {"1", "2"}),
        ([{"kernel": "^[bi]30"}], {"2", "3"}),
        ([{"thickness_mm": [0.5, 2]}], {"1"}),
        ([{"description": "pv", "kernel": "30"}], {"2"}),
        ([{"description": "arterial"}, {"thickness_mm": [3, 5]}], {"2", "3"}),
        ([{"description": "5.0"}, {"description": "1.0"}], {"2"}),
    ],
)
def test_the_first_matching_rule_decides(
    rules: list[object], folders: set[str], scan: FileScan, tmp_path: Path
) -> None:
    assert taken(scan, rules_of(tmp_path, *rules)) == folders


def test_a_note_states_the_rule_and_the_number_of_chosen_images(scan: FileScan, tmp_path: Path) -> None:
    rules = rules_of(tmp_path, {"description": "nothing"}, {"kernel": "I70"})
    assert apply_rules(scan, rules)[1] == ("Rule 2 of the node selected 8 of 24 images.",)


def test_without_rules_all_images_are_taken(scan: FileScan) -> None:
    assert apply_rules(scan, read_rules(None)) == (scan, ())


def test_a_study_that_matches_no_rule_is_refused(scan: FileScan, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="None of the study.s 24 images matches a rule of the node"):
        apply_rules(scan, rules_of(tmp_path, {"description": "head"}))


@pytest.mark.parametrize(
    "rules",
    [[], [{}], ["pv"], [{"descriptoin": "pv"}], [{"description": "("}], [{"thickness_mm": [2, 1]}], [{"kernel": 3}]]
    + [[{"thickness_mm": 2}], [{"thickness_mm": [0, float("inf")]}]],
)
def test_invalid_rules_are_refused(rules: list[object], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="correct the file or its path"):
        rules_of(tmp_path, *rules)
