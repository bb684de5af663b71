"""The fields of a text header (NRRD, MetaImage), each read strictly: a number is a number, in its range, or refused."""

import re
from collections.abc import Iterable, Mapping
from math import isfinite
from pathlib import Path
from typing import TypeVar

from custom_networks.errors import InputError, one_line
from custom_networks.io.checks import NO_AFFINE

HEADER_BYTES = 1 << 20
NUMBER = re.compile(r"[-+]?(\d{1,40}\.?\d{0,40}|\.\d{1,40})([eE][-+]?\d{1,4})?", re.ASCII)
WHOLE = re.compile(r"[-+]?\d{1,18}", re.ASCII)
# Millimetres in each unit of length that headers name; one that says nothing is taken for millimetres, as always.
UNITS_MM = {
    **dict.fromkeys(("", "?", "??", "???", "unknown", "mm", "millimeter", "millimeters", "millimetre"), 1.0),
    **dict.fromkeys(("m", "meter", "meters", "metre"), 1000.0),
    **dict.fromkeys(("cm", "centimeter", "centimeters", "centimetre"), 10.0),
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "micrometer", "micrometers", "micrometre"), 1e-3),
    **dict.fromkeys(("nm", "nanometer", "nanometers", "nanometre"), 1e-6),
}
Choice = TypeVar("Choice")


class Fields:
    """The fields of one file's header, by their names in lower case; what is wrong with one is an InputError."""

    def __init__(self, path: Path, values: Mapping[str, str]) -> None:
        self.path, self.values = path, values

    def fault(self, reason: str) -> InputError:
        """The refusal of the file for what its header says."""
        return not_readable(self.path, reason)

    def no_affine(self, name: str) -> InputError:
        """The refusal of a file whose header does not say where voxels lie."""
        return InputError(
            f"{self.path} {NO_AFFINE} (its header has no valid {name!r}): export the image again with its geometry."
        )

    def channels(self, count: int) -> InputError:
        """The refusal of a file with several values per voxel."""
        return InputError(f"{self.path} holds {count} values per voxel, one is needed: save one channel.")

    def get(self, *names: str) -> str | None:
        """The text of the first of several names that is there."""
        return next((self.values[name.lower()] for name in names if name.lower() in self.values), None)

    def whole(self, name: str, least: int, most: int, default: int | None = None) -> int:
        """A whole number between two others, both accepted; `default` where the field is not there."""
        text = self.get(name)
        if text is None and default is not None:
            return default
        if text is None or not WHOLE.fullmatch(text) or not least <= int(text) <= most:
            raise self.fault(f"{name} is {shown(text)}, a whole number from {least} to {most} is needed")
        return int(text)

    def numbers(self, name: str, text: str, count: int) -> list[float]:
        """`count` plain numbers."""
        words = text.split()
        numbers = [float(word) for word in words if NUMBER.fullmatch(word)]
        if len(words) != count or len(numbers) != count or not all(map(isfinite, numbers)):
            raise self.fault(f"{name} is {shown(text)}, {count} finite number{'s' * (count != 1)} needed")
        return numbers

    def sizes(self, name: str, count: int) -> tuple[int, ...]:
        """The size of each of `count` axes; what is too small is for `spatial_shape` to say."""
        text = self.get(name) or ""
        words = text.split()
        if len(words) != count or not all(WHOLE.fullmatch(word) for word in words):
            raise self.fault(f"{name} is {shown(text)}, {count} whole numbers are needed")
        return tuple(int(word) for word in words)

    def choice(self, name: str, choices: Mapping[str, Choice], default: Choice | None = None) -> Choice:
        """What a word stands for; `default` where the field is not there."""
        text = self.get(name)
        if text is None and default is not None:
            return default
        if text is None or text.lower() not in choices:
            raise self.fault(f"{name} is {shown(text)}, a known word such as {', '.join(list(choices)[:3])} is needed")
        return choices[text.lower()]


def shown(text: str | None) -> str:
    """A value as a message quotes it, however long it is."""
    return "missing" if text is None else repr(one_line(text, 40))


def not_readable(path: Path, reason: str) -> InputError:
    """The refusal of a file that is not what its ending says."""
    kind = {".gz": "NIfTI", ".nii": "NIfTI"}.get(path.suffix.lower(), path.suffix[1:].upper())
    return InputError(f"{path} is not a readable {kind} file ({reason}): export the image again.")


def millimetres(fields: Fields, name: str, units: Iterable[str]) -> tuple[list[float], tuple[str, ...]]:
    """The millimetres in each unit, and a note where they are not 1; InputError for what is no known unit of length."""
    units = list(units)
    for unit in units:
        if unit.lower() not in UNITS_MM:
            raise fields.fault(f"{name} is {shown(unit)}, a known unit of length such as mm is needed")
    scales = [UNITS_MM[unit.lower()] for unit in units]
    return scales, unit_note(next((unit for unit, scale in zip(units, scales, strict=True) if scale != 1), ""))


def unit_note(unit: str) -> tuple[str, ...]:
    """A note for lengths that were converted from a unit; none for ""."""
    return (f"Lengths in the header are in {unit}: they were converted to mm.",) if unit else ()
