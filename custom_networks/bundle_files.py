"""Find the bundle (in a checkout, beside the installed package, or around a packed one), its config and weights."""

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
    """A string for a bundle's config that is read back as `text`, whatever characters it has.

    (In every string, MONAI changes "#" to "::", treats "$" at the start as Python, and "@" as a reference.)
    """
    plain = ascii(text)
    return "$" + plain.replace("#", r"\x23").replace("@", r"\x40")


def bundle_root(given: str | None = None) -> Path:
    """The bundle's folder: the `given` one, or the one that belongs to this package.

    Raises:
        BundleError: there is no folder with configs/inference.json.
    """
    package = Path(__file__).resolve().parent
    usual = [package.parent / "bundle", package.parent / INSTALLED_NAME, package.parent]
    places = [Path(given).expanduser().resolve()] if given else usual
    for place in places:
        if (place / "configs" / "inference.json").is_file():
            return place
    raise BundleError(
        f"No bundle with configs/inference.json in {' or '.join(map(str, places))}: install the package again, "
        "or give the bundle's folder by --bundle."
    )


def bundle_version() -> str:
    """Version of the bundle and of its code, from the bundle's metadata.json, the only place that states it.

    Raises:
        BundleError: there is no bundle, or no version in it.
    """
    root = bundle_root()
    if not (version := metadata(root).get("version")):
        raise BundleError(f"{root / 'configs' / 'metadata.json'} states no version: install the bundle again.")
    return str(version)


def metadata(root: Path) -> dict[str, Any]:
    """What the metadata.json of the bundle in `root` holds.

    Raises:
        BundleError: it is missing or not a JSON object.
    """
    path = root / "configs" / "metadata.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise BundleError(f"{path} cannot be read ({error!r}): install the bundle again.") from error


def read_config(root: Path, overrides: Mapping[str, Any] | None = None) -> "ConfigParser":
    """The parser of a bundle's inference.json, with `overrides` by id; objects are built when they are requested.

    Raises:
        BundleError: the file cannot be read.
        UsageError: an override names an id that does not exist.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI 1.6 announces that a bundle's config is code; this one is installed
        from monai.bundle import ConfigParser

        parser = ConfigParser()
        try:
            parser.read_config(str(root / "configs" / "inference.json"))
        except Exception as error:  # JSON, MONAI and Python have no common error for an unreadable config
            raise unusable(root, error) from error
    unknown = [name for name in overrides or {} if name.partition("#")[0] not in parser]
    if unknown:
        raise UsageError(f"inference.json has no {', '.join(unknown)}: correct the overrides.")
    try:
        parser.update({"bundle_root": config_text(str(root)), **(overrides or {})})
    except Exception as error:  # as above, for a missing part of an id
        raise unusable(root, error, overrides) from error
    return parser


def unusable(root: Path, error: Exception, overrides: Mapping[str, Any] | None = None) -> LiversegError:
    """The error of a bundle whose config cannot be read, or not be built with the user's `overrides`."""
    if overrides:
        named = ", ".join(overrides)
        return UsageError(
            f"The bundle cannot be built with {named} as given ({one_line(repr(error), 300)}): correct it."
        )
    return BundleError(f"{root} does not hold a working bundle ({one_line(repr(error), 300)}): install it again.")


def operating_point(parser: "ConfigParser") -> dict[str, float]:
    """The numbers of the anatomy rules in a parsed inference.json, by name."""
    steps, content = parser["anatomy"], parser.get_parsed_content
    named = {name: content(f"anatomy#{i}#{name}") for i, step in enumerate(steps) for name in step}
    return {name: v for name, v in named.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}


def weights_path(parser: "ConfigParser", checkpoint: str | Path | None = None) -> Path:
    """The file of weights: `checkpoint`, or else the one that the config names.

    Raises:
        BundleError: there is no such file.
    """
    path = Path(checkpoint or str(parser.get_parsed_content("checkpoint"))).expanduser()
    if not path.is_file():
        raise BundleError(f"No weights at {path}: fetch or train them, or give others by --checkpoint.")
    return path


def bundle_network(root: Path, checkpoint: str | Path | None = None) -> "nn.Module":
    """The network of a bundle's inference.json, with its weights or others, on the CPU, in evaluation mode.

    Raises:
        BundleError: the bundle cannot be read, or its weights are missing or not those of the network.
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
