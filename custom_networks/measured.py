"""Measure a mask that a person drew or corrected, without a network."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from custom_networks import __version__
from custom_networks.case_folder import Input, whole_manifests
from custom_networks.errors import InputError
from custom_networks.io import Case
from custom_networks.io.case import digest
from custom_networks.io.masks import read_mask
from custom_networks.labelmap.given import given_lesions
from custom_networks.report.measurements import measure
from custom_networks.report.organ_region import organ_region
from custom_networks.report.renumbering import numbered_as
from custom_networks.report.report import REPORT
from custom_networks.report.run import source_block
from custom_networks.report.verdict import verdict
from custom_networks.report.verdict_numbers import verdict_numbers
from custom_networks.result import Result

KIND = "measured"


def measure_mask(case: Case, mask: str | Path, output: Path, earlier: str | Path | None = None) -> Result:
    """Measure the liver and lesions in a mask that a person made, and return a `Result`; nothing is written.

    The result is marked as made by a person, without weights or confidence. Its case is called `<case>_measured` if
    `output` contains a result of the CT itself; otherwise, it has the name of the CT. Lesions that occur in an earlier
    report keep their numbers.

    Args:
        case: the CT.
        mask: file of the mask, on the CT's grid.
        output: folder of all cases, which may contain the CT's own result.
        earlier: report.json with the earlier lesions; by default the one beside the mask, if any.

    Raises:
        InputError: the CT or the mask cannot be read, they are not on the same grid, or `earlier` is not a report.
    """
    started, date = time.perf_counter(), datetime.now(timezone.utc)
    known = _earlier_lesions(mask, earlier)
    ct = replace(case.read(), source=Path(case.source))
    labels, sha256 = read_mask(mask, ct, case.allow_large)
    read = time.perf_counter() - started
    numbers, lesions = given_lesions(labels, ct.affine)
    region = organ_region(labels, numbers, ct.affine)
    found = replace(measure(region, ct.array[region.box], lesions, calibrated=False), by_person=True)
    region, found = numbered_as(known, region, found)
    seconds = {"total": round(time.perf_counter() - started, 3), "read": round(read, 3)}
    return Result(
        input=case,
        belongs_to=_belongs_to(case, sha256, output),
        ct=ct,
        region=region,
        measurements=found,
        operating_point={},
        options={"mask": sha256},
        run={
            **dict.fromkeys(("weights", "runtime", "precision", "device")),
            "date": date.isoformat(timespec="seconds"),
            "version": __version__,
            "processor": "",
            "fast": False,
            "seconds": {**dict.fromkeys(("prepare", "network", "write", "scout"), 0.0), **seconds},
            "source": source_block(case, ct),
            "scout": {"state": "off", "sha256": None, "box": None},
            "mask": {"file": str(mask), "sha256": sha256},
        },
        notes=ct.notes,
        verdict=verdict(verdict_numbers(ct, region, found, series=case.series)),
    )


def _belongs_to(case: Case, sha256: str, output: Path) -> Input:
    """The `Input` that the case folder belongs to.

    Its digests differ from those of the network's result, so that neither result replaces the other.
    """
    identity, content = digest([case.identity, KIND]), digest([case.content, KIND, sha256])
    return Input(_name(case, output), identity, content, case.geometry)


def _name(case: Case, output: Path) -> str:
    """The CT's case name; if a folder contains the CT's own result, the folder's name with `_measured` appended."""
    for folder, manifest in whole_manifests(output).items():
        if manifest["identity"] == case.identity or manifest["content"] == case.content:
            return f"{folder.name}_{KIND}"
    return case.name


def _earlier_lesions(mask: str | Path, earlier: str | Path | None) -> Sequence[Mapping[str, Any]]:
    """The lesions in the report `earlier`, by default in the report.json beside the mask.

    If `earlier` is None, a report.json that is missing or was not written by this program counts as empty.

    Raises:
        InputError: `earlier` is given but is not a report.
    """
    beside = Path(mask).expanduser().with_name(REPORT)
    if earlier is None and not beside.is_file():
        return []
    path = beside if earlier is None else Path(earlier).expanduser()
    try:
        lesions = json.loads(path.read_text(encoding="utf-8"))["lesions"]
        return [{key: lesion[key] for key in ("id", "centroid", "longest_mm")} for lesion in lesions]
    except (OSError, ValueError, KeyError, TypeError) as error:
        if earlier is None:  # report.json beside the mask is something else
            return []
        raise InputError(
            f"{path} is not a report.json of this program ({type(error).__name__}): choose another."
        ) from error
