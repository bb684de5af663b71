"""Records of refused inputs in an output folder: one file `.refused/<place>.json` for each.

A refused input gets no case folder, and results of an earlier run may still exist. The record shows that the latest
attempt failed; it is deleted once the input is segmented.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from custom_networks.files import write_text

REFUSED = ".refused"


@dataclass(frozen=True)
class Refusal:
    """Record of an input whose latest attempt was refused or failed.

    Attributes:
        case: name that its case would have.
        input: the input as given on the command line.
        message: the reason, in one sentence.
        content: digest of the input's content, "" if unknown.
        geometry: digest of a file's shape and affine, "" if unknown or not a file.
    """

    case: str
    input: str
    message: str
    content: str = ""
    geometry: str = ""


def remember(output: Path, place: str, refusal: Refusal) -> None:
    """Record that the input with this place (see `Case.place`) was refused; raises OSError if that fails."""
    path, text = output / REFUSED / f"{place}.json", json.dumps(asdict(refusal), indent=2) + "\n"
    try:
        write_text(path, text)
    except FileNotFoundError:  # another run has just removed the empty folder, see `forget`
        write_text(path, text)


def forget(output: Path, place: str) -> None:
    """Delete the record of an input, if there is one, and the folder of records if it is then empty."""
    try:
        (output / REFUSED / f"{place}.json").unlink(missing_ok=True)
        os.rmdir(output / REFUSED)
    except OSError:  # the folder holds other records, or does not exist
        return


def remembered(output: Path) -> Iterator[tuple[str, Path, Refusal]]:
    """Yield place, file and record of every refused input of an output folder; damaged records are skipped."""
    for path in sorted((output / REFUSED).glob("[!.]*.json")):
        try:
            yield path.stem, path, Refusal(**_strings(json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError, RecursionError):
            continue


def _strings(values: Any) -> dict[str, str]:
    """Return `values` if it is a dictionary of strings; raises TypeError if not."""
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise TypeError(f"a refusal must be a dictionary of strings, got {type(values).__name__}")
    return values
