"""3D networks of other projects, rebuilt with random weights or run from their own files."""

import importlib.util
import os
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tests.benchmarks.cost.contestants import Setting, Skipped, Windowed
from tests.benchmarks.cost.networks import Forward, Shape, counted, parameters
from tests.benchmarks.cost.volumes import Scan, write_scan

PEER_WEIGHTS = "pyliverlesionseg/trained_models"


class Peer(Windowed):
    """A 3D network in overlapping windows, stitched by MONAI's SlidingWindowInferer.

    Args:
        build: makes the network.
        spacing: spacing of its grid, mm; empty for that of the scan.
        roi: side of a window, voxels.
        overlap: overlap of neighbouring windows, as a fraction of `roi`.
        mode: how windows are blended, "constant" or "gaussian".
    """

    def __init__(
        self,
        setting: Setting,
        runtime: str,
        precision: str,
        build: Callable[[], nn.Module],
        spacing: tuple[float, ...],
        roi: int,
        overlap: float,
        mode: str = "gaussian",
    ) -> None:
        super().__init__(setting, runtime, precision)
        self.build, self.spacing, self.overlap, self.mode = build, spacing, overlap, mode
        self.roi = setting.side or roi

    def network(self) -> nn.Module:
        """See `Windowed.network`."""
        return self.build()

    def shapes(self) -> Sequence[Shape]:
        """See `Windowed.shapes`."""
        return [(1, 1, self.roi, self.roi, self.roi)]

    def pass_over(self, predict: Forward) -> int:
        """Load the scan, resample it as MONAI's bundles do, and run the sliding window."""
        from monai.inferers import SlidingWindowInferer
        from monai.transforms import LoadImage, Spacing

        path = write_scan(self.setting.scan, self.setting.folder)
        image = LoadImage(image_only=True, ensure_channel_first=True, reader="NibabelReader")(str(path))
        if self.spacing:
            image = Spacing(self.spacing, mode="bilinear", dtype=torch.float32)(image)
        volume = image.as_tensor()[None].float()
        del image
        inferer = SlidingWindowInferer([self.roi] * 3, 1, self.overlap, self.mode, padding_mode="replicate")
        with torch.inference_mode():
            inferer(volume, predict).argmax(1)
        return volume.numel()

    def cost(self) -> dict[str, Any]:
        """See `Contestant.cost`; includes the windows of longer scans."""
        at = {str(n): self.windows_of(self.setting.scan.of_length(n)) for n in self.setting.lengths}
        return {**super().cost(), "windows_at": at}

    def windows_of(self, scan: Scan) -> int:
        """The number of windows of a scan."""
        from monai.data.utils import dense_patch_slices

        spacing = self.spacing or scan.spacing
        sizes = [round((n - 1) * mm / target + 1) for n, mm, target in zip(scan.shape, scan.spacing, spacing)]
        interval = max(1, int(self.roi * (1 - self.overlap)))
        return len(dense_patch_slices([max(n, self.roi) for n in sizes], [self.roi] * 3, [interval] * 3))


class KuLeuven(Windowed):
    """The liver and lesion networks of pyliverlesionseg; lesions are searched for in the phantom's true liver."""

    def network(self) -> nn.Module:
        """Only its weights, because the layers are functions of the script."""
        weights = [*self.script.WL.values(), *self.script.WT.values()]
        return nn.ParameterList([nn.Parameter(tensor) for pair in weights for tensor in pair])

    def shapes(self) -> Sequence[Shape]:
        """None in advance; the script determines them."""
        return []

    def prepare(self) -> None:
        """Find the script and the package's weights."""
        if self.setting.side:
            raise Skipped("its windows have one size, which is too large for a trial")
        self.script = _peer_script()
        self.script.open_models(str(_peer_weights()))
        self.layers = {"liver": self.script.liver_net, "lesion": self.script.lesion_net}
        self.of_shape: dict[Shape, str] = {}
        super().prepare()

    def forward_of(self, shape: Shape) -> Forward:
        """See `Windowed.forward_of`."""
        return self.layers[self.of_shape[shape]]  # type: ignore[no-any-return]

    def pass_over(self, predict: Forward) -> int:
        """Run the script's own loop over the scan."""
        import nibabel as nib

        for name in self.layers:
            setattr(self.script, f"{name}_net", self._noting(name, predict))
        path = write_scan(self.setting.scan, self.setting.folder)
        ct = nib.as_closest_canonical(nib.load(path))
        truth = nib.as_closest_canonical(nib.load(path.with_name(f"{self.setting.scan.name}_label.nii.gz")))
        voxels, spacing = ct.get_fdata(dtype=np.float32), ct.header.get_zooms()[:3]
        self.script.seg_liver(voxels, spacing)
        self.script.seg_lesion(voxels, spacing, np.asarray(truth.dataobj) > 0)
        return int(prod(n * mm / target for n, mm, target in zip(ct.shape, spacing, self.script.VT)))

    def _noting(self, name: str, predict: Forward) -> Forward:
        def predict_noted(x: Tensor) -> Tensor:
            self.of_shape[tuple(x.shape)] = name
            return predict(x)

        return predict_noted

    def cost(self) -> dict[str, Any]:
        """See `Contestant.cost`."""
        size = parameters(self.network())
        for weights in (self.script.WL, self.script.WT):
            weights.update({i: tuple(tensor.to("meta") for tensor in pair) for i, pair in weights.items()})
        windows = self.windows.items()
        total = sum(n * counted(self.forwards[shape], torch.empty(shape, device="meta")) for shape, n in windows)
        return {"parameters": size, "flop": total, "labelled": self.labelled, "windows": self.windows.total()}


def _peer_script() -> ModuleType:
    shared = os.environ.get("LIVERSEG_SHARED") or Path(__file__).resolve().parents[4] / "shared"
    path = Path(shared) / "peers" / "ku_leuven.py"
    if not path.is_file():
        raise Skipped(f"no {path.name}: LIVERSEG_SHARED names the folder that has it in peers/")
    if importlib.util.find_spec("h5py") is None:
        raise Skipped("h5py is not installed")
    spec = importlib.util.spec_from_file_location("ku_leuven", path)
    if spec is None or spec.loader is None:
        raise Skipped(f"{path.name} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _peer_weights() -> Path:
    folder = Path(os.environ.get("LIVERSEG_PEERS") or Path.home() / ".cache" / "liverseg" / "peers") / PEER_WEIGHTS
    if not any(folder.glob("*.hdf5")):
        raise Skipped(f"no weights: unpack the wheel pyliverlesionseg 0.3 into {folder.parents[1].name}/ (see below)")
    return folder
