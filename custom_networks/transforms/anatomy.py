"""The anatomy rules of `labelmap` as MONAI dictionary transforms, for the bundle's post-processing."""

from abc import abstractmethod
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import MapTransform

from custom_networks.errors import BundleError
from custom_networks.labelmap.confidence import Coefficients, check_coefficients
from custom_networks.labelmap.labels import Floats, Labels, Numbers, Probabilities
from custom_networks.labelmap.lesions import find_lesions
from custom_networks.labelmap.organ import fill_organ, keep_organ
from custom_networks.transforms.resample import with_meta_of

Data = Mapping[Hashable, Any]
Corrected = tuple[Labels, Data]


class _LabelMapTransform(MapTransform):
    """Base class of transforms that apply a rule of `labelmap` and keep metadata and recorded operations.

    Subclasses also have the arguments of their rule.

    Args:
        keys: label maps, MetaTensor (1, H, W, D).
        probability_key: liver and tumor probabilities x 255, (2, H, W, D) on the label map's grid, if the rule needs
            them.
        allow_missing_keys: skip missing keys instead of raising.

    Raises:
        BundleError: on call, a label map is not a MetaTensor (1, H, W, D), or the probabilities do not match it.
    """

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        """Data with a uint8 label map under each key and the rule's further items; the inputs are not modified."""
        d = dict(data)
        for key in self.key_iterator(d):
            label_map = d[key]
            if not isinstance(label_map, MetaTensor) or label_map.ndim != 4 or label_map.shape[0] != 1:
                raise BundleError(
                    f"{type(self).__name__} needs {key!r} as a MetaTensor (1, H, W, D), got {type(label_map).__name__}"
                    f" of shape {tuple(getattr(label_map, 'shape', ()))}: place it after LabelsOnInputGridd."
                )
            labels = label_map[0].cpu().numpy().astype(np.uint8, copy=False)
            affine = label_map.affine.cpu().numpy().astype(np.float64)
            corrected, more = self.corrected(labels, affine, d)
            d[key] = _like(label_map, corrected)
            d |= {name: _like(label_map, item) if isinstance(item, np.ndarray) else item for name, item in more.items()}
        return d

    @abstractmethod
    def corrected(self, labels: Labels, affine: Floats, data: Data) -> Corrected:
        """Apply the rule; return the label map (H, W, D) and further items for the data, with arrays on its grid."""


def _like(label_map: MetaTensor, values: Numbers) -> MetaTensor:
    """Values (H, W, D) as a MetaTensor (1, H, W, D) with the label map's metadata and recorded operations."""
    return with_meta_of(label_map, torch.from_numpy(values)[None])


def _probabilities(data: Data, key: str, labels: Labels) -> Probabilities:
    """Liver and tumor probabilities x 255, (2, H, W, D); BundleError if they are missing or have another shape."""
    probabilities = data.get(key)
    if probabilities is None or tuple(probabilities.shape) != (2, *labels.shape):
        raise BundleError(
            f"The anatomy rules need {key!r} as liver and tumor probabilities of shape {(2, *labels.shape)}, got "
            f"{tuple(getattr(probabilities, 'shape', ())) or probabilities}: set LabelsOnInputGridd's probability_key."
        )
    return np.asarray(probabilities.cpu() if isinstance(probabilities, torch.Tensor) else probabilities)


class KeepOrgand(_LabelMapTransform):
    """Dictionary version of `keep_organ`: removes small or distant parts, and small ones attached by a thin neck."""

    def __init__(
        self,
        keys: KeysCollection = "pred",
        min_part_ml: float = 50.0,
        gap_mm: float = 10.0,
        neck_mm: float = 8.0,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.limits = min_part_ml, gap_mm, neck_mm

    def corrected(self, labels: Labels, affine: Floats, data: Data) -> Corrected:
        """See `keep_organ`."""
        return keep_organ(labels, affine, *self.limits), {}


class FillOrgand(_LabelMapTransform):
    """Dictionary version of `fill_organ`: holes become tumor where that is more probable than liver, else liver."""

    def __init__(
        self,
        keys: KeysCollection = "pred",
        probability_key: str = "probabilities",
        max_hole_mm2: float = 100.0,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.probability_key = probability_key
        self.max_hole_mm2 = max_hole_mm2

    def corrected(self, labels: Labels, affine: Floats, data: Data) -> Corrected:
        """See `fill_organ`."""
        return fill_organ(labels, _probabilities(data, self.probability_key, labels), affine, self.max_hole_mm2), {}


class FindLesionsd(_LabelMapTransform):
    """Dictionary version of `find_lesions`: removes lesions that are outside the liver, too small or doubtful.

    It adds a map of lesion numbers and the lesions (a tuple of `FoundLesion`), from which reports and DICOM results are
    made. The map is a MetaTensor (1, H, W, D), uint8 for up to 255 lesions, else int32; number 1 is the largest lesion.
    It has the recorded operations of the label map, so that stock `Invertd` brings it to the file's grid.

    Args:
        number_key: key of the map of lesion numbers.
        lesion_key: key of the tuple of lesions.
        confidence_coefficients: coefficients for `lesion_confidence`; if None, the confidence is the mean tumor
            probability.

    Raises:
        UsageError: a coefficient is unknown.
    """

    def __init__(
        self,
        keys: KeysCollection = "pred",
        probability_key: str = "probabilities",
        number_key: str = "lesion_numbers",
        lesion_key: str = "lesions",
        capsule_mm: float = 10.0,
        min_lesion_mm3: float = 30.0,
        min_lesion_confidence: float = 0.3,
        confidence_coefficients: Coefficients | None = None,
        min_lesion_height_mm: float = 0.0,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.probability_key, self.number_key, self.lesion_key = probability_key, number_key, lesion_key
        coefficients = check_coefficients(confidence_coefficients)
        self.limits = capsule_mm, min_lesion_mm3, min_lesion_confidence, coefficients, min_lesion_height_mm

    def corrected(self, labels: Labels, affine: Floats, data: Data) -> Corrected:
        """See `find_lesions`."""
        probabilities = _probabilities(data, self.probability_key, labels)
        cleaned, lesions = find_lesions(labels, probabilities, affine, *self.limits)
        return cleaned, {self.number_key: lesions.number_map(labels.shape), self.lesion_key: lesions.listed()}
