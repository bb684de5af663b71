"""Collect the contents of a packed bundle: configs, weights, documentation, and the code that the configs name."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote, urlparse

from custom_networks.errors import BundleError, UsageError

PACKAGE = "custom_networks"
LARGEST_IN_GIT = 1024 * 1024  # bytes; the model zoo's pre-commit check refuses larger files

_CODE = ("*.py", "graphs/*.zip")  # modules, and the network's graphs for OpenVINO
_FILES = ("LICENSE", "configs/*.json", "configs/*.conf", "docs/*")
_NAMED_PART = re.compile(rf"\b{PACKAGE}\.(\w+)")
_IMPORTED_PART = re.compile(rf"^\s*(?:from|import) {PACKAGE}\.(\w+)", re.MULTILINE)
_NAMED_WEIGHTS = re.compile(r"/(models/[\w./-]+\.(?:pt|ts))'")
# The Python interface imports everything else; a packed bundle, which MONAI runs, does not need it.
_NEEDS_THE_PACKAGE = ("api",)


def bundle_contents(root: Path, package: Path) -> dict[str, bytes]:
    """The content of each file of the packed bundle, by its path within the bundle.

    It includes licence, configs, documentation, the weights that inference.json names, the parts of the code that the
    configs name, and whatever these parts import. Other files in the folder, such as notebooks, are left out.

    Args:
        root: the bundle's folder.
        package: the folder of the code.

    Raises:
        BundleError: weights that inference.json names are missing, or a config names code that does not exist.
    """
    found = (path for pattern in _FILES for path in root.glob(pattern))
    files = (path for path in found if path.is_file() and not path.name.startswith("."))
    visible = {path.relative_to(root).as_posix(): path for path in files}
    configs = [path.read_text(encoding="utf-8") for name, path in visible.items() if name.endswith(".json")]
    inference = (root / "configs" / "inference.json").read_text(encoding="utf-8")
    for name in _NAMED_WEIGHTS.findall(inference):
        if not (root / name).is_file():
            raise BundleError(f"No weights at {root / name}, which inference.json names: fetch or train them first.")
        visible[name] = root / name
    parts = {part for text in configs for part in _NAMED_PART.findall(text)}
    for path in _code(package, parts):
        visible[f"{PACKAGE}/{path.relative_to(package).as_posix()}"] = path
    return {name: visible[name].read_bytes() for name in sorted(visible)}


def _code(package: Path, parts: Iterable[str]) -> list[Path]:
    """Paths of the package's __init__.py, of all files in the named parts, and of whatever these import.

    The parts in `_NEEDS_THE_PACKAGE` are left out, even if they are named or imported.
    """
    wanted = ["__init__", *parts]
    found: dict[str, list[Path]] = {part: [] for part in _NEEDS_THE_PACKAGE}
    while wanted:
        part = wanted.pop()
        if part not in found:
            found[part] = _modules(package, part)
            modules = [path for path in found[part] if path.suffix == ".py"]
            wanted += [name for path in modules for name in _IMPORTED_PART.findall(path.read_text("utf-8"))]
    return [path for paths in found.values() for path in paths]


def _modules(package: Path, part: str) -> list[Path]:
    """Paths of the files that make up a part of the package: a module, or a subpackage with the graphs it reads.

    Raises:
        BundleError: the package has no such part.
    """
    if (package / f"{part}.py").is_file():
        return [package / f"{part}.py"]
    files = [path for pattern in _CODE for path in sorted((package / part).rglob(pattern))]
    if not any(path.suffix == ".py" for path in files):
        raise BundleError(f"{PACKAGE}.{part} is named by the bundle but is not in {package}: correct the config.")
    return files


def without_large_files(contents: Mapping[str, bytes], url: str) -> dict[str, bytes]:
    """The contents with large_files.yml in place of files over 1 MiB, which the model zoo's repository does not accept.

    If there are no such files, the contents stay the same, without large_files.yml.

    Args:
        contents: result of `bundle_contents`.
        url: address of the only large file; or, ending in "/", of a folder that has all large files at their paths
            within the bundle.

    Raises:
        UsageError: `url` is not an http(s) address, or is the address of one file although there are several.
    """
    if urlparse(url).scheme not in ("http", "https") or not urlparse(url).netloc:
        raise UsageError(f"--weights-url must be an http or https address, got {url!r}.")
    large = {name: content for name, content in contents.items() if len(content) > LARGEST_IN_GIT}
    if not large:
        return dict(contents)
    if len(large) > 1 and not url.endswith("/"):
        raise UsageError(f"{len(large)} files are left out ({', '.join(large)}): use a --weights-url that ends in /.")
    kept = {name: content for name, content in contents.items() if name not in large}
    kept["large_files.yml"] = _large_files_yml(large, url).encode()
    return dict(sorted(kept.items()))


def _large_files_yml(large: Mapping[str, bytes], url: str) -> str:
    """The zoo's list of files to download; sizes are comments, because MONAI passes all keys to its download_url."""
    lines = ["large_files:"]
    for name, content in large.items():
        address = url + quote(name) if url.endswith("/") else url
        lines += [
            f"- path: {json.dumps(name)}  # {len(content)} bytes",
            f"  url: {json.dumps(address)}",
            f'  hash_val: "{hashlib.sha256(content).hexdigest()}"',
            '  hash_type: "sha256"',
        ]
    return "\n".join(lines) + "\n"
