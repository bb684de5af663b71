"""Check an unpacked bundle; run as a script, in a process that has not imported this package."""

import sys
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from pydoc import locate
from typing import Any


def check_bundle(bundle: Path, package: str) -> None:
    """Import all code in a bundle's folder `package`, look up what the configs name there, and load the weights.

    Raises:
        ImportError: the imported code is not the bundle's, or a module or name is missing.
        BundleError: the weights are missing, damaged or not for the network.
    """
    sys.path.insert(0, str(bundle))
    code = import_module(package)
    if Path(str(code.__file__)).resolve().parent != bundle / package:
        raise ImportError(f"{code.__file__} was imported instead of the bundle's own {package}")
    for module in walk_packages(code.__path__, f"{package}."):
        import_module(module.name)
    from monai.bundle import ConfigParser

    for path in sorted((bundle / "configs").glob("*.json")):
        for name in sorted(targets(ConfigParser.load_config_file(path))):
            if name.startswith(f"{package}.") and locate(name) is None:
                raise ImportError(f"{path.name} names {name}, which is not packed")
    from custom_networks.bundle_files import bundle_network

    bundle_network(bundle)


def targets(node: Any) -> set[str]:
    """The values of all `_target_` keys in a config, at any depth."""
    inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    own = {str(node["_target_"])} if isinstance(node, dict) and "_target_" in node else set()
    return own.union(*(targets(value) for value in inner))


if __name__ == "__main__":
    check_bundle(Path(sys.argv[1]), sys.argv[2])
