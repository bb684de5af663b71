"""Score the network of Couinaud's segments on the cases that a fold holds out.

    python -m custom_networks.tuning.segments out/segments --dataset_dir DATA --folds 4
    python -m custom_networks.tuning.segments out/segments --dataset_dir DATA --fold all --weights models/segments.pt

`out/segments/fold_N/model_final.pt` are the weights of fold N, which train_segments.json saves with
`--ckpt_dir out/segments/fold_N`. The script writes `cases.csv`, with the Dice of each segment for each case, mask and
way, and `lesions.csv`, with the true and the found segment of each lesion in an expert's mask. The masks are the
expert's liver and, if the folder `--predicted` contains `<case>/<case>_seg.nii.gz`, the predicted liver. The ways of
labelling are "network", its labels as they are, and "planes", which are fitted to these labels.
"""

import argparse
import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.transforms import Compose

from custom_networks.bundle_files import bundle_root
from custom_networks.evaluation.kept_probabilities import case_name
from custom_networks.evaluation.segment_scores import placed_lesions, segment_dice
from custom_networks.files import write_csv
from custom_networks.inference.weights import load_weights
from custom_networks.labelmap.grid import spacing_of
from custom_networks.labelmap.labels import Floats, Labels
from custom_networks.labelmap.segments import SEGMENTS
from custom_networks.training.data.cases import validation_cases
from custom_networks.transforms.segments import CoarseCopyd, LabelSegmentsd, share_of_cells

CASE_COLUMNS = ("fold", "case", "mask", "way", *(f"dice_{number}" for number in SEGMENTS), "dice_mean")
LESION_COLUMNS = ("fold", "case", "mask", "way", "lesion", "volume_mm3", "segment", "found", "near_border")
WAYS = {"network": False, "planes": True}


@dataclass(frozen=True, eq=False)
class Case:
    """A case on its own grid, oriented RAS.

    Attributes:
        name: name of the case.
        labels: the expert's label map (H, W, D).
        truth: the expert's map of segments (H, W, D).
        affine: (4, 4), voxel indices to RAS mm.
        coarse: coarse copy of the image, see `CoarseCopyd`.
    """

    name: str
    labels: Labels
    truth: Labels
    affine: Floats
    coarse: Any


def config() -> ConfigParser:
    """The parser of train.json with train_segments.json."""
    folder, parser = bundle_root() / "configs", ConfigParser()
    parser.read_config([str(folder / "train.json"), str(folder / "train_segments.json")])
    return parser


def read_case(parser: ConfigParser, item: dict[str, Any]) -> Case:
    """One case of the data list, prepared as in validation, with the coarse copy that inference makes."""
    steps = [*parser.get_parsed_content("validate#preprocessing").transforms]
    data = Compose([*steps, CoarseCopyd("image", parser["coarse_spacing"], parser["coarse_slice_spacing"])])(item)
    labels, truth = (data[key][0].numpy().astype(np.uint8) for key in ("label", "segments"))
    return Case(case_name(item["image"]), labels, truth, data["label"].affine.numpy().astype(float), data["coarse"])


def masks_of(case: Case, predicted: Path | None) -> Iterator[tuple[str, Labels]]:
    """Yield name and label map of each mask of a case: the expert's, and the predicted one if its file exists."""
    yield "expert", case.labels
    path = predicted / case.name / f"{case.name}_seg.nii.gz" if predicted else None
    if path and path.is_file():
        image = nib.as_closest_canonical(nib.load(path))
        yield "predicted", np.asarray(image.dataobj, np.uint8)


def score(case: Case, step: LabelSegmentsd, predicted: Path | None, fold: str) -> tuple[list[Any], list[Any]]:
    """The rows of cases.csv and lesions.csv for one case, with each mask and each way."""
    cases: list[Any] = []
    lesions: list[Any] = []
    grid = case.coarse.shape[1:], case.coarse.affine.numpy().astype(float)
    for mask, labels in masks_of(case, predicted):
        liver = share_of_cells(labels > 0, case.affine, *grid)
        for way, step.planes in WAYS.items():
            found = step.segments_of(labels > 0, case.affine, case.coarse, liver)
            dice = segment_dice(found, case.truth, case.labels)
            cases.append([fold, case.name, mask, way, *dice.values(), float(np.nanmean(list(dice.values())))])
            for number, lesion in enumerate(placed_lesions(found, case.truth, case.labels, spacing_of(case.affine))):
                own = (lesion.volume_mm3, lesion.truth, lesion.found, lesion.near_border)
                lesions.append([fold, case.name, mask, way, number + 1, *own])
    return cases, lesions


def summary(folder: Path) -> Iterator[str]:
    """Yield lines that sum up the tables: mean Dice of the segments, and the number of lesions in the right segment."""
    rows, lesions = (list(csv.DictReader((folder / name).open(newline=""))) for name in ("cases.csv", "lesions.csv"))
    for mask, way in sorted({(row["mask"], row["way"]) for row in rows}):
        here = [row for row in rows if (row["mask"], row["way"]) == (mask, way)]
        table = np.array([[float(row[f"dice_{number}"] or "nan") for number in SEGMENTS] for row in here])
        each = " ".join(f"{value:.3f}" for value in np.nanmean(table, axis=0))
        yield f"{mask} liver, {way}: mean {np.nanmean(table):.3f} of {len(here)} cases; segments 1 to 8: {each}"
        own = [row for row in lesions if (row["mask"], row["way"]) == (mask, way)]
        for name, least in (("", 0), ("of 0.52 ml and more ", 520)):
            large = [row for row in own if float(row["volume_mm3"]) >= least]
            right = sum(row["segment"] == row["found"] for row in large)
            yield f"  lesions {name}in the right segment: {right} of {len(large)}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, score the folds, write both tables, and print their summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of the folds' weights, and of the tables to write")
    parser.add_argument("--dataset_dir", required=True, help="folder of the data, with dataset.json")
    parser.add_argument("--fold", default=None, help='score only this fold ("all": the dev cases); default: every fold')
    parser.add_argument("--folds", type=int, default=4, help="number of folds")
    parser.add_argument("--weights", type=Path, default=None, help="weights for all folds, in place of each fold's own")
    parser.add_argument("--predicted", type=Path, default=None, help="folder of predicted label maps, also used")
    asked = parser.parse_args(arguments)
    folds = [asked.fold] if asked.fold else [str(number) for number in range(asked.folds)]
    cases: list[Any] = []
    lesions: list[Any] = []
    for fold in folds:
        found = _fold_rows(asked, fold)
        cases, lesions = cases + found[0], lesions + found[1]
    write_csv(asked.folder / "cases.csv", CASE_COLUMNS, cases, digits=4)
    write_csv(asked.folder / "lesions.csv", LESION_COLUMNS, lesions)
    print(*summary(asked.folder), sep="\n")


def _fold_rows(asked: argparse.Namespace, fold: str) -> tuple[list[Any], list[Any]]:
    """The rows of cases.csv and lesions.csv for all cases that a fold holds out."""
    parser = config()
    network = parser.get_parsed_content("network_def").eval()
    load_weights(network, asked.weights or asked.folder / f"fold_{fold}" / "model_final.pt")
    step = LabelSegmentsd("label", network)
    data = asked.dataset_dir
    number = int(fold) if fold.isdigit() else fold
    items = validation_cases(f"{data}/dataset.json", data, number, asked.folds, {"segments": "couinaud"})
    cases: list[Any] = []
    lesions: list[Any] = []
    with torch.no_grad():
        for item in items:
            rows = score(read_case(parser, item), step, asked.predicted, fold)
            cases, lesions = cases + rows[0], lesions + rows[1]
    return cases, lesions


if __name__ == "__main__":
    main()
