"""Strict parsing of the fields of text headers (NRRD, MetaImage)."""

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
# Units of length found in headers, in mm; lengths without a unit are in mm by convention.
UNITS_MM = {
    **dict.fromkeys(("", "?", "??", "???", "unknown", "mm", "millimeter", "millimeters", "millimetre"), 1.0),
    **dict.fromkeys(("m", "meter", "meters", "metre"), 1000.0),
    **dict.fromkeys(("cm", "centimeter", "centimeters", "centimetre"), 10.0),
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "micrometer", "micrometers", "micrometre"), 1e-3),
    **dict.fromkeys(("nm", "nanometer", "nanometers", "nanometre"), 1e-6),
}
Choice = TypeVar("Choice")


class Fields:
    """The fields of a file's header, by name in lower case; methods raise InputError for invalid values."""

    def __init__(self, path: Path, values: Mapping[str, str]) -> None:
        self.path, self.values = path, values

    def fault(self, reason: str) -> InputError:
        """Return the error for an invalid header."""
        return not_readable(self.path, reason)

    def no_affine(self, name: str) -> InputError:
        """Return the error for a header without a valid geometry; `name` is the missing or invalid field."""
        return InputError(
            f"{self.path} {NO_AFFINE} (its header has no valid {name!r}): export the image again with its geometry."
        )

    def channels(self, count: int) -> InputError:
        """Return the error for a file with several values per voxel."""
        return InputError(f"{self.path} holds {count} values per voxel, but one is needed: save a single channel.")

    def get(self, *names: str) -> str | None:
        """Return the text of the first of these fields that is present, or None."""
        return next((self.values[name.lower()] for name in names if name.lower() in self.values), None)

    def whole(self, name: str, least: int, most: int, default: int | None = None) -> int:
        """Return a field's integer, which must be from `least` to `most`, or `default` if the field is missing."""
        text = self.get(name)
        if text is None and default is not None:
            return default
        if text is None or not WHOLE.fullmatch(text) or not least <= int(text) <= most:
            raise self.fault(f"{name} is {shown(text)}, but a whole number from {least} to {most} is needed")
        return int(text)

    def numbers(self, name: str, text: str, count: int) -> list[float]:
        """Parse `text`, the value of field `name`, as `count` finite numbers."""
        words = text.split()
        numbers = [float(word) for word in words if NUMBER.fullmatch(word)]
        if len(words) != count or len(numbers) != count or not all(map(isfinite, numbers)):
            needed = "1 finite number is" if count == 1 else f"{count} finite numbers are"
            raise self.fault(f"{name} is {shown(text)}, but {needed} needed")
        return numbers

    def sizes(self, name: str, count: int) -> tuple[int, ...]:
        """Return a field's `count` integers, the sizes of the axes; their range is checked by `spatial_shape`."""
        text = self.get(name) or ""
        words = text.split()
        if len(words) != count or not all(WHOLE.fullmatch(word) for word in words):
            raise self.fault(f"{name} is {shown(text)}, but {count} whole numbers are needed")
        return tuple(int(word) for word in words)

    def choice(self, name: str, choices: Mapping[str, Choice], default: Choice | None = None) -> Choice:
        """Return the value in `choices` for the field's word, or `default` if the field is missing."""
        text = self.get(name)
        if text is None and default is not None:
            return default
        if text is None or text.lower() not in choices:
            known = ", ".join(list(choices)[:3])
            raise self.fault(f"{name} is {shown(text)}, but a known word such as {known} is needed")
        return choices[text.lower()]


def shown(text: str | None) -> str:
    """Format a field's value for a message, shortened if necessary; "missing" for None."""
    return "missing" if text is None else repr(one_line(text, 40))


def not_readable(path: Path, reason: str) -> InputError:
    """Return the error for a file that is not valid in its format."""
    kind = {".gz": "NIfTI", ".nii": "NIfTI"}.get(path.suffix.lower(), path.suffix[1:].upper())
    return InputError(f"{path} is not a readable {kind} file ({reason}): export the image again.")


def millimetres(fields: Fields, name: str, units: Iterable[str]) -> tuple[list[float], tuple[str, ...]]:
    """Return the length of each unit in mm, and a note if lengths must be converted.

    Raises:
        InputError: a unit is unknown.
    """
    units = list(units)
    for unit in units:
        if unit.lower() not in UNITS_MM:
            raise fields.fault(f"{name} is {shown(unit)}, but a known unit of length such as mm is needed")
    scales = [UNITS_MM[unit.lower()] for unit in units]
    return scales, unit_note(next((unit for unit, scale in zip(units, scales, strict=True) if scale != 1), ""))


def unit_note(unit: str) -> tuple[str, ...]:
    """Return a note that lengths were converted from this unit, or () for ""."""
    return (f"Lengths in the header are in {unit}: they were converted to mm.",) if unit else ()
