"""Compare results of real scans with and without the scout; a row for each scan is appended to a CSV file.

    python tests/benchmarks/scout_effect.py SHARED/ct OUT.csv dev unlabelled full
    python tests/benchmarks/scout_effect.py SHARED/ct OUT.csv train --folds 4 --scouts out/scout/fold{}/model_final.pt
    python tests/benchmarks/scout_effect.py SHARED/ct OUT.csv ircad10 --change mirrored

Names are ids of dataset.json, or dev, train, unlabelled, full. With --scouts a training scan is searched by the scout
that was trained without its patient. Changes: `mirrored` (the voxels left to right: a situs inversus), `reoriented`
(the same, the affine with them: the same patient), `huge` (voxels 1.5 times as large along each axis), `parted` (a gap
of 12 mm of fat through the middle of the true liver, from left to right). Scans that the CSV has are left out.
"""

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from custom_networks.bundle_files import config_text
from custom_networks.io import case_of_array, read_label_map, read_volume
from custom_networks.labelmap.grid import voxel_mm3
from custom_networks.pipeline import Pipeline
from custom_networks.result import Result
from custom_networks.training.data.cases import listed_cases, validation_cases

Array = npt.NDArray[Any]
Scan = tuple[Array, Array, Array | None]  # HU, affine, labels
COLUMNS = (
    "scan change state part_of_scan scout_s on_network_s off_network_s organ_on_off tumor_on_off organ_on organ_off "
    "tumor_on tumor_off outside_ml_on outside_ml_off lesions_on lesions_off only_on only_off unexplained"
).split()


def dice(one: Array, other: Array) -> float:
    both = one.sum() + other.sum()
    return float(2 * (one & other).sum() / both) if both else float("nan")


def scans(root: Path, names: list[str]) -> Iterator[dict[str, Any]]:
    """Items of the data list by id or by split, and the whole scan."""
    listed = listed_cases(str(root / "dataset.json"), str(root))
    splits = {"train": listed["training"], "dev": listed["dev"], "unlabelled": listed["unlabelled"]}
    whole = [path.name for path in sorted((root / "full").glob("*.nii.gz"))]
    splits["full"] = [{"id": f"full_{name.removesuffix('.nii.gz')}", "image": f"full/{name}"} for name in whole]
    for name in names:
        every = (item for items in splits.values() for item in items if item["id"] == name)
        yield from splits.get(name) or every


def read(root: Path, item: dict[str, Any]) -> Scan:
    image = read_volume(root / item["image"])
    label = read_label_map(root / item["label"]).array if "label" in item else None
    return image.array, image.affine, label


def changed(scan: Scan, change: str) -> Scan:
    hu, affine, label = scan
    if change in ("mirrored", "reoriented"):
        flip = np.diag([-1.0, 1, 1, 1])
        flip[0, 3] = hu.shape[0] - 1
        hu, label = hu[::-1].copy(), None if label is None else label[::-1].copy()
        return hu, affine @ flip if change == "reoriented" else affine, label
    if change == "huge":
        return hu, affine @ np.diag([1.5, 1.5, 1.5, 1]), label
    if change == "parted" and label is not None:
        middle = int(np.argwhere(label > 0)[:, 0].mean())
        half = round(6 / float(np.linalg.norm(affine[:3, 0])))
        gap = slice(middle - half, middle + half)
        hu, label = hu.copy(), label.copy()
        hu[gap][label[gap] > 0] = -100
        label[gap] = 0
        return hu, affine, label
    return scan


def differing(result: Result, other: Result, limits: tuple[float, float]) -> tuple[list[str], int]:
    """Lesions of one result that touch no lesion of the other, and how many of them are far from both thresholds."""
    numbers, there = result.lesion_map, other.tumor
    alone = [lesion for lesion in result.lesions if not there[numbers == lesion.id].any()]
    least_confidence, least_mm3 = limits
    far = [
        lesion
        for lesion in alone
        if abs(lesion.confidence - least_confidence) > 0.05 and abs(lesion.volume_mm3 / least_mm3 - 1) > 0.2
    ]
    return [f"{lesion.volume_mm3:.0f} mm3 at {lesion.confidence:.3f}" for lesion in alone], len(far)


def row_of(name: str, change: str, scan: Scan, on: Result, off: Result) -> dict[str, Any]:
    """The numbers of one scan, with scores if the truth is known."""
    ml = voxel_mm3(scan[1]) / 1000
    box, point = on.run["scout"]["box"], on.operating_point
    part = np.prod([stop - first for first, stop in box]) / on.liver.size if box else 1.0
    limits = point["min_lesion_confidence"], point["min_lesion_mm3"]
    only_on, far_on = differing(on, off, limits)
    only_off, far_off = differing(off, on, limits)
    row: dict[str, Any] = {
        "scan": name,
        "change": change,
        "state": on.run["scout"]["state"],
        "part_of_scan": round(float(part), 3),
        "scout_s": on.run["seconds"]["scout"],
        "on_network_s": on.run["seconds"]["network"],
        "off_network_s": off.run["seconds"]["network"],
        "organ_on_off": round(dice(on.liver, off.liver), 5),
        "tumor_on_off": round(dice(on.tumor, off.tumor), 4),
        "lesions_on": len(on.lesions),
        "lesions_off": len(off.lesions),
        "only_on": "; ".join(only_on),
        "only_off": "; ".join(only_off),
        "unexplained": far_on + far_off,
    }
    if (label := scan[2]) is not None:
        for side, result in (("on", on), ("off", off)):
            row[f"organ_{side}"] = round(dice(result.liver, label > 0), 4)
            row[f"tumor_{side}"] = round(dice(result.tumor, label == 2), 4)
            row[f"outside_ml_{side}"] = round(float((result.liver & (label == 0)).sum()) * ml, 2)
    return row


def pipelines(arguments: argparse.Namespace) -> Iterator[tuple[dict[str, Any], Pipeline]]:
    """Yield each item with a pipeline whose scout was not trained on its patient."""
    items = list(scans(arguments.root, arguments.names))
    common = {"device": "cpu", "precision": "float32", "progress": False}
    if not arguments.scouts:
        pipeline = Pipeline(overrides=common)
        yield from ((item, pipeline) for item in items)
        return
    for fold in range(arguments.folds):
        listed = validation_cases(
            str(arguments.root / "dataset.json"), str(arguments.root), fold=fold, folds=arguments.folds
        )
        held_out = {case["image"] for case in listed}
        searched = [item for item in items if str(arguments.root / item["image"]) in held_out]
        if searched:
            weights = config_text(str(Path(arguments.scouts.format(fold)).resolve()))
            pipeline = Pipeline(overrides={**common, "scout_checkpoint": weights})
            yield from ((item, pipeline) for item in searched)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--change", default="none", choices=("none", "mirrored", "reoriented", "huge", "parted"))
    parser.add_argument("--scouts")
    parser.add_argument("--folds", type=int, default=4)
    arguments = parser.parse_args()
    known = set()
    if arguments.output.is_file():
        with arguments.output.open(encoding="utf-8", newline="") as file:
            known = {(row["scan"], row["change"]) for row in csv.DictReader(file)}
    whole = Pipeline(overrides={"device": "cpu", "precision": "float32", "progress": False, "scout": False})
    for item, pipeline in pipelines(arguments):
        if (item["id"], arguments.change) in known:
            continue
        known.add((item["id"], arguments.change))
        scan = changed(read(arguments.root, item), arguments.change)
        on, off = (each.predict(case_of_array(scan[0], scan[1])) for each in (pipeline, whole))
        row = row_of(item["id"], arguments.change, scan, on, off)
        new = not arguments.output.is_file()
        with arguments.output.open("a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            if new:
                writer.writeheader()
            writer.writerow(row)
        print(row, flush=True)


if __name__ == "__main__":
    main()
