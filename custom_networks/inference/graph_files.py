"""OpenVINO graphs on disk: one zip archive each, named by the architecture and used only if its hash is correct."""

import hashlib
import json
import logging
import os
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from custom_networks.errors import one_line
from custom_networks.files import atomic_write

logger = logging.getLogger(__name__)

_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Graph:
    """OpenVINO's intermediate representation of an architecture.

    Attributes:
        xml: content of the .xml file.
        weights: content of the .bin file, which has only the graph's own constants, not the weights of a network.
        checked: pairs (state digest, version of OpenVINO) for which the graph was compared with PyTorch.
    """

    xml: bytes
    weights: bytes
    checked: frozenset[tuple[str, str]] = field(default_factory=frozenset)


def cache_folder(version: str) -> Path | None:
    """Folder for converted networks in the user's cache, by version of OpenVINO; None if there is no home folder."""
    try:
        home = Path.home()
    except RuntimeError:
        return None
    usual = {"darwin": home / "Library" / "Caches", "win32": home / "AppData" / "Local"}.get(
        sys.platform, home / ".cache"
    )
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))  # the XDG standard says to ignore relative paths
    return (named if named.is_absolute() else usual) / "liverseg" / "openvino" / version.partition("-")[0]


def read_graph(folder: Path | None, key: str) -> Graph | None:
    """The graph of an architecture in a folder; None if it is missing or damaged."""
    if folder is None:
        return None
    path = folder / f"{key}.zip"
    try:
        if not path.is_file():
            return None
        with zipfile.ZipFile(path) as archive:
            xml, weights = archive.read("graph.xml"), archive.read("graph.bin")
            about = json.loads(archive.read("about.json"))
        if about["sha256"] == _sha256(xml, weights) and about["architecture"] == key:
            return Graph(xml, weights, frozenset(map(tuple, about["checked"])))
        reason: object = "its hash is wrong"
    except Exception as error:  # zip, JSON and file system have no common error for a damaged file
        reason = error
    logger.info("%s is damaged and is not used: %s", path, one_line(reason))
    return None


def write_graph(folder: Path | None, key: str, model: Any, checked: Iterable[tuple[str, str]] = ()) -> None:
    """Save the graph of an `openvino.Model` for later processes, unless `folder` is None; a failure is only logged."""
    if folder is None:
        return
    try:
        xml, weights = _serialised(model)
        about = {"architecture": key, "sha256": _sha256(xml, weights), "checked": sorted(checked)}
        contents = {"about.json": json.dumps(about).encode(), "graph.xml": xml, "graph.bin": weights}
        with atomic_write(folder / f"{key}.zip") as temporary, zipfile.ZipFile(temporary, "w") as archive:
            for name, content in contents.items():
                entry = zipfile.ZipInfo(name, _EPOCH)
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, content)
    except (OSError, RuntimeError) as error:  # OpenVINO raises RuntimeError if the temporary folder is not writable
        logger.info("The converted network could not be saved in %s: %s", folder, one_line(error))


def _serialised(model: Any) -> tuple[bytes, bytes]:
    """The contents of the .xml and .bin files of an `openvino.Model`."""
    from openvino import save_model

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.xml"
        save_model(model, path, compress_to_fp16=False)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()


def _sha256(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()
