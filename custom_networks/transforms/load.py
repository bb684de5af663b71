"""This package's strict readers as a MONAI dictionary transform, for the bundle's configs and for MONAI Label."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from monai.transforms.io.dictionary import LoadImaged
from monai.transforms.transform import MapTransform
from monai.utils.enums import MetaKeys, PostFix, SpaceKeys
from monai.utils.misc import ensure_tuple, ensure_tuple_rep

from custom_networks.errors import InputError, UsageError
from custom_networks.io import Volume, read_label_map, read_segment_map, read_volume

READERS = {"image": read_volume, "label": read_label_map, "segments": read_segment_map}


class LoadVolumed(LoadImaged):
    """Load the items under `keys` (a path, a `Case`, or a `Volume` that was already read) with this package's readers.

    Each becomes a MetaTensor (i, j, k) without a channel, of the reader's type (int16, int32 or float32 HU; uint8
    labels), with a float64 affine in RAS mm. The meta dictionary has the items that `SaveImaged` and `Invertd` need,
    and `notes`, the reader's notes, one per line. Follow it with `EnsureChannelFirstd(channel_dim="no_channel")`.

    MONAI's `LoadImaged` tries all registered readers in turn until one succeeds, whereas here a refusal by this
    package's reader is final. This is a subclass because MONAI Label looks for `LoadImaged` and sets
    `_loader.image_only` to False.

    Raises:
        UsageError: `kind` is not "image", "label" or "segments".
        InputError: on call, a volume cannot be read; a MONAI `Compose` raises it as the cause of a RuntimeError.

    Example::

        {"_target_": "custom_networks.transforms.LoadVolumed", "keys": "label", "kind": "label"}
    """

    def __init__(
        self, keys: Any, kind: Literal["image", "label", "segments"] = "image", allow_missing_keys: bool = False
    ) -> None:
        if kind not in READERS:
            raise UsageError(f"LoadVolumed's kind must be 'image', 'label' or 'segments', got {kind!r}: correct it.")
        # LoadImaged.__init__ would build all of MONAI's readers, with a warning for each missing decoder.
        MapTransform.__init__(self, keys, allow_missing_keys)
        self._loader = _VolumeLoader(kind)  # type: ignore[assignment]
        self.meta_keys = ensure_tuple_rep(None, len(self.keys))
        self.meta_key_postfix = ensure_tuple_rep(PostFix.meta(), len(self.keys))
        self.overwriting = False

    def register(self, reader: Any) -> None:
        """Refuse a second reader with a UsageError."""
        raise UsageError(f"LoadVolumed accepts no other readers, got {reader!r}: use MONAI's LoadImaged instead.")


class _VolumeLoader:
    """Replaces MONAI's `LoadImage`; `LoadImaged.__call__` calls it for each item."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.image_only = True

    def __call__(self, path: Any, reader: None = None) -> Any:
        """One path, case or volume as a MetaTensor; unless `image_only`, a tuple of MetaTensor and meta dictionary."""
        given = ensure_tuple(path)
        if len(given) != 1:
            raise InputError(f"One path per case is needed, got {len(given)}: pass each volume as a separate case.")
        volume = given[0]
        if isinstance(volume, (str, Path)):
            volume = READERS[self.kind](Path(volume).expanduser())
        elif not isinstance(volume, Volume):
            volume = volume.read()  # a Case, or anything else with such a method
        affine = torch.from_numpy(volume.affine.copy())  # a copy: the caller's volume must not change
        meta = {
            MetaKeys.AFFINE: affine,
            MetaKeys.ORIGINAL_AFFINE: affine.clone(),
            MetaKeys.SPATIAL_SHAPE: np.array(volume.array.shape),
            MetaKeys.SPACE: SpaceKeys.RAS,
            MetaKeys.ORIGINAL_CHANNEL_DIM: float("nan"),  # MONAI's marker for "no channel"
            "filename_or_obj": str(volume.source),
            "notes": "\n".join(volume.notes),  # one string: a tuple does not survive collating
        }
        image = MetaTensor(torch.from_numpy(volume.array), meta=meta)
        return image if self.image_only else (image, image.meta)
