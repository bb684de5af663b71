"""Split cases by patient for training and validation, from an MSD data list or from LiTS's file names."""

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
    """Log a text only once per process; the data list is read for training and again for validation."""
    logger.log(level, text)


def patient_of(item: Case) -> str:
    """The patient of an item: its "group", or else the patient known for its LiTS or MSD name, or else its image."""
    known = known_patient(item["image"])
    return str(item.get("group", item["image"] if known is None else known))


def listed_cases(datalist: str, dataset_dir: str) -> dict[str, Any]:
    """The contents of a data list, with at least the key "training".

    If it is `dataset_dir`/dataset.json and does not exist, it is made from the LiTS cases in that folder; this is
    logged.

    Raises:
        InputError: there is neither a list nor a LiTS case, or the list is not a JSON object with "training".
    """
    path = Path(datalist)
    if path.is_file():
        return _read(path)
    found, alone = lits_cases(dataset_dir) if path == Path(dataset_dir) / "dataset.json" else ([], [])
    if not found:
        raise InputError(
            f"No data list at {path}: set --dataset_dir to a folder in MSD layout or with LiTS's volume-N.nii "
            "and segmentation-N.nii, or --datalist to a JSON data list."
        )
    _say(logging.INFO, f"{dataset_dir} has no dataset.json: {len(found)} cases were found by LiTS's file names")
    if alone:
        _say(logging.WARNING, f"Left out of {dataset_dir}, because they have no segmentation: {', '.join(alone)}")
    return {"training": found}


def _read(path: Path) -> dict[str, Any]:
    """The JSON object in a data list; InputError if it is not one or has no "training"."""
    try:
        listed = dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise InputError(f"{path} is not a JSON object ({error}): use a data list in MSD form.") from None
    if "training" not in listed:
        raise InputError(f'{path} has no "training" list, only {sorted(listed)}: use a data list in MSD form.')
    return listed


def _checked(items: list[Case], datalist: str) -> list[Case]:
    """The items, if each names an image and a label and any "tumor_labelled" is true or false; else InputError."""
    for number, item in enumerate(items, start=1):
        for key in ("image", "label"):
            if not isinstance(item, dict) or not isinstance(item.get(key), str):
                raise InputError(
                    f'{datalist}: item {number} must have "{key}", the path of a file, got {one_line(item)}: add it, '
                    "or leave the item out."
                )
        labelled = item.get("tumor_labelled", True)
        if not isinstance(labelled, bool):  # a quoted "false" would count as true
            raise InputError(
                f'{datalist}: "tumor_labelled" of item {number}, {item["image"]}, must be true or false, got '
                f"{json.dumps(labelled)}: write true or false without quotes."
            )
    return items


def _case(item: Case, root: Path, also: Mapping[str, str]) -> Case:
    """The data dictionary of an item in a data list: paths of its files, and whether its tumors are labelled."""
    return {
        "image": str(root / item["image"]),
        "label": str(root / item["label"]),
        "tumor_labelled": item.get("tumor_labelled", True),
        **{name: str(root / item[key]) for name, key in also.items()},
    }


def _cases(
    items: list[Case], datalist: str, dataset_dir: str, purpose: str, also: Mapping[str, str] | None = None
) -> list[Case]:
    """The data dictionaries of the items that have all files in `also`; InputError if there are none."""
    keys = (also or {}).values()
    items = [item for item in items if all(key in item for key in keys)]
    if not items:
        named = "".join(f' with "{key}"' for key in keys)
        raise InputError(f"{datalist} has no case{named} to {purpose}: add some, or hold out another fold.")
    return [_case(item, Path(dataset_dir), also or {}) for item in items]


def _usable(items: list[Case], dataset_dir: str) -> list[Case]:
    """The items whose images have a known geometry; the others, and repeated scans of LiTS patients, are logged."""
    lost = [item["image"] for item in items if geometry_is_lost(Path(dataset_dir) / item["image"])]
    if lost:
        _say(
            logging.WARNING,
            f"Left out of {dataset_dir}, because LiTS has 1 x 1 x 1 mm in place of their spacing (MSD Task03_Liver has "
            f"the right one): {', '.join(Path(image).name for image in lost)}",
        )
    usable = [item for item in items if item["image"] not in lost]
    repeated = [patient_of(item) for item in usable if "group" not in item and known_patient(item["image"])]
    if repeated:
        names = ", ".join(sorted(set(repeated)))
        _say(
            logging.INFO,
            f"{len(repeated)} cases of {dataset_dir} are repeated scans of patients {names}, which are never split",
        )
    return usable


def _folds(items: list[Case], folds: int) -> list[list[Case]]:
    """The items of each fold: patients with the most cases come first, and go to the fold with the fewest so far."""
    patients: dict[str, list[Case]] = {}
    for item in items:
        patients.setdefault(patient_of(item), []).append(item)
    dealt: list[list[Case]] = [[] for _ in range(folds)]
    for _, cases in sorted(patients.items(), key=lambda entry: (-len(entry[1]), entry[0])):
        min(dealt, key=len).extend(cases)
    return dealt


def _split(datalist: str, dataset_dir: str, fold: int | str | None, folds: int) -> tuple[list[Case], list[Case]]:
    """The items to train on and to validate on; see `training_cases` for arguments and errors."""
    listed = listed_cases(datalist, dataset_dir)
    items = _usable(_checked(listed["training"], datalist), dataset_dir)
    if fold in (None, ALL):
        held_out = _usable(_checked(listed.get("dev", listed.get("validation", [])), datalist), dataset_dir)
        both = {patient_of(item) for item in items} & {patient_of(item) for item in held_out}
        if both:
            raise InputError(
                f"{datalist} lists scans of {', '.join(sorted(both))} for both training and validation: keep each "
                "patient on one side."
            )
        return items, held_out
    if not isinstance(fold, int) or not 0 <= fold < folds:
        raise InputError(f"fold must be from 0 to {folds - 1} or {ALL!r}, got {fold!r}: choose one of these.")
    dealt = _folds(items, folds)
    return [item for i, part in enumerate(dealt) if i != fold for item in part], dealt[fold]


def training_cases(
    datalist: str,
    dataset_dir: str,
    fold: int | str | None = 0,
    folds: int = 5,
    also: Mapping[str, str] | None = None,
) -> list[Case]:
    """The cases to train on: all except those of `fold`; without a fold, all of the list's "training".

    Items without a "group" whose images have LiTS or MSD names (volume-N.nii, liver_N.nii.gz) are grouped by the
    patients known to have several scans. Scans whose spacing LiTS has lost are left out (see `lits`). Both are logged.

    Args:
        datalist: JSON file in MSD form: "training" (and perhaps "dev" or "validation") lists items with "image" and
            "label", relative to `dataset_dir`, and optionally "group" (patient) and "tumor_labelled" (true or false).
            If it is `dataset_dir`/dataset.json and does not exist, the pairs volume-N.nii(.gz) and
            segmentation-N.nii(.gz) in `dataset_dir` or below it are used, as in a download of LiTS.
        dataset_dir: folder that the paths are relative to.
        fold: index of the held-out fold. "all" (or None) trains on all cases and validates on the list's "dev" or
            "validation", if there is one. "all" exists because `monai.bundle run` ignores an override of None.
        folds: number of folds.
        also: further files of a case, as {key in the result: key in the list}; items that lack one are left out.

    Raises:
        InputError: the list is missing, an item is malformed, there is no such fold, or no case is left.
    """
    return _cases(_split(datalist, dataset_dir, fold, folds)[0], datalist, dataset_dir, "train on", also)


def validation_cases(
    datalist: str,
    dataset_dir: str,
    fold: int | str | None = 0,
    folds: int = 5,
    also: Mapping[str, str] | None = None,
) -> list[Case]:
    """The held-out cases: those of `fold`; without a fold, the list's "dev" or "validation".

    If the list has neither, the result is empty, which is logged. For arguments and errors see `training_cases`.
    """
    held_out = _split(datalist, dataset_dir, fold, folds)[1]
    if fold in (None, ALL) and not held_out:
        _say(logging.INFO, f'{datalist} lists no "dev", so nothing is validated: model.pt will be the final weights')
        return []
    return _cases(held_out, datalist, dataset_dir, "validate on", also)


def image_names(cases: Sequence[Case], dataset_dir: str) -> list[str]:
    """Sorted paths of the cases' images relative to `dataset_dir`."""
    folder = Path(dataset_dir).as_posix() + "/"
    return sorted(Path(case["image"]).as_posix().removeprefix(folder) for case in cases)
