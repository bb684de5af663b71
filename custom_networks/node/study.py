"""A study in the spool: its images and its versions.

    <spool>/studies/<study>/images/<image>.dcm     named by digests of their UIDs, never by text from a peer
    <spool>/studies/<study>/<n>.json               the record of version n: its state and its images

Records are replaced atomically. If images arrive after a version was closed, the next version consists of all images of
the study.
"""

import json
import logging
import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from custom_networks.files import flush_folder, write_text
from custom_networks.node.log import record

WAITING, DONE, HELD, REFUSED = "waiting", "done", "held", "refused"
STATES = (WAITING, DONE, HELD, REFUSED)
_RECORD = re.compile(r"([1-9]\d{0,8})\.json")


def key_of(uid: str) -> str:
    """Return the name of a study or an image on disk: 32 hexadecimal digits of its UID's SHA-256."""
    return sha256(uid.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Version:
    """A set of images of a study that is segmented as one case.

    Attributes:
        number: version number, from 1.
        state: one of `STATES`.
        images: file names of its images.
        closed: when the study was considered complete, in seconds since 1970.
        attempts: how often segmentation was started.
        message: why the version was refused or held, in one sentence.
        files: names of the DICOM results in the version's output folder, in the order in which they are sent.
        unsent: destinations that the results have yet to be sent to.
        sent: destinations that have received the results.
    """

    number: int
    state: str
    images: tuple[str, ...]
    closed: float
    attempts: int = 0
    message: str = ""
    files: tuple[str, ...] = ()
    unsent: tuple[str, ...] = ()
    sent: tuple[str, ...] = ()


class Study:
    """One study in the spool. Not thread-safe: the spool calls it while holding its lock.

    Attributes:
        key: name of the study on disk.
        images: size in bytes of each image, by file name.
        latest_image: when the latest image arrived, in seconds since 1970.
        versions: the versions, by number.
        new_images: names of images that are not part of the latest version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.key = folder, folder.name
        self.image_folder = folder / "images"
        files = [entry for entry in _entries(self.image_folder) if entry.name.endswith(".dcm")]
        self.images = {entry.name: entry.stat().st_size for entry in files}
        self.latest_image = max((entry.stat().st_mtime for entry in files), default=0.0)
        numbers = (int(match[1]) for entry in _entries(folder) if (match := _RECORD.fullmatch(entry.name)))
        self.versions = {number: _read(folder / f"{number}.json", number) for number in sorted(numbers)}
        self.new_images = set(self.images) - self._in_latest_version()

    @property
    def size(self) -> int:
        """Total size of the images in bytes."""
        return sum(self.images.values())

    @property
    def at_rest(self) -> bool:
        """Whether the images are no longer needed: none is new, and no version is waiting."""
        return not self.new_images and all(version.state != WAITING for version in self.versions.values())

    @property
    def forgettable(self) -> bool:
        """Whether the study has no images and no work left, so that it can be unloaded from memory."""
        return not self.images and self.at_rest and not any(version.unsent for version in self.versions.values())

    def add(self, name: str, file: Path, now: float) -> None:
        """Move a complete, flushed file into the study; the move is flushed to disk before this returns."""
        size = file.stat().st_size
        if not self.image_folder.is_dir():
            self.image_folder.mkdir(parents=True)
            flush_folder(self.folder)
            flush_folder(self.folder.parent)
        os.replace(file, self.image_folder / name)
        flush_folder(self.image_folder)
        self.images[name], self.latest_image = size, now
        self.new_images |= {name} - self._in_latest_version()

    def put(self, version: Version) -> None:
        """Write the record of a version, replacing an earlier record."""
        write_text(self.folder / f"{version.number}.json", json.dumps(asdict(version)) + "\n")
        flush_folder(self.folder)
        self.versions[version.number] = version
        self.new_images = set(self.images) - self._in_latest_version()

    def drop_images(self) -> None:
        """Remove the images but keep the records, so that the same images are not segmented again."""
        for name in list(self.images):
            (self.image_folder / name).unlink(missing_ok=True)
            del self.images[name]

    def _in_latest_version(self) -> set[str]:
        return set(self.versions[max(self.versions)].images) if self.versions else set()

    def counts(self) -> Counter[str]:
        """Return counts by name.

        For each state, it is the number of versions in it; `received` is the number of images, including removed ones;
        `receiving` is 1 if there are images that are not yet part of a version, else 0; `sent` and `unsent` are the
        numbers of versions whose results were or are still to be sent, counted once for each destination.
        """
        versions = self.versions.values()
        counts = Counter(version.state for version in versions)
        counts["received"] = len(set(self.images).union(*(version.images for version in versions)))
        counts["receiving"] = int(bool(self.new_images))
        counts["sent"] = sum(len(version.sent) for version in versions)
        counts["unsent"] = sum(len(version.unsent) for version in versions)
        return counts


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return the entries of a folder, [] if it does not exist."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []


def _read(path: Path, number: int) -> Version:
    """Read the record of a version; a damaged one is logged and returned as a refused version."""
    try:
        return _checked(json.loads(path.read_text(encoding="utf-8")), number)
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        message = f"The record {path.name} of study {path.parent.name} is damaged: send the study again."
        record("damaged", level=logging.ERROR, study=path.parent.name, version=number, error=type(error).__name__)
        return Version(number, REFUSED, (), 0.0, message=message)


def _checked(values: Mapping[str, Any], number: int) -> Version:
    """Build a version from the values of its record; raises ValueError, TypeError or KeyError if they are invalid."""
    lists = {name: tuple(map(str, values[name])) for name in ("images", "files", "unsent", "sent")}
    if values["state"] not in STATES or values["number"] != number:
        raise ValueError(f"not a record of version {number}")
    if any(os.path.basename(name) != name for name in lists["images"] + lists["files"]):
        raise ValueError("a file name contains a path")
    own: dict[str, Any] = {
        "closed": float(values["closed"]),
        "attempts": int(values["attempts"]),
        "message": str(values["message"]),
    }
    own |= lists
    return Version(number, str(values["state"]), **own)
