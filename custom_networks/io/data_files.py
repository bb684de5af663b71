"""Voxel files of a detached header; they must be regular files in the header's folder."""

import os
import re
from pathlib import Path

from custom_networks.errors import InputError
from custom_networks.io.files import regular_file
from custom_networks.io.header_fields import Fields, shown

LIST = re.compile(r"LIST(\s+\d+)?", re.IGNORECASE)
# A printf pattern for numbered files, followed by first number, last number and step: `ct%03d.raw 1 90 1`.
PATTERN = re.compile(r"(\S*?)%(0?)(\d?)d(\S*)\s+(\d{1,6})\s+(\d{1,6})\s+(\d{1,6})(\s+\d+)?", re.ASCII)


def data_files(fields: Fields, named: str, listed: list[str], slices: int) -> tuple[Path, ...]:
    """Return the voxel files in order.

    Args:
        fields: the header.
        named: value of the field that names the files: a file name, a pattern for numbered files, or LIST.
        listed: the file names that follow LIST in the header.
        slices: number of slices; if there are several files, each must hold one slice.

    Raises:
        InputError: a file is missing, in another folder or not a regular file, or the number of files is wrong.
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
        raise fields.fault(f"it names {len(names)} voxel files for {slices} slices")
    return tuple(_beside(fields, name) for name in names)


def _beside(fields: Fields, name: str) -> Path:
    """Return the path of a file in the header's folder.

    Raises:
        InputError: `name` is not a plain file name, or there is no regular file with that name.
    """
    plain = name.removeprefix("./")
    if not plain or plain in (".", "..") or re.search(r"[/\\\0%]", plain) or len(plain) > 255:
        raise fields.fault(f"its voxel file is {shown(name)}, but the name of a file in the same folder is needed")
    path = fields.path.parent / os.fsdecode(os.fsencode(plain))
    if not path.exists():
        raise InputError(
            f"{fields.path} is damaged or incomplete (there is no file {shown(plain)} beside it): copy both files."
        )
    return regular_file(path)
