"""Find the bundle that belongs to this package, and read its config and weights."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from custom_networks.errors import BundleError, LiversegError, UsageError, one_line

if TYPE_CHECKING:
    from monai.bundle import ConfigParser
    from torch import nn

INSTALLED_NAME = "liver_tumor_ct_25d"


def config_text(text: str) -> str:
    """Escape `text` so that a bundle's config reads it back unchanged.

    In every string, MONAI changes "#" to "::" and treats "$" at the start as Python and "@" as a reference.
    """
    plain = ascii(text)
    return "$" + plain.replace("#", r"\x23").replace("@", r"\x40")


def bundle_root(given: str | None = None) -> Path:
    """The bundle's folder: `given`, or else the one in the checkout, beside the package or around a packed package.

    Raises:
        BundleError: there is no folder with configs/inference.json.
    """
    package = Path(__file__).resolve().parent
    usual = [package.parent / "bundle", package.parent / INSTALLED_NAME, package.parent]
    places = [Path(given).expanduser().resolve()] if given else usual
    for place in places:
        if (place / "configs" / "inference.json").is_file():
            return place
    advice = "give the folder that contains configs" if given else "install the package again"
    raise BundleError(f"No bundle with configs/inference.json in {' or '.join(map(str, places))}: {advice}.")


def bundle_version() -> str:
    """Version of the bundle and of its code, from the bundle's metadata.json.

    Raises:
        BundleError: the bundle is missing, or its metadata.json cannot be read or has no version.
    """
    root = bundle_root()
    if not (version := metadata(root).get("version")):
        raise BundleError(f"{root / 'configs' / 'metadata.json'} has no version: install the bundle again.")
    return str(version)


def metadata(root: Path) -> dict[str, Any]:
    """The contents of metadata.json of the bundle in `root`.

    Raises:
        BundleError: it is missing or not a JSON object.
    """
    path = root / "configs" / "metadata.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise BundleError(f"{path} cannot be read ({error!r}): install the bundle again.") from error


def read_config(root: Path, overrides: Mapping[str, Any] | None = None) -> "ConfigParser":
    """Read a bundle's inference.json, and apply `overrides`, which map ids to values.

    Returns:
        A parser with the bundle's folder as `bundle_root`; it builds objects on request.

    Raises:
        BundleError: the file cannot be read.
        UsageError: an override names an id that does not exist, or cannot be applied.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI 1.6 warns that configs can run code; this one is installed code
        from monai.bundle import ConfigParser

        parser = ConfigParser()
        try:
            parser.read_config(str(root / "configs" / "inference.json"))
        except Exception as error:  # JSON, MONAI and Python have no common error for an unreadable config
            raise unusable(root, error) from error
    unknown = [name for name in overrides or {} if name.partition("#")[0] not in parser]
    if unknown:
        raise UsageError(f"Overrides must name ids of inference.json, which has no {', '.join(unknown)}: correct them.")
    try:
        parser.update({"bundle_root": config_text(str(root)), **(overrides or {})})
    except Exception as error:  # as above, for a missing part of an id
        raise unusable(root, error, overrides) from error
    return parser


def unusable(root: Path, error: Exception, overrides: Mapping[str, Any] | None = None) -> LiversegError:
    """The error for a config that cannot be read or built: UsageError if there are `overrides`, else BundleError."""
    if overrides:
        named = ", ".join(overrides)
        return UsageError(
            f"The bundle cannot be built with the given {named} ({one_line(repr(error), 300)}): correct or omit them."
        )
    return BundleError(f"{root} does not contain a working bundle ({one_line(repr(error), 300)}): install it again.")


def operating_point(parser: "ConfigParser") -> dict[str, float]:
    """The numeric parameters of the anatomy rules in a parsed inference.json, by name."""
    steps, content = parser["anatomy"], parser.get_parsed_content
    named = {name: content(f"anatomy#{i}#{name}") for i, step in enumerate(steps) for name in step}
    return {name: v for name, v in named.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}


def weights_path(parser: "ConfigParser", checkpoint: str | Path | None = None) -> Path:
    """Path of the weights: `checkpoint` if given, else the file named in the config.

    Raises:
        BundleError: there is no such file.
    """
    path = Path(checkpoint or str(parser.get_parsed_content("checkpoint"))).expanduser()
    if not path.is_file():
        raise BundleError(f"No weights at {path}: fetch or train them, or use others with --checkpoint.")
    return path


def bundle_network(root: Path, checkpoint: str | Path | None = None) -> "nn.Module":
    """Build the network of a bundle's inference.json and load its weights, or those in `checkpoint`.

    Returns:
        The network on the CPU, in evaluation mode.

    Raises:
        BundleError: the bundle cannot be read, or the weights are missing or not for this network.
    """
    from custom_networks.inference.weights import load_weights

    parser = read_config(root)
    path = weights_path(parser, checkpoint)
    try:
        network: nn.Module = parser.get_parsed_content("network_def")
    except Exception as error:  # as in read_config
        raise unusable(root, error) from error
    load_weights(network, path)
    return network.eval()
