"""Draw training stacks: unchanged, with synthetic lesions, with decoys, and as the network sees them.

    liverseg phantom out/phantoms
    python tests/benchmarks/draw_stacks.py out/phantoms stacks.png

A column is one stack of one draw, its middle slice; each row below the first lets one kind of transform of train.json
happen for certain, the last lets all happen as often as in training. Green: the organ, red: tumor.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from monai.bundle import ConfigParser

BUNDLE = Path(__file__).parents[2] / "bundle"
ROWS = {"as it is": None, "synthetic lesions": 0, "dark decoys": 1, "bright decoys": 2, "as trained": ...}


def stack(dataset_dir: str, case: int, seed: int, certain: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Middle slice (H, W) of a stack in [0, 1] and of its label; only the drawing transform `certain` is applied."""
    config = ConfigParser()
    config.read_config(BUNDLE / "configs" / "train.json")
    config.update({"bundle_root": str(BUNDLE), "dataset_dir": dataset_dir, "fold": "all"})
    if certain is not ...:
        drawing = [step for step in config["train"]["stack_transforms"] if "prob" in step]
        for number, step in enumerate(drawing):
            step["prob"] = float(number == certain)
        for step in config["train"]["augmentation"]:
            if "prob" in step:
                step["prob"] = 0.0
    transforms = config.get_parsed_content("train#preprocessing").set_random_state(seed)
    stacked = transforms(dict(config.get_parsed_content("train#dataset#data#cases")[case]))
    image, label = ((stacked[0] if isinstance(stacked, list) else stacked)[key][0] for key in ("image", "label"))
    return image[..., image.shape[-1] // 2], label[..., label.shape[-1] // 2]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("dataset_dir", help="folder of data as for train.json")
    parser.add_argument("picture", help="PNG to write")
    parser.add_argument("--case", type=int, default=0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    arguments = parser.parse_args()
    figure = Figure(figsize=(2.4 * len(arguments.seeds), 2.5 * len(ROWS)), layout="constrained")
    grid = figure.subplots(len(ROWS), len(arguments.seeds), squeeze=False)
    for axes, (name, certain) in zip(grid, ROWS.items(), strict=True):
        axes[0].set_ylabel(name)
        for axis, seed in zip(axes, arguments.seeds):
            image, label = stack(arguments.dataset_dir, arguments.case, seed, certain)
            axis.imshow(image.T, cmap="gray", vmin=0, vmax=1, origin="lower")
            for mask, colour in ((label > 0, "limegreen"), (label == 2, "red")):
                if mask.any() and not mask.all():
                    axis.contour(mask.T.float(), [0.5], colors=colour, linewidths=1)
            axis.invert_xaxis()  # as radiologists look at it: the patient's right on the left
            axis.set(xticks=[], yticks=[])
    figure.savefig(arguments.picture, dpi=80)


if __name__ == "__main__":
    main()
