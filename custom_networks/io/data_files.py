"""The files that a detached header names: ordinary files beside it and nothing else."""

import os
import re
from pathlib import Path

from custom_networks.errors import InputError
from custom_networks.io.files import regular_file
from custom_networks.io.header_fields import Fields, shown

LIST = re.compile(r"LIST(\s+\d+)?", re.IGNORECASE)
# A name with the slice's number in it, as C's printf has it, then first and last number and step: `ct%03d.raw 1 90 1`.
PATTERN = re.compile(r"(\S*?)%(0?)(\d?)d(\S*)\s+(\d{1,6})\s+(\d{1,6})\s+(\d{1,6})(\s+\d+)?", re.ASCII)


def data_files(fields: Fields, named: str, listed: list[str], slices: int) -> tuple[Path, ...]:
    """The files that hold the voxels, in order: the one that is named, those that are listed, or a numbered row.

    InputError where one is not beside the header, missing or no ordinary file, or a list has not one for each slice.
    """
    matched = PATTERN.fullmatch(named)
    if LIST.fullmatch(named):
        names = listed
    elif matched:
        before, zero, width, after, *numbers = matched.groups()[:7]
        first, last, step = map(int, numbers)
        names = [f"{before}{number:{zero}{width}d}{after}" for number in range(first, last + 1, max(step, 1))]
    else:
        return (_beside(fields, named),)
    if len(names) != slices:
        raise fields.fault(f"it names {len(names)} files of voxels for {slices} slices")
    return tuple(_beside(fields, name) for name in names)


def _beside(fields: Fields, name: str) -> Path:
    """An ordinary file in the folder of the header."""
    plain = name.removeprefix("./")
    if not plain or plain in (".", "..") or re.search(r"[/\\\0%]", plain) or len(plain) > 255:
        raise fields.fault(f"its voxels are in {shown(name)}, a plain name of a file beside it is needed")
    path = fields.path.parent / os.fsdecode(os.fsencode(plain))
    if not path.exists():
        raise InputError(
            f"{fields.path} is damaged or incomplete (there is no file {shown(plain)} beside it): copy both files."
        )
    return regular_file(path)
