"""Lets a torchvision that was built for CUDA be imported beside a CPU build of PyTorch, where no other is to be had.

Its compiled library does not load there, and two operators that its import describes are missing. MONAI Label needs
neither, but imports torchvision to draw grids of pictures. `make test-monailabel` puts this on the path of its
environment, with a .pth file that imports it, only if torchvision cannot be imported as it is.
"""

import sys
from importlib.abc import MetaPathFinder
from types import ModuleType

NMS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


class DeclareOperators(MetaPathFinder):
    """Declares the operators just before torchvision is imported, and finds nothing itself."""

    def find_spec(self, fullname: str, path: object = None, target: ModuleType | None = None) -> None:
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            import torch

            for name in ("nms", "qnms"):
                torch.library.define(f"torchvision::{name}", NMS)


sys.meta_path.insert(0, DeclareOperators())
