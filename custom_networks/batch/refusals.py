"""What an output folder remembers of inputs that were refused: `.refused/<place>.json`, one small file for each.

An input that is refused has no case folder, and results of an earlier run of it may still be there. The file says what
became of it last; it goes when the input succeeds.
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
    """An input that was refused, or failed, when it was last tried.

    Attributes:
        case: what its case would be called.
        input: what the user would type to name it.
        message: why, in one sentence.
        content: digest of what it held, "" where that cannot be said.
        geometry: digest of a file's shape and affine, "" where there is none or it cannot be read.
    """

    case: str
    input: str
    message: str
    content: str = ""
    geometry: str = ""


def remember(output: Path, place: str, refusal: Refusal) -> None:
    """Write down that the input at a place (see `Case.place`) was refused; OSError where that cannot be written."""
    path, text = output / REFUSED / f"{place}.json", json.dumps(asdict(refusal), indent=2) + "\n"
    try:
        write_text(path, text)
    except FileNotFoundError:  # the folder was empty yet, and another run removed it: see `forget`
        write_text(path, text)


def forget(output: Path, place: str) -> None:
    """Forget the refusal of an input that was segmented since, or no longer exists."""
    try:
        (output / REFUSED / f"{place}.json").unlink(missing_ok=True)
        os.rmdir(output / REFUSED)
    except OSError:  # others are in it, or it was never made
        return


def remembered(output: Path) -> Iterator[tuple[str, Path, Refusal]]:
    """Place, file and refusal of every input of an output folder that was refused last; damaged files are skipped."""
    for path in sorted((output / REFUSED).glob("[!.]*.json")):
        try:
            yield path.stem, path, Refusal(**_texts(json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError, RecursionError):
            continue


def _texts(values: Any) -> dict[str, str]:
    """The values, if all are texts; else a TypeError."""
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise TypeError(f"a refusal holds texts, got {type(values).__name__}")
    return values
