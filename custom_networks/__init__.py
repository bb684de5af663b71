"""Liver and liver tumor segmentation in abdominal CT: what the bundle's JSON cannot declare."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from custom_networks.segmentation import Segmentation, segment

__version__ = "0.1.0"
__all__ = ["Segmentation", "__version__", "segment"]


def __getattr__(name: str) -> Any:
    """Import `segment` and its result, and with them PyTorch and MONAI, only when somebody names them (PEP 562)."""
    if name not in ("Segmentation", "segment"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from custom_networks import segmentation

    return getattr(segmentation, name)
