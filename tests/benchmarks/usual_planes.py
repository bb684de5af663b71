"""Print the usual positions of the planes in labelmap/segment_planes.py: means over the training set's livers.

    python tests/benchmarks/usual_planes.py DATA

DATA holds a dataset.json whose training cases name a label map and a map of Couinaud's segments ("couinaud").
"""

import argparse
from pathlib import Path

import nibabel as nib
import numpy as np

from custom_networks.labelmap.segment_planes import PLANES, fitted_cut
from custom_networks.labelmap.whole_liver import extent
from custom_networks.training.data.cases import listed_cases

CELL_MM = (3.0, 3.0, 6.0)  # roughly the grid of the network for segments


def positions(segments: Path, label: Path) -> list[float]:
    """Position of each of PLANES in a liver, as a share of the liver's extent along the plane's axis."""
    maps = [nib.as_closest_canonical(nib.load(path)) for path in (segments, label)]
    steps = [max(1, round(cell / mm)) for cell, mm in zip(CELL_MM, maps[0].header.get_zooms())]
    numbers, labels = (np.asarray(each.dataobj)[tuple(slice(None, None, step) for step in steps)] for each in maps)
    liver, shares = (labels > 0).astype(float), np.stack([numbers == n for n in range(1, 9)]).astype(float)
    found = []
    for plane in PLANES:
        first, last = extent(liver, plane.axis)
        found.append((fitted_cut(shares, liver, plane) - first) / (last - first))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    root = parser.parse_args().root
    cases = [item for item in listed_cases(str(root / "dataset.json"), str(root))["training"] if "couinaud" in item]
    found = np.array([positions(root / item["couinaud"], root / item["label"]) for item in cases])
    for plane, mean, spread in zip(PLANES, found.mean(axis=0), found.std(axis=0)):
        print(f"{plane.low} | {plane.high}: {mean:.3f}, SD {spread:.3f}, {len(found)} livers (in use: {plane.usual})")


if __name__ == "__main__":
    main()
