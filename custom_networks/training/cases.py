"""Which cases train and which validate, from a data list in MSD form; splits are by patient."""

import json
from pathlib import Path
from typing import Any

from custom_networks.errors import InputError

Case = dict[str, Any]
ALL = "all"


def _read(datalist: str) -> dict[str, Any]:
    path = Path(datalist)
    if not path.is_file():
        raise InputError(f"No data list at {path}: give --dataset_dir a folder in MSD layout, or --datalist a JSON.")
    try:
        listed = dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise InputError(f"{path} is no JSON object ({error}): give a data list in MSD form.") from None
    if "training" not in listed:
        raise InputError(f'{path} has no "training" list, only {sorted(listed)}: give a data list in MSD form.')
    return listed


def _case(item: Case, root: Path) -> Case:
    """What the transforms need of a data list's item: its files, and whether its tumors are labelled."""
    return {
        "image": str(root / item["image"]),
        "label": str(root / item["label"]),
        "tumor_labelled": bool(item.get("tumor_labelled", True)),
    }


def _cases(items: list[Case], datalist: str, dataset_dir: str, purpose: str) -> list[Case]:
    if not items:
        raise InputError(
            f'{datalist} has no case to {purpose}: list some, or hold out another fold ("dev" is for all).'
        )
    return [_case(item, Path(dataset_dir)) for item in items]


def _folds(items: list[Case], folds: int) -> list[list[Case]]:
    """Deal patients, the largest group first, to the fold that holds the fewest cases so far."""
    patients: dict[str, list[Case]] = {}
    for item in items:
        patients.setdefault(str(item.get("group", item["image"])), []).append(item)
    dealt: list[list[Case]] = [[] for _ in range(folds)]
    for _, cases in sorted(patients.items(), key=lambda entry: (-len(entry[1]), entry[0])):
        min(dealt, key=len).extend(cases)
    return dealt


def _split(datalist: str, fold: int | str | None, folds: int) -> tuple[list[Case], list[Case]]:
    listed = _read(datalist)
    items = listed["training"]
    if fold in (None, ALL):
        return items, listed.get("dev", listed.get("validation", []))
    if not isinstance(fold, int) or not 0 <= fold < folds:
        raise InputError(f"fold must be from 0 to {folds - 1} or {ALL!r}, got {fold!r}")
    dealt = _folds(items, folds)
    return [item for i, part in enumerate(dealt) if i != fold for item in part], dealt[fold]


def training_cases(datalist: str, dataset_dir: str, fold: int | str | None = 0, folds: int = 5) -> list[Case]:
    """Cases to train on: all but those of `fold`; with no fold, all of the list's "training".

    Args:
        datalist: JSON file in MSD form: "training" (and perhaps "dev" or "validation") lists items with "image" and
            "label", relative to `dataset_dir`, and optionally "group" (patient) and "tumor_labelled".
        dataset_dir: folder the paths are relative to.
        fold: index of the fold held out; "all" (or null) trains on all and validates on the list's "dev" or
            "validation". (`monai.bundle run` drops an override of None, hence the word.)
        folds: number of folds that the patients are dealt to.

    Raises:
        InputError: if the list is missing, the fold is none of them, or there is no such case.
    """
    return _cases(_split(datalist, fold, folds)[0], datalist, dataset_dir, "train on")


def validation_cases(datalist: str, dataset_dir: str, fold: int | str | None = 0, folds: int = 5) -> list[Case]:
    """Cases held out: those of `fold`; with no fold, the list's "dev" or "validation". See `training_cases`."""
    return _cases(_split(datalist, fold, folds)[1], datalist, dataset_dir, "validate on")
