"""Check that a label map is on the grid of its image; otherwise training and scores would be meaningless."""

import logging
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import MapTransform
from monai.utils.enums import MetaKeys

from custom_networks.errors import BundleError, InputError
from custom_networks.io.checks import is_placeholder
from custom_networks.labelmap.labels import LIVER

logger = logging.getLogger(__name__)

TOLERANCE_MM = 0.5


class LabelOnImaged(MapTransform):
    """Compare the grids of a label map and its image as they were read; repair a placeholder, refuse other differences.

    - If the label map's affine is a placeholder (1 x 1 x 1 mm voxels along the patient's axes, origin within 1 mm of
      zero; programs write this for an unknown geometry, as in some segmentations of LiTS, nnU-Net issue 2751) and its
      shape equals the image's, it gets the image's affine, with a warning that names the file.
    - If the corners of the two grids differ by more than 0.5 mm, the case is refused. The order and direction of axes
      may differ, because `Orientationd` corrects them later; this transform goes before it.
    - If the liver's centre is left of the volume's middle and of the middle of its own extent, the case is refused:
      image and label map are mirrored, as in some copies of LiTS, and the network would learn that livers are on the
      left. All 33 cases on which the weights were trained and scored pass, whole or cut to a tenth of the liver's
      slices, and all are refused when mirrored. A patient with situs inversus (one in 10,000), for whom the network is
      not made, is refused, too.
    - If the centre is left of the volume's middle, but not of the middle of the liver's extent (which is unknown if the
      volume cuts the liver off), there is only a warning, because a crop can look like that.

    It is meant for training and evaluation, where a list says which label map belongs to which image. The image is the
    item `image`, a MetaTensor from `LoadVolumed` that may have been transformed since.

    Args:
        keys: label maps, MetaTensors (1, i, j, k) from `LoadVolumed` and `EnsureChannelFirstd`.

    Raises:
        BundleError: on call, an item is not a MetaTensor from `LoadVolumed`.
        InputError: on call, the label map is not on the image's grid, or both are mirrored.
    """

    def __init__(self, keys: KeysCollection) -> None:
        super().__init__(keys)
        self._warned: set[str] = set()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        shape, affine, image = _grid_as_read(d["image"])
        for key in self.key_iterator(d):
            own_shape, own_affine, label = _grid_as_read(d[key])
            distance = _corner_distance_mm(own_shape, own_affine, shape, affine)
            if distance > TOLERANCE_MM:
                if own_shape != shape or not is_placeholder(own_affine):
                    raise InputError(
                        f"{label} must be on the grid of its image {image}, but has shape {own_shape} instead of "
                        f"{shape} and corners up to {distance:.1f} mm away: save it on that grid."
                    )
                d[key] = _placed(d[key], affine)
                self._warn_once(f"{label} has a placeholder instead of an affine: the affine of {image} was used.")
            self._check_side(d[key], label)
        return d

    def _check_side(self, label: MetaTensor, file: str) -> None:
        """Refuse a liver on the patient's left, or warn if it may only be cropped; see the class for the rules."""
        volume_mm, extent_mm = _right_of_middle_mm(label)
        if volume_mm < 0 and extent_mm < 0:
            raise InputError(
                f"{file} must have the liver on the patient's right, but its centre is {-volume_mm:.0f} mm left of "
                "the middle and most of it is at its left end. Image and label map are mirrored, or the patient has "
                "situs inversus: correct the affines of both, or leave the case out of the data list."
            )
        if volume_mm < 0:
            self._warn_once(f"{file}: the liver is on the patient's left: check that the image is not mirrored.")

    def _warn_once(self, text: str) -> None:
        """Log a warning only once, since validation reads the same cases many times."""
        if text not in self._warned:
            self._warned.add(text)
            logger.warning(text)


def _grid_as_read(volume: Any) -> tuple[tuple[int, ...], np.ndarray, str]:
    """Shape (i, j, k), affine and file of a volume as `LoadVolumed` recorded them."""
    meta = volume.meta if isinstance(volume, MetaTensor) else {}
    needed = (MetaKeys.SPATIAL_SHAPE, MetaKeys.ORIGINAL_AFFINE, "filename_or_obj")
    if not all(key in meta for key in needed):
        raise BundleError("LabelOnImaged needs MetaTensors from LoadVolumed, got others: load image and label with it.")
    shape, affine, file = (meta[key] for key in needed)
    return tuple(int(size) for size in shape), np.asarray(affine, dtype=np.float64), str(file)


def _corners(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """The centres of a grid's eight corner voxels in patient coordinates, (8, 3), mm."""
    indices = np.array(np.meshgrid(*((0, size - 1) for size in shape))).reshape(3, -1)
    corners: np.ndarray = (affine[:3, :3] @ indices).T + affine[:3, 3]
    return corners


def _corner_distance_mm(
    shape: tuple[int, ...], affine: np.ndarray, other_shape: tuple[int, ...], other_affine: np.ndarray
) -> float:
    """The largest distance (mm) between a corner of one grid and the nearest corner of the other.

    The order and direction of the axes do not matter.
    """
    one, other = _corners(shape, affine), _corners(other_shape, other_affine)
    distances = np.linalg.norm(one[:, None] - other[None], axis=2)
    return float(max(distances.min(axis=1).max(), distances.min(axis=0).max()))


def _placed(label: MetaTensor, affine: np.ndarray) -> MetaTensor:
    """A copy of the label map with another affine."""
    placed = MetaTensor(label.as_tensor(), meta=dict(label.meta), applied_operations=list(label.applied_operations))
    placed.affine = torch.from_numpy(affine.copy())
    placed.meta[MetaKeys.ORIGINAL_AFFINE] = torch.from_numpy(affine.copy())
    return placed


def _right_of_middle_mm(label: MetaTensor) -> tuple[float, float]:
    """How far (mm) the organ's centre lies to the right of the volume's middle, and of the middle of its own extent.

    Distances to the left are negative. Both are NaN if no liver is labelled in the label map (1, i, j, k), and the
    second also if the volume cuts the organ off.
    """
    labels, to_right = label.as_tensor()[0], np.asarray(label.affine)[0, :3]  # RAS: x increases to the right
    if not (labels == LIVER).any():
        return np.nan, np.nan
    axis = int(np.abs(to_right).argmax())
    profile = (labels > 0).sum(dim=[other for other in range(3) if other != axis]).numpy()
    places, last = np.flatnonzero(profile), profile.size - 1
    extent = np.nan if places[0] == 0 or places[-1] == last else (places[0] + places[-1]) / 2
    centre = np.average(np.arange(profile.size), weights=profile)
    return float(to_right[axis] * (centre - last / 2)), float(to_right[axis] * (centre - extent))
