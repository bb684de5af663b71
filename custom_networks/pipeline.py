"""Runs the bundle's own inference.json for one case after another, for every caller."""

import logging
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from custom_networks.bundle_files import bundle_root, check_weights_exist, config_text
from custom_networks.dicom_out.results import dicom_names, write_dicom_results
from custom_networks.errors import BundleError, LiversegError, UsageError, one_line
from custom_networks.io import Volume, read_volume
from custom_networks.report.measurements import Measured, Measurements, measure
from custom_networks.report.organ_view import OrganView, organ_view
from custom_networks.report.overlay import draw_overlay
from custom_networks.report.report import case_report, write_report

logger = logging.getLogger(__name__)

CUT = "The liver reaches the border of the image and may be cut: volumes are those of the part that is seen."
OVERLAY, TUMOR_PROBABILITY = "overlay.png", "{}_tumor_probability.nii.gz"
Written = tuple[dict[str, str], tuple[str, ...]]


@dataclass(frozen=True)
class CaseResult(Measured):
    """What was found in one case.

    Attributes:
        case: its name.
        mask: file of the label map on the input's grid: 0 background, 1 liver, 2 tumor.
        measurements: volumes and lesions.
        report: what `report.json` beside the mask holds.
        seconds: time it took, reading and writing included.
        notes: what the reader had to say about the input.
        probability: file of the tumor probability on the input's grid, 0 to 1, where it was asked for.
        overlay: the picture, where it was asked for and could be drawn.
    """

    case: str
    mask: Path
    measurements: Measurements
    report: Mapping[str, Any]
    seconds: float
    notes: tuple[str, ...] = ()
    probability: Path | None = None
    overlay: Path | None = None


class Pipeline:
    """The evaluator that `configs/inference.json` declares, fed with one case at a time.

    Args:
        output_dir: folder for the results, one folder a case in it.
        bundle: the bundle's folder; by default the one that belongs to this package.
        overrides: further ids of inference.json, such as `{"device": "$torch.device('cpu')"}`.
        overlay: whether to draw `overlay.png`.
        keep_empty_frames: whether the DICOM SEG gets a frame for every slice and segment, which some viewers need.

    Raises:
        BundleError: if the bundle is not found, or its weights are missing or not its own.
        UsageError: if `output_dir` cannot be made.
    """

    def __init__(
        self,
        output_dir: str | Path,
        bundle: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        *,
        overlay: bool = False,
        keep_empty_frames: bool = False,
    ) -> None:
        self._overlay, self._keep_empty_frames = overlay, keep_empty_frames
        root = bundle_root(bundle)
        config = {
            "bundle_root": config_text(str(root)),
            "output_dir": config_text(str(output_dir)),
            "return_probabilities": True,
            **(overrides or {}),
        }
        # A stand-in, so that the evaluator is built for one case a run; `segment` puts the case in its place.
        try:
            self._workflow = _workflow(root, {**config, "dataset#data": [{"image": "", "case": ""}]})
        except Exception as error:  # JSON, MONAI and Python each have their own for a config that cannot be read
            raise BundleError(f"{root} holds no bundle that can be run ({error!r}): install it again.") from error
        self._output_dir = Path(self._workflow.parser.get_parsed_content("output_dir"))
        checkpoint = Path(str(self._workflow.parser.get_parsed_content("checkpoint")))
        check_weights_exist(checkpoint)
        try:
            self._output_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror or error
            raise UsageError(f"{output_dir} cannot be a folder for results ({reason}): name another.") from error
        self._check_weights(checkpoint)

    def _check_weights(self, checkpoint: Path) -> None:
        """Load the weights once before the first case, as the evaluator does at the start of each run."""
        from monai.handlers import CheckpointLoader

        for handler in self._workflow.parser.get_parsed_content("handlers"):
            if isinstance(handler, CheckpointLoader):
                try:
                    handler(self._workflow.evaluator)
                except Exception as error:  # PyTorch, pickle and zip each have their own
                    reason = one_line(error, 200)
                    raise BundleError(f"{checkpoint} holds no weights of this network ({reason}).") from error

    def segment(self, item: Mapping[str, str]) -> CaseResult:
        """Segment one item of `custom_networks.io.name_cases` and write its folder.

        Of the label map's companions, what cannot be drawn or written as DICOM is a note.

        Raises:
            LiversegError: if the input cannot be segmented.
        """
        started = time.perf_counter()
        case, folder = item["case"], self._output_dir / item["case"]
        view, notes = self._answer(item)
        # Read a second time, for the network saw other intensities, and keeping these would cost memory all along.
        ct = read_volume(item["image"])
        measurements = measure(view, ct.array, self._content("confidence_coefficients"))
        notes += (CUT,) * measurements.touches_border
        files = {"mask": f"{case}_seg.nii.gz"}
        if self._content("save_probability"):
            files["tumor_probability"] = TUMOR_PROBABILITY.format(case)
        labels = Volume(view.whole_labels(), view.affine, source=folder / files["mask"])
        self._forget_earlier_run(case, labels, files)
        for more, said in (self._drawn(ct, labels), self._as_dicom(item, labels, measurements)):
            files |= more
            notes += tuple(note for note in said if note not in notes)
        report = case_report(case, item["image"], measurements, files, self._operating_point(), notes)
        write_report(report, folder)
        return CaseResult(
            case=case,
            mask=folder / files["mask"],
            measurements=measurements,
            report=report,
            seconds=time.perf_counter() - started,
            notes=notes,
            probability=folder / files["tumor_probability"] if "tumor_probability" in files else None,
            overlay=folder / files["overlay"] if "overlay" in files else None,
        )

    def _forget_earlier_run(self, case: str, labels: Volume, files: Mapping[str, str]) -> None:
        """Remove what an earlier run left beside the label map: sent or shown with this one, it would be another's."""
        optional = {OVERLAY, TUMOR_PROBABILITY.format(case), *dicom_names(case).values()} - set(files.values())
        for name in optional:
            labels.source.with_name(name).unlink(missing_ok=True)

    def _drawn(self, ct: Volume, labels: Volume) -> Written:
        """Draw `overlay.png` if it is wanted: the file by kind, and notes."""
        if not self._overlay:
            return {}, ()
        try:
            return {"overlay": draw_overlay(ct, labels, labels.source.with_name(OVERLAY)).name}, ()
        except Exception as error:  # whatever a drawing library makes of it, the mask is there
            logger.debug("overlay of %s", labels.source, exc_info=True)
            return {}, (f"{OVERLAY} was not written, {type(error).__name__}: {one_line(error, 200)}",)

    def _as_dicom(self, item: Mapping[str, str], labels: Volume, measurements: Measurements) -> Written:
        """Write SEG and SR if the input is DICOM: the files by kind, and notes."""
        return write_dicom_results(
            item["image"], labels, measurements, item["case"], keep_empty_frames=self._keep_empty_frames
        )

    def _answer(self, item: Mapping[str, str]) -> tuple[OrganView, tuple[str, ...]]:
        """Run the bundle for one case: the liver and what lies around it, and the reader's notes."""
        evaluator = self._workflow.evaluator
        evaluator.interrupt_resume_enabled = False  # a run after one that failed is a new one, not the rest of that
        self._workflow.dataset.data = [dict(item)]
        try:
            evaluator.run()
        except Exception as error:
            raise _own_cause(error) or error from None
        finally:
            output, evaluator.state.output, evaluator.state.batch = evaluator.state.output, None, None
        pred, probabilities = output[0]["pred"], output[0].get("probabilities")
        if probabilities is None:
            raise BundleError("The bundle's answer has no 'probabilities': keep them in its postprocessing.")
        view = organ_view(
            pred.as_tensor().numpy()[0], probabilities.as_tensor().numpy(), pred.affine.numpy().astype(float)
        )
        return view, tuple(filter(None, str(pred.meta.get("notes", "")).split("\n")))

    def _content(self, id: str) -> Any:
        return self._workflow.parser.get_parsed_content(id, default=None)

    def _operating_point(self) -> dict[str, float]:
        """The numbers of the anatomy rules by name."""
        steps = self._workflow.parser["anatomy"]
        named = {name: self._content(f"anatomy#{i}#{name}") for i, step in enumerate(steps) for name in step}
        return {name: v for name, v in named.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}


def _workflow(root: Path, overrides: Mapping[str, Any]) -> Any:
    """The initialized workflow of the bundle's inference.json."""
    with warnings.catch_warnings():
        # MONAI 1.6 warns at each start that a bundle's config is code; this one came with the package.
        warnings.simplefilter("ignore")
        from monai.bundle import ConfigWorkflow

        # It warns that no logging_file is given, on stdout.
        logging.getLogger("monai.bundle.workflows").setLevel(logging.ERROR)
        workflow = ConfigWorkflow(
            workflow_type="infer",
            config_file=str(root / "configs" / "inference.json"),
            meta_file=str(root / "configs" / "metadata.json"),
            logging_file=False,
            **overrides,
        )
        workflow.initialize()
    # ignite reports an exception that it also raises; the caller has a better sentence for it.
    logging.getLogger("ignite").setLevel(logging.CRITICAL + 1)
    return workflow


def _own_cause(error: BaseException | None) -> LiversegError | None:
    """The project's own error beneath those that MONAI's Compose, PyTorch's loader and ignite wrap around it."""
    while error is not None and not isinstance(error, LiversegError):
        error = error.__cause__ or error.__context__
    return error
