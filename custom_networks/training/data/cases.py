"""Which cases train and which validate, from a data list in MSD form or LiTS's file names; splits are by patient."""

import json
import logging
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from custom_networks.errors import InputError, one_line
from custom_networks.training.data.lits import geometry_is_lost, known_patient, lits_cases

logger = logging.getLogger(__name__)

Case = dict[str, Any]
ALL = "all"


@cache
def _say(level: int, text: str) -> None:
    """Log once a process: the list is read for training and again for validation."""
    logger.log(level, text)


def patient_of(item: Case) -> str:
    """The patient of a data list's item: its "group", else the known one of LiTS's or MSD's name, else its image."""
    known = known_patient(item["image"])
    return str(item.get("group", item["image"] if known is None else known))


def listed_cases(datalist: str, dataset_dir: str) -> dict[str, Any]:
    """The data list, or without one the cases of LiTS that lie in the folder."""
    path = Path(datalist)
    if path.is_file():
        return _read(path)
    found, alone = lits_cases(dataset_dir) if path == Path(dataset_dir) / "dataset.json" else ([], [])
    if not found:
        raise InputError(
            f"No data list at {path}: give --dataset_dir a folder in MSD layout or with LiTS's volume-N.nii and "
            "segmentation-N.nii, or --datalist a JSON."
        )
    _say(logging.INFO, f"{dataset_dir} has no dataset.json: {len(found)} cases were found by LiTS's file names")
    if alone:
        _say(logging.WARNING, f"Left out of {dataset_dir}, without a segmentation: {', '.join(alone)}")
    return {"training": found}


def _read(path: Path) -> dict[str, Any]:
    try:
        listed = dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise InputError(f"{path} is no JSON object ({error}): give a data list in MSD form.") from None
    if "training" not in listed:
        raise InputError(f'{path} has no "training" list, only {sorted(listed)}: give a data list in MSD form.')
    return listed


def _checked(items: list[Case], datalist: str) -> list[Case]:
    """The items, known to name their two files and to say by true or false alone whether tumors are labelled."""
    for number, item in enumerate(items, start=1):
        for key in ("image", "label"):
            if not isinstance(item, dict) or not isinstance(item.get(key), str):
                raise InputError(
                    f'{datalist}: item {number} must have "{key}", the path of a file, got {one_line(item)}: add it, '
                    "or leave the item out."
                )
        labelled = item.get("tumor_labelled", True)
        if not isinstance(labelled, bool):  # "false" in quotes would count as true, and teach that tumors are liver
            raise InputError(
                f'{datalist}: "tumor_labelled" of item {number}, {item["image"]}, must be true or false, got '
                f"{json.dumps(labelled)}: write one of them, without quotes."
            )
    return items


def _case(item: Case, root: Path, also: Mapping[str, str]) -> Case:
    """What the transforms need of a data list's item: its files, and whether its tumors are labelled."""
    return {
        "image": str(root / item["image"]),
        "label": str(root / item["label"]),
        "tumor_labelled": item.get("tumor_labelled", True),
        **{name: str(root / item[key]) for name, key in also.items()},
    }


def _cases(
    items: list[Case], datalist: str, dataset_dir: str, purpose: str, also: Mapping[str, str] | None = None
) -> list[Case]:
    items = [item for item in items if all(key in item for key in (also or {}).values())]
    if not items:
        raise InputError(f"{datalist} has no case to {purpose}: list some, or hold out another fold.")
    return [_case(item, Path(dataset_dir), also or {}) for item in items]


def _usable(items: list[Case], dataset_dir: str) -> list[Case]:
    """The cases whose geometry is known; says which are repeated scans of a patient of LiTS."""
    lost = [item["image"] for item in items if geometry_is_lost(Path(dataset_dir) / item["image"])]
    if lost:
        _say(
            logging.WARNING,
            f"Left out of {dataset_dir}, for LiTS gives them 1 x 1 x 1 mm in place of their spacing (MSD Task03_Liver "
            f"has it): {', '.join(Path(image).name for image in lost)}",
        )
    usable = [item for item in items if item["image"] not in lost]
    repeated = [patient_of(item) for item in usable if "group" not in item and known_patient(item["image"])]
    if repeated:
        names = ", ".join(sorted(set(repeated)))
        _say(
            logging.INFO, f"{len(repeated)} cases of {dataset_dir} are repeated scans of patients {names}: never split"
        )
    return usable


def _folds(items: list[Case], folds: int) -> list[list[Case]]:
    """Deal patients, the largest group first, to the fold that holds the fewest cases so far."""
    patients: dict[str, list[Case]] = {}
    for item in items:
        patients.setdefault(patient_of(item), []).append(item)
    dealt: list[list[Case]] = [[] for _ in range(folds)]
    for _, cases in sorted(patients.items(), key=lambda entry: (-len(entry[1]), entry[0])):
        min(dealt, key=len).extend(cases)
    return dealt


def _split(datalist: str, dataset_dir: str, fold: int | str | None, folds: int) -> tuple[list[Case], list[Case]]:
    listed = listed_cases(datalist, dataset_dir)
    items = _usable(_checked(listed["training"], datalist), dataset_dir)
    if fold in (None, ALL):
        held_out = _usable(_checked(listed.get("dev", listed.get("validation", [])), datalist), dataset_dir)
        both = {patient_of(item) for item in items} & {patient_of(item) for item in held_out}
        if both:
            raise InputError(
                f"{datalist} lists scans of {', '.join(sorted(both))} both to train on and to validate on: keep each "
                "patient on one side."
            )
        return items, held_out
    if not isinstance(fold, int) or not 0 <= fold < folds:
        raise InputError(f"fold must be from 0 to {folds - 1} or {ALL!r}, got {fold!r}")
    dealt = _folds(items, folds)
    return [item for i, part in enumerate(dealt) if i != fold for item in part], dealt[fold]


def training_cases(
    datalist: str,
    dataset_dir: str,
    fold: int | str | None = 0,
    folds: int = 5,
    also: Mapping[str, str] | None = None,
) -> list[Case]:
    """Cases to train on: all but those of `fold`; with no fold, all of the list's "training".

    Items without a "group" whose images bear LiTS's or MSD's names (volume-N.nii, liver_N.nii.gz) get the patients that
    are known to have several scans as groups; scans whose spacing LiTS lost are left out (see `lits`). Both are logged.

    Args:
        datalist: JSON file in MSD form: "training" (and perhaps "dev" or "validation") lists items with "image" and
            "label", relative to `dataset_dir`, and optionally "group" (patient) and "tumor_labelled" (true or false).
            Where it is `dataset_dir`/dataset.json and not there, the pairs volume-N.nii(.gz) and
            segmentation-N.nii(.gz) are taken that lie in `dataset_dir` or below it, as LiTS is downloaded.
        dataset_dir: folder the paths are relative to.
        fold: index of the fold held out; "all" (or null) trains on all and validates on the list's "dev" or
            "validation", where it has them. (`monai.bundle run` drops an override of None, hence the word.)
        folds: number of folds that the patients are dealt to.
        also: further files of a case: its name there, and the item's key; items without one of them are left out.

    Raises:
        InputError: if the list is missing or an item malformed, the fold is none of them, or there is no such case.
    """
    return _cases(_split(datalist, dataset_dir, fold, folds)[0], datalist, dataset_dir, "train on", also)


def validation_cases(
    datalist: str,
    dataset_dir: str,
    fold: int | str | None = 0,
    folds: int = 5,
    also: Mapping[str, str] | None = None,
) -> list[Case]:
    """Cases held out: those of `fold`; with no fold, the list's "dev" or "validation", perhaps none, which is logged.

    See `training_cases`.
    """
    held_out = _split(datalist, dataset_dir, fold, folds)[1]
    if fold in (None, ALL) and not held_out:
        _say(logging.INFO, f'No case to validate on, for {datalist} lists no "dev": model.pt will be the final weights')
        return []
    return _cases(held_out, datalist, dataset_dir, "validate on", also)


def image_names(cases: Sequence[Case], dataset_dir: str) -> list[str]:
    """Sorted names of the cases' images: their paths within `dataset_dir`, the same wherever the data lie."""
    folder = Path(dataset_dir).as_posix() + "/"
    return sorted(Path(case["image"]).as_posix().removeprefix(folder) for case in cases)
