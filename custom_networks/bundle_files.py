"""Where the bundle lies: in a checkout, beside the installed package, or around a packed one."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from custom_networks.errors import BundleError, one_line

if TYPE_CHECKING:
    from torch import nn

INSTALLED_NAME = "liver_tumor_ct_25d"


def config_text(text: str) -> str:
    """The string of a bundle's config that is read back as `text`, whatever it holds.

    (MONAI turns "#" into "::" in every string, "$" at its start into Python, and "@" into a reference.)
    """
    plain = ascii(text)
    return "$" + plain.replace("#", r"\x23").replace("@", r"\x40")


def bundle_root(given: str | None = None) -> Path:
    """The bundle's folder: the `given` one, or the one that belongs to this package.

    Raises:
        BundleError: if no folder with configs/inference.json is found there.
    """
    package = Path(__file__).resolve().parent
    usual = [package.parent / "bundle", package.parent / INSTALLED_NAME, package.parent]
    places = [Path(given).expanduser().resolve()] if given else usual
    for place in places:
        if (place / "configs" / "inference.json").is_file():
            return place
    raise BundleError(
        f"No bundle with configs/inference.json in {' or '.join(map(str, places))}: install the package again, "
        "or name the bundle's folder by --bundle."
    )


def bundle_version() -> str:
    """Version of the bundle and of its code, from the bundle's metadata.json: the one place that states it.

    Raises:
        BundleError: if there is no bundle, or no version in it.
    """
    path = bundle_root() / "configs" / "metadata.json"
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["version"])
    except (OSError, ValueError, KeyError) as error:
        raise BundleError(f"{path} states no version ({error!r}): install the bundle again.") from error


def check_weights_exist(path: Path) -> None:
    """Raise BundleError if there is no file of weights at `path`."""
    if not path.is_file():
        raise BundleError(f"No weights at {path}: fetch or train them, or name others by --checkpoint.")


def bundle_network(root: Path, checkpoint: str | Path | None = None) -> "nn.Module":
    """The network that a bundle's inference.json declares, with its weights, on the CPU, ready to infer.

    Args:
        root: the bundle's folder.
        checkpoint: other weights than those that inference.json names: a state dict.

    Raises:
        BundleError: if the bundle cannot be read, or its weights are missing or not those of the network.
    """
    import torch
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    try:
        parser.read_config(str(root / "configs" / "inference.json"))
        parser["bundle_root"] = config_text(str(root))
        network: Any = parser.get_parsed_content("network_def")
        path = Path(checkpoint or parser.get_parsed_content("checkpoint")).expanduser()
    except Exception as error:  # JSON, MONAI and Python each have their own for a config that cannot be read
        raise BundleError(f"{root} holds no bundle that can be run ({error!r}): install it again.") from error
    check_weights_exist(path)
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # PyTorch, pickle and zip each have their own
        raise BundleError(f"{path} holds no weights of this network ({one_line(error, 200)}).") from error
    ready: nn.Module = network.eval()
    return ready
