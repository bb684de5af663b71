"""The spool: received images and the state of their studies, kept on disk so that a node can resume after a crash.

<spool>/part/      images being received, not yet acknowledged
<spool>/studies/   one folder per study, see `custom_networks.node.study`
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

MOST_LOADED = 2000  # maximum number of finished studies without images whose records are kept in memory


class Spool:
    """All studies of a node; thread-safe.

    Args:
        folder: the spool folder, created if missing; only one process can use it at a time.

    Raises:
        UsageError: another node is using the folder, or it is not writable.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.part, self._studies_folder = folder, folder / "part", folder / "studies"
        self._held, self._lock = ExitStack(), threading.RLock()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # images contain patient data
            self._studies_folder.mkdir(exist_ok=True)
            self._held.enter_context(locked(folder, wait=False))
            shutil.rmtree(self.part, ignore_errors=True)
            self.part.mkdir()
            loaded = [Study(path) for path in sorted(self._studies_folder.iterdir()) if path.is_dir()]
        except BlockingIOError as error:
            raise UsageError(f"Another node is using the spool {folder}: stop it, or choose another folder.") from error
        except OSError as error:
            raise UsageError(
                f"The spool {folder} cannot be used ({reason_of(error)}): choose another folder."
            ) from error
        for study in loaded:  # give interrupted senders time to reconnect
            study.latest_image = time.time() if study.new_images else study.latest_image
        self._studies = {study.key: study for study in loaded}
        self._resting: Counter[str] = Counter()
        self._size = sum(study.size for study in loaded)

    def close(self) -> None:
        """Release the spool, so that another process can use it."""
        self._held.close()

    @property
    def size(self) -> int:
        """Total size of all images in bytes."""
        return self._size

    @property
    def free(self) -> int:
        """Free space on the spool's disk in bytes."""
        return shutil.disk_usage(self.folder).free

    def add(self, study_uid: str, instance_uid: str, file: Path, now: float) -> bool:
        """Move an image into its study, which is created if necessary; False if the study already has the image.

        Args:
            study_uid: StudyInstanceUID.
            instance_uid: SOPInstanceUID.
            file: file in `part`, complete and flushed to disk.
            now: current time, in seconds since 1970.

        Raises:
            OSError: the file cannot be moved.
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
        """Add a waiting version to each study whose latest new image arrived at least `quiet` seconds before `now`.

        The version has all images of its study; `now` is in seconds since 1970. Returns the keys of these studies with
        the new versions.
        """
        closed = []
        with self._lock:
            for study in self._studies.values():
                # A negative difference means that the clock was set back; it must not keep a study open.
                if study.new_images and not 0 <= now - study.latest_image < quiet:
                    number = max(study.versions, default=0) + 1
                    study.put(Version(number, WAITING, tuple(sorted(study.images)), now))
                    closed.append((study.key, study.versions[number]))
        return closed

    def next_waiting(self) -> tuple[Study, Version] | None:
        """Return the version that has waited longest, with its study, or None if none is waiting."""
        with self._lock:
            waiting = self._versions(lambda version: version.state == WAITING)
            return min(waiting, key=lambda item: (item[1].closed, item[0].key, item[1].number), default=None)

    def unsent(self, to: str) -> list[tuple[str, Version]]:
        """Return study keys and versions whose results have yet to be sent to a destination, oldest first."""
        with self._lock:
            due = [(study.key, version) for study, version in self._versions(lambda version: to in version.unsent)]
        return sorted(due, key=lambda item: item[1].closed)

    def put(self, key: str, version: Version) -> None:
        """Write the record of a version of study `key`, replacing an earlier record."""
        with self._lock:
            self._study(key).put(version)

    def mark_sent(self, key: str, number: int, to: str) -> None:
        """Record that the results of a version were sent to a destination."""
        with self._lock:
            version = self._study(key).versions[number]
            unsent = tuple(one for one in version.unsent if one != to)
            self.put(key, replace(version, unsent=unsent, sent=(*version.sent, to)))

    def drop(self, older_than: float, most_bytes: int) -> list[str]:
        """Remove images that are no longer needed (see `Study.at_rest`), and return the keys of their studies.

        A study loses all of its images if the latest one arrived before `older_than` (seconds since 1970). After that,
        other studies lose theirs, oldest first, until the total size is at most `most_bytes`.
        """
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
        """Return the sum of `Study.counts` over all studies, including those of earlier runs."""
        with self._lock:
            total = sum((study.counts() for study in self._studies.values()), self._resting.copy())
        names = ("received", "receiving", WAITING, "done", "held", "refused", "sent", "unsent")
        return {name: total[name] for name in names}

    def _study(self, key: str) -> Study:
        """Return the study with this key, loaded from disk or newly created if necessary; the lock must be held."""
        if key not in self._studies:
            self._studies[key] = Study(self._studies_folder / key)
            self._resting -= self._studies[key].counts()
        return self._studies[key]

    def _forget(self) -> None:
        """Unload the oldest finished studies if there are more than `MOST_LOADED`; keep the sum of their counts."""
        idle = [study for study in self._studies.values() if study.forgettable]
        for study in sorted(idle, key=_last_closed)[: max(0, len(idle) - MOST_LOADED)]:
            self._resting += self._studies.pop(study.key).counts()

    def _versions(self, wanted: Callable[[Version], bool]) -> list[tuple[Study, Version]]:
        studies = self._studies.values()
        return [(study, version) for study in studies for version in study.versions.values() if wanted(version)]


def _last_closed(study: Study) -> float:
    return max((version.closed for version in study.versions.values()), default=0.0)


def flush_file(file: Path) -> None:
    """Flush the contents of a file to disk."""
    with file.open("rb+") as stream:
        os.fsync(stream.fileno())
