"""Cases that are read at once, and a pipeline that answers without a network."""

import json
from pathlib import Path
from typing import Any

from custom_networks.case_folder import Input, claim
from custom_networks.errors import InputError
from custom_networks.io import Case
from custom_networks.io.case import FileCase


class TextCase(FileCase):
    """A text file in place of an image; one that holds "bad" is refused."""

    @property
    def geometry(self) -> str:  # type: ignore[override]
        return "grid"

    def read(self) -> Any:
        text = Path(self.source).read_text()
        if text == "bad":
            raise InputError(f"{self.source} is damaged: copy it again.")
        return text


class TextPipeline:
    """Answers with the text of the case."""

    released = True

    def predict(self, case: Case, *, probability: bool = False) -> Any:
        return case, case.read()


def write_texts(found: Any, output: Path, **options: bool) -> Any:
    """Files that all hold the text, and a report, in the case folder; stands for `result.write`."""
    case, text = found
    with claim(output, Input(case.name, case.identity, case.content, case.geometry, case.place)) as claimed:
        for ending in ("seg.nii.gz", "seg.dcm"):
            (claimed.staging / f"{claimed.name}_{ending}").write_text(text)
        volumes = {"volume_ml": 1.0, "volume_without_tumor_ml": 1.0, "touches_border": False}
        tumor = {"volume_ml": 0.0, "burden_percent": 0.0, "lesion_count": 0}
        report = {"case": claimed.name, "input": case.source, "liver": volumes, "tumor": tumor, "lesions": []}
        (claimed.staging / "report.json").write_text(json.dumps({**report, "notes": [text]}))
        return claimed.commit({})
