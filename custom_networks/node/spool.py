"""The spool: what was received and what became of it, on disk, so that a node that was killed goes on from there.

<spool>/part/      what is being received; a file that was acknowledged is never here
<spool>/studies/   a folder a study, see `custom_networks.node.study`
"""

import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from custom_networks.errors import UsageError, reason_of
from custom_networks.node.study import WAITING, Study, Version, key_of
from custom_networks.staging import locked

MOST_LOADED = 2000  # how many studies without images keep their records in memory


class Spool:
    """All studies of a node; every method may be called by any thread.

    Args:
        folder: of the spool, made if it is missing; one process holds it at a time.

    Raises:
        UsageError: another node holds it, or nothing can be written there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.part, self._studies_folder = folder, folder / "part", folder / "studies"
        self._held, self._lock = ExitStack(), threading.RLock()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # what lies in it names patients
            self._studies_folder.mkdir(exist_ok=True)
            self._held.enter_context(locked(folder, wait=False))
            shutil.rmtree(self.part, ignore_errors=True)
            self.part.mkdir()
            loaded = [Study(path) for path in sorted(self._studies_folder.iterdir()) if path.is_dir()]
        except BlockingIOError as error:
            raise UsageError(f"Another node uses the spool {folder}: stop it, or name another folder.") from error
        except OSError as error:
            raise UsageError(f"{folder} cannot be a spool ({reason_of(error)}): name another folder.") from error
        for study in loaded:  # senders that were cut off need time to come back
            study.latest_image = time.time() if study.new_images else study.latest_image
        self._studies = {study.key: study for study in loaded}
        self._resting: Counter[str] = Counter()
        self._size = sum(study.size for study in loaded)

    def close(self) -> None:
        """Release the spool, so that another process can use it."""
        self._held.close()

    @property
    def size(self) -> int:
        """Bytes of all images."""
        return self._size

    @property
    def free(self) -> int:
        """Bytes that the disk has left."""
        return shutil.disk_usage(self.folder).free

    def add(self, study_uid: str, instance_uid: str, file: Path, now: float) -> bool:
        """Take over an image from a flushed file in `part`; False if it is there already.

        OSError if it cannot be written.
        """
        name = f"{key_of(instance_uid)}.dcm"
        with self._lock:
            study = self._study(key_of(study_uid))
            if name in study.images:
                return False
            study.add(name, file, now)
            self._size += study.images[name]
            return True

    def close_quiet(self, quiet: float, now: float) -> list[tuple[str, Version]]:
        """Close a version of each study that got new images, the last of them `quiet` seconds ago or more."""
        closed = []
        with self._lock:
            for study in self._studies.values():
                # A clock that was set back must not keep a study open for years.
                if study.new_images and not 0 <= now - study.latest_image < quiet:
                    number = max(study.versions, default=0) + 1
                    study.put(Version(number, WAITING, tuple(sorted(study.images)), now))
                    closed.append((study.key, study.versions[number]))
        return closed

    def next_waiting(self) -> tuple[Study, Version] | None:
        """The version that has waited longest."""
        with self._lock:
            waiting = self._versions(lambda version: version.state == WAITING)
            return min(waiting, key=lambda item: (item[1].closed, item[0].key, item[1].number), default=None)

    def unsent(self, to: str) -> list[tuple[str, Version]]:
        """The versions whose results a destination does not have yet, the oldest first."""
        with self._lock:
            due = [(study.key, version) for study, version in self._versions(lambda version: to in version.unsent)]
        return sorted(due, key=lambda item: item[1].closed)

    def put(self, key: str, version: Version) -> None:
        """Replace the record of a version."""
        with self._lock:
            self._study(key).put(version)

    def delivered(self, key: str, number: int, to: str) -> None:
        """Remember that a destination has the results of a version."""
        with self._lock:
            version = self._study(key).versions[number]
            unsent = tuple(one for one in version.unsent if one != to)
            self.put(key, replace(version, unsent=unsent, sent=(*version.sent, to)))

    def drop(self, older_than: float, most_bytes: int) -> list[str]:
        """Remove the images of studies at rest: those whose last one came before a time, and the oldest ones beyond
        `most_bytes` in all. The keys of the studies."""
        dropped = []
        with self._lock:
            at_rest = [study for study in self._studies.values() if study.images and study.at_rest]
            for study in sorted(at_rest, key=lambda study: study.latest_image):
                if study.latest_image < older_than or self._size > most_bytes:
                    self._size -= study.size
                    study.drop_images()
                    dropped.append(study.key)
            self._forget()
        return dropped

    def counts(self) -> dict[str, int]:
        """Numbers of images and versions by outcome, earlier runs included."""
        with self._lock:
            total = sum((study.counts() for study in self._studies.values()), self._resting.copy())
        names = ("received", "receiving", WAITING, "done", "held", "refused", "sent", "unsent")
        return {name: total[name] for name in names}

    def _study(self, key: str) -> Study:
        """The study of a key, from memory, from the disk, or a new one; called under the lock."""
        if key not in self._studies:
            self._studies[key] = Study(self._studies_folder / key)
            self._resting -= self._studies[key].counts()
        return self._studies[key]

    def _forget(self) -> None:
        """Of the oldest studies that have no images and nothing to be done, keep only the counts in memory."""
        idle = [study for study in self._studies.values() if study.forgettable]
        for study in sorted(idle, key=_last_closed)[: max(0, len(idle) - MOST_LOADED)]:
            self._resting += self._studies.pop(study.key).counts()

    def _versions(self, wanted: Callable[[Version], bool]) -> list[tuple[Study, Version]]:
        studies = self._studies.values()
        return [(study, version) for study in studies for version in study.versions.values() if wanted(version)]


def _last_closed(study: Study) -> float:
    return max((version.closed for version in study.versions.values()), default=0.0)


def flushed(file: Path) -> None:
    """Flush the contents of a file to disk."""
    with file.open("rb+") as stream:
        os.fsync(stream.fileno())
