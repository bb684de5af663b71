"""Makes a torchvision built for CUDA importable with a CPU build of PyTorch, if no other torchvision is available.

Its compiled library does not load there, and two operators that its import describes are missing. MONAI Label needs
neither, but imports torchvision to draw grids of pictures. `make test-monailabel` puts this on the path of its
environment, with a .pth file that imports it, only if torchvision cannot be imported otherwise.
"""

import sys
from importlib.abc import MetaPathFinder
from types import ModuleType

NMS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


class DeclareOperators(MetaPathFinder):
    """An import hook that declares the operators just before torchvision is imported, and finds no modules."""

    def find_spec(self, fullname: str, path: object = None, target: ModuleType | None = None) -> None:
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            import torch

            for name in ("nms", "qnms"):
                torch.library.define(f"torchvision::{name}", NMS)


sys.meta_path.insert(0, DeclareOperators())
