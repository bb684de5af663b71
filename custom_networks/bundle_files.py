"""Where the bundle lies: in a checkout, beside the installed package, or around a packed one."""

import json
from pathlib import Path

from custom_networks.errors import BundleError

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
