"""A handler for MONAI's evaluator that scores each case and keeps cases.csv and the summary up to date."""

import json
import logging
import re
from collections import Counter
from collections.abc import Mapping
from math import isfinite
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from ignite import distributed as idist
from ignite.engine import Engine, Events
from monai.data.meta_tensor import MetaTensor
from monai.data.utils import affine_to_spacing
from monai.utils.dist import string_list_all_gather

from custom_networks.errors import InputError
from custom_networks.evaluation.case_scores import case_scores
from custom_networks.evaluation.organ_and_tumor import tumor_is_labelled
from custom_networks.evaluation.summary import WITH_TUMOR, Scores, column_statistics, pooled_scores, write_report
from custom_networks.labelmap.grid import voxel_mm3
from custom_networks.labelmap.labels import Labels

logger = logging.getLogger(__name__)

IMAGE_ENDING = re.compile(r"\.(nii|nrrd|nhdr|mha|mhd|hdr|img)(\.gz)?$", re.IGNORECASE)
# Affines of the same grid from two programs differ by float32 rounding, which is far less than this.
SAME_GRID_MM = 0.1


class CaseScoresHandler:
    """Ignite handler that scores each case of an evaluator and writes cases.csv, summary.csv and summary.json.

    It reads ``engine.state.output`` after postprocessing, a list of items with label maps `pred` and `label`
    (MetaTensor (1, H, W, D) on the same grid, labels 0, 1, 2) and `image`. The case is named after the image's file, or
    after the label's if the image has none. It also reads `tumor_labelled` from ``engine.state.batch``. At the end of
    the epoch it adds the means of liver_dice, tumor_dice and tumor_dice_with_tumor and all of `pooled_scores` to
    ``engine.state.metrics``, except undefined ones, so attach it before handlers that print metrics.

    The files are written after each iteration, so that a crash does not lose the cases before it. With several
    processes, each scores its own cases; rank 0 writes its own cases during the run and all cases at the end. A case
    that a DistributedSampler repeats to make the parts equal is counted once.

    Args:
        output_dir: folder for the files.
    """

    def __init__(self, output_dir: str) -> None:
        self.output_dir = Path(output_dir)
        self._rows: dict[str, Scores] = {}

    def attach(self, engine: Engine) -> None:
        """Register with a MONAI evaluator; cases are scored after postprocessing, which is part of the iteration.

        Raises:
            InputError: this process has no case to score; MONAI would only warn and skip the run.
        """
        if engine.state.epoch_length == 0:
            raise InputError(
                "Each process needs at least one case to evaluate, got none: check dataset_dir and the data list (with "
                'fold "all", its "dev" cases are scored), or start fewer processes.'
            )
        engine.add_event_handler(Events.EPOCH_STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.score_batch)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.finish)

    def start(self, engine: Engine) -> None:
        """Forget the cases of the previous run."""
        self._rows = {}

    def score_batch(self, engine: Engine) -> None:
        """Score the cases of one iteration.

        Raises:
            InputError: the output is not a list of items, an item has no file name, or its label maps are not
                MetaTensors with one channel, are not on the same grid, or have labels other than 0, 1, 2.
        """
        if not isinstance(engine.state.output, list):
            raise InputError(
                "CaseScoresHandler needs one dictionary per case, got "
                f"{type(engine.state.output).__name__}: set the evaluator's decollate to true."
            )
        for item, output in zip(engine.state.batch, engine.state.output):
            path = _path_of(output)
            self._rows[path] = scores = self._scores(output, tumor_is_labelled(item), path)
            logger.info("%s: %s", PurePath(path).name, _one_line(scores))
        self._write()

    def finish(self, engine: Engine) -> None:
        """Gather the cases of all processes, write the files (rank 0 only), and add scores to the engine's metrics.

        Raises:
            InputError: no case was scored.
        """
        self._rows = _rows_of_all_processes(self._rows)
        if not self._rows:
            raise InputError("At least one case must be evaluated, got none: check dataset_dir and the data list.")
        self._write()
        means = {name: values["mean"] for name, values in column_statistics(self._rows).items()}
        shown = {name: means[name] for name in ("liver_dice", "tumor_dice", "tumor_dice" + WITH_TUMOR)}
        shown |= pooled_scores(self._rows)
        engine.state.metrics.update({name: value for name, value in shown.items() if isfinite(value)})

    def _write(self) -> None:
        if self._rows and idist.get_rank() == 0:
            names = case_names(list(self._rows))
            write_report({names[path]: row for path, row in self._rows.items()}, self.output_dir)

    def _scores(self, output: Mapping[str, Any], tumor_labelled: bool, path: str) -> dict[str, float]:
        """Score one item; the message of an InputError names the case's path."""
        prediction, truth = output["pred"], output["label"]
        try:
            spacing = _spacing_of_one_grid(prediction, truth)
            maps = _label_map(prediction), _label_map(truth)
            affine = truth.affine.cpu().double().numpy()
            return case_scores(*maps, spacing, tumor_labelled, voxel_mm3(affine))
        except InputError as error:
            raise InputError(f"{path} cannot be scored. {error}") from error


def _path_of(output: Mapping[str, Any]) -> str:
    """The file of an item's image or, if that is unknown, of its label; InputError if both are unknown."""
    for key in ("image", "label"):
        if path := getattr(output.get(key), "meta", {}).get("filename_or_obj"):
            return str(path)
    raise InputError(
        "A case needs a file name to be reported, got none in the metadata of 'image' or 'label': load them with "
        "LoadVolumed."
    )


def case_names(paths: list[str]) -> dict[str, str]:
    """A unique name for each path: the file name without suffix.

    If it is not unique, it is preceded by the name of the folder; if it still is not, the whole path is used.
    """
    shortest = [IMAGE_ENDING.sub("", PurePath(path).name) for path in paths]
    longer = [f"{PurePath(path).parent.name}/{name}" for path, name in zip(paths, shortest)]
    uses, longer_uses = Counter(shortest), Counter(longer)
    return {
        path: short if uses[short] == 1 else long if longer_uses[long] == 1 else path
        for path, short, long in zip(paths, shortest, longer)
    }


def _spacing_of_one_grid(prediction: Any, truth: Any) -> list[float]:
    """Voxel spacing of the truth in mm; InputError if the two are not MetaTensors on the same grid."""
    if not isinstance(prediction, MetaTensor) or not isinstance(truth, MetaTensor):
        raise InputError(
            f"Prediction and truth must be MetaTensors with an affine, got {type(prediction).__name__} and "
            f"{type(truth).__name__}: keep the metadata in the postprocessing."
        )
    affine = truth.affine.cpu().double().numpy()
    difference = np.abs(prediction.affine.cpu().double().numpy() - affine)
    apart_mm = float((difference @ [*truth.shape[-3:], 1]).max())
    if not apart_mm <= SAME_GRID_MM:
        raise InputError(
            f"Prediction and truth must be on the same grid, got positions up to {apart_mm:.3g} mm apart: "
            "invert the preprocessing of both or of neither."
        )
    return [float(mm) for mm in affine_to_spacing(affine)]


def _label_map(labels: MetaTensor) -> Labels:
    """Label map (H, W, D) uint8 from a tensor (1, H, W, D) of any type.

    Raises:
        InputError: the tensor has another shape, or values that are not whole numbers from 0 to 255.
    """
    if labels.ndim != 4 or labels.shape[0] != 1:
        raise InputError(
            f"A label map must have shape (1, H, W, D), got {tuple(labels.shape)}: take the argmax of probabilities."
        )
    values: torch.Tensor = labels.as_tensor()[0].detach().cpu()
    whole = values.to(torch.uint8)
    if (others := values[whole.to(values.dtype) != values]).numel():
        raise InputError(
            f"A label map must contain whole numbers from 0 to 2, got {others[0]:g}: use nearest interpolation."
        )
    return np.asarray(whole)


def _one_line(scores: Scores) -> str:
    """The main scores of a case, as one line for the log."""
    line = f"liver Dice {scores['liver_dice']:.3f}, HD95 {scores['liver_hd95_mm']:.1f} mm"
    if not isfinite(scores["tumor_dice"]):
        return f"{line}; tumors not labelled"
    found, true, false = (int(scores[name]) for name in ("lesions_found", "lesions_truth", "false_lesions"))
    return f"{line}; tumor Dice {scores['tumor_dice']:.3f}, {found} of {true} lesions found, {false} false"


def _rows_of_all_processes(rows: dict[str, Scores]) -> dict[str, Scores]:
    """The rows of all processes by path, in the order of the ranks; each path occurs once."""
    if idist.get_world_size() == 1:
        return rows
    # JSON keeps floats exact and allows NaN; it never contains the tab that separates the gathered strings.
    gathered = string_list_all_gather([json.dumps([path, row]) for path, row in rows.items()])
    return dict(json.loads(text) for text in gathered if text)
