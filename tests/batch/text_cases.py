"""Text files as cases, and a pipeline without a network."""

import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from custom_networks import __version__
from custom_networks.batch import run
from custom_networks.batch.work import Work
from custom_networks.case_folder import Input, claim
from custom_networks.errors import InputError
from custom_networks.io import Case
from custom_networks.io.case import FileCase


class TextCase(FileCase):
    """A text file in place of an image; "bad" is refused."""

    @property
    def geometry(self) -> str:  # type: ignore[override]
        return "grid"

    def read(self) -> Any:
        text = Path(self.source).read_text()
        if text == "bad":
            raise InputError(f"{self.source} is damaged: copy it again.")
        return text


class TextPipeline:
    """Returns the text of the case; "die" kills its process, "die once" kills only the first process that gets it."""

    released = True

    def options(self, probability: bool = False) -> dict[str, Any]:
        return {"weights": "none", "runtime": "none", "precision": "none"}

    def predict(self, case: Case, *, probability: bool = False) -> Any:
        text, mark = case.read(), Path(f"{case.source}.tried")
        if text == "die" or (text == "die once" and not mark.exists()):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if text.startswith("wait"):
            mark.touch()
            time.sleep(float(text.split()[1]))
        return case, text


@dataclass(frozen=True)
class TextWork(Work):
    """Work for any process that needs no network."""

    def pipeline(self) -> Any:
        run.write = write_texts  # type: ignore[assignment]
        return TextPipeline()

    def share(self, processes: int) -> None:
        """Texts need no threads."""

    def use(self, threads: int) -> None:
        """Texts need no threads."""


class TextResult(NamedTuple):
    """A written result."""

    folder: Path

    def without_arrays(self) -> "TextResult":
        return self


def write_texts(found: Any, output: Path, **options: bool) -> Any:
    """Write files with the text, and a report, to the case folder; replaces `result.write`."""
    case, text = found
    known = Input(case.name, case.identity, case.content, case.geometry, case.place, case.state())
    with claim(output, known) as claimed:
        for ending in ("seg.nii.gz", "seg.dcm"):
            (claimed.staging / f"{claimed.name}_{ending}").write_text(text)
        volumes = {"volume_ml": 1.0, "volume_without_tumor_ml": 1.0, "touches_border": False}
        tumor = {"volume_ml": 0.0, "burden_percent": 0.0, "lesion_count": 0}
        report = {"case": claimed.name, "input": case.source, "liver": volumes, "tumor": tumor, "lesions": []}
        report |= {"notes": [text], "run": {"version": __version__}}
        (claimed.staging / "report.json").write_text(json.dumps(report))
        return TextResult(claimed.commit(options))
