"""Draw held-out cases with the experts' outlines and the predicted ones, for the model card.

    python tests/benchmarks/draw_folds.py out/probabilities DATA out.jpg lits048_ct lits005_ct lits015_ct

A column is a case. Above, the slice with most tumor (of experts or network); below, the slice in which most voxels of
the organ differ. White: experts, green: predicted organ, red: predicted tumor.
"""

import argparse
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from scout_effect import dice

from custom_networks.bundle_files import bundle_root
from custom_networks.evaluation.kept_probabilities import KeptCase, read_kept_case
from custom_networks.labelmap.boxes import box_around
from custom_networks.labelmap.labels import Labels
from custom_networks.labelmap.lesions import find_lesions
from custom_networks.training.data.cases import listed_cases
from custom_networks.tuning.adopt import configured_numbers
from custom_networks.tuning.lesion_tables import OperatingPoint, label_maps


def predicted(case: KeptCase) -> Labels:
    """The label map (h, w, d) of a kept case after the rules of inference.json."""
    config = json.loads((bundle_root() / "configs" / "inference.json").read_text(encoding="utf-8"))
    point = OperatingPoint(**configured_numbers(config))
    (labels,) = label_maps(case, [point])
    limits = point.capsule_mm, point.min_lesion_mm3, point.min_lesion_confidence
    return find_lesions(
        *(labels, case.probabilities, case.affine, *limits),
        config["confidence_coefficients"],
        point.min_lesion_height_mm,
    )[0]


def image_of(case: KeptCase, root: Path, item: dict[str, str]) -> npt.NDArray[np.float32]:
    """The HU (h, w, d) of a kept case: the part of the scan that its box covers."""
    scan, label = (nib.as_closest_canonical(nib.load(root / item[key])) for key in ("image", "label"))
    whole, kept = box_around(np.asarray(label.dataobj) > 0), box_around(case.truth > 0)
    assert whole and kept, case.name
    starts = [w.start - k.start for w, k in zip(whole, kept)]
    return np.asarray(scan.dataobj[tuple(slice(s, s + n) for s, n in zip(starts, case.truth.shape))], np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("probabilities", type=Path)
    parser.add_argument("root", type=Path)
    parser.add_argument("picture")
    parser.add_argument("cases", nargs="+")
    given = parser.parse_args()
    listed = listed_cases(str(given.root / "dataset.json"), str(given.root))["training"]
    items = {Path(item["image"]).name.partition(".")[0]: item for item in listed}
    figure = Figure(figsize=(3.2 * len(given.cases), 5.4), layout="constrained")
    for column, name in zip(figure.subplots(2, len(given.cases), squeeze=False).T, given.cases):
        case = read_kept_case(given.probabilities / f"{name}.npz")
        hu, labels, truth = image_of(case, given.root, items[name]), predicted(case), case.truth
        scores = f"liver {dice(labels > 0, truth > 0):.2f}, tumor {dice(labels == 2, truth == 2):.2f}"
        column[0].set_title(f"{name.removesuffix('_ct')}: {scores}", fontsize=9)
        shown = (labels == 2) | (truth == 2), (labels > 0) != (truth > 0)
        for axis, wanted in zip(column, shown):
            z = int(wanted.sum(axis=(0, 1)).argmax())
            axis.imshow(hu[..., z].T, cmap="gray", vmin=-110, vmax=190, origin="lower")
            axis.set_aspect(case.spacing[1] / case.spacing[0])
            masks = ((truth > 0, "white"), (truth == 2, "white"), (labels > 0, "limegreen"), (labels == 2, "red"))
            for mask, colour in masks:
                if mask[..., z].any() and not mask[..., z].all():
                    axis.contour(mask[..., z].T.astype(float), [0.5], colors=colour, linewidths=0.9)
            axis.invert_xaxis()  # as radiologists look at it: the patient's right on the left
            axis.set(xticks=[], yticks=[])
    figure.savefig(given.picture, dpi=100, pil_kwargs={"quality": 85})


if __name__ == "__main__":
    main()
