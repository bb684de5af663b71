"""Counts of images and results after each fault, which are printed after the tests.

An image is accounted for if it is in the spool or in a version of its study. A result is a distinct object at
the destination, so one that was sent twice counts once.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node_scene import expected, in_spool
from pydicom.dataset import Dataset

from custom_networks.node.study import DONE, WAITING

HEAD = ("fault", "runs", "acknowledged", "accounted for", "versions", "SEG", "SR", "outcome")


@dataclass(frozen=True)
class Account:
    """Counts after a fault.

    Attributes:
        fault: what went wrong.
        outcome: how the node handled it.
        acknowledged: distinct images for which the node returned success.
        accounted: those of them that are in the spool or in a version.
        versions: of studies, done.
        seg: distinct SEG objects at the destination.
        sr: distinct SR objects there.
    """

    fault: str
    outcome: str
    acknowledged: int
    accounted: int
    versions: int
    seg: int
    sr: int


ACCOUNTS: list[Account] = []


def table(accounts: Iterable[Account]) -> list[str]:
    """A Markdown table with a row for each fault, in which the counts of all runs are added up."""
    faults: dict[str, list[Account]] = {}
    for account in accounts:
        faults.setdefault(account.fault, []).append(account)
    lines = ["| " + " | ".join(HEAD) + " |", "|---|" + "---:|" * 6 + "---|"]
    for fault, runs in faults.items():
        counts = [(run.acknowledged, run.accounted, run.versions, run.seg, run.sr) for run in runs]
        numbers = [len(runs), *map(sum, zip(*counts, strict=True))]
        lines.append(f"| {fault} | " + " | ".join(map(str, numbers)) + f" | {runs[0].outcome} |")
    return lines


def records_in(spool: Path) -> dict[Path, dict[str, Any]]:
    """The records of all versions in a spool."""
    return {path: json.loads(path.read_text()) for path in sorted(spool.glob("studies/*/[0-9]*.json"))}


def is_settled(spool: Path) -> bool:
    """Whether the latest version of every study has all of its images, is done and was sent, and no image waits.

    On a busy machine, the first images of a study can form a separate version, which is refused if it is not a volume.
    """
    latest = {path.parent.name: record for path, record in records_in(spool).items()}
    settled = all(record["state"] != WAITING and not record["unsent"] for record in records_in(spool).values())
    images = {key: names for key, names in in_spool(spool).items() if names}
    done = {key: set(record["images"]) for key, record in latest.items() if record["state"] == DONE}
    return settled and images == done


def check(
    fault: str, outcome: str, spool: Path, acknowledged: Sequence[Dataset], results: Mapping[str, list[str]]
) -> None:
    """Assert that every acknowledged image is accounted for and that the destination has one SEG and one SR for each
    version that is done, and no more; store the counts for the table.

    Args:
        fault: what went wrong.
        outcome: how the node handled it.
        spool: folder of the node's spool.
        acknowledged: the images that the node answered with success.
        results: the modalities of the distinct objects at the destination, by StudyInstanceUID.
    """
    found, records, wanted = in_spool(spool), records_in(spool), expected(acknowledged)
    for path, record in records.items():
        found.setdefault(path.parent.name, set()).update(record["images"])
    assert {key: names for key, names in found.items() if names} == wanted
    done = Counter(path.parent.name for path, record in records.items() if record["state"] == DONE)
    keys = {image.StudyInstanceUID: next(iter(expected([image]))) for image in acknowledged}
    assert results == {study: sorted(["SEG", "SR"] * done[key]) for study, key in keys.items() if done[key]}
    kinds = Counter(kind for of_study in results.values() for kind in of_study)
    counts = (sum(map(len, wanted.values())), sum(map(len, found.values())))
    ACCOUNTS.append(Account(fault, outcome, *counts, done.total(), kinds["SEG"], kinds["SR"]))
