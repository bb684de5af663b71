"""Check a command line before Fire sees it.

Fire would run a command before it mentions a misspelt flag, let a switch swallow the input that follows it, and turn a
folder named 2024 into a number.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, get_type_hints

from custom_networks.errors import UsageError

HELP = ("--help", "-h")
SHORT = {"-o": "--output"}
DEBUG = "debug"  # a switch of every command
ARGUMENTS = {  # for each command: the flags that can stand for its positional arguments, and what it needs, in words
    "measure": (("--ct=", "--mask="), "a CT and its mask"),
    "series": (("--path=",), "one folder or zip archive of DICOM files"),
    "verify": (("--output=",), "one folder of results"),
    "phantom": (("--output=",), "one folder to write to"),
    "pack": (("--output=",), "one file to write, OUT.zip"),
    "export": (("--format=", "--output="), "a format and one file to write: torchscript OUT.ts, or onnx OUT.onnx"),
}


def fire_arguments(function: Callable[..., Any], arguments: Sequence[str]) -> list[str]:
    """Check the arguments for `function`, and return them in a form that Fire does not reinterpret.

    Flags are `--name VALUE` or `--name=VALUE`; a switch (annotated bool) is `--name`, `--name=true`, `--name=false` or
    `--no-name`; `-o` is `--output`. A flag with several values (annotated tuple[str, ...]) is repeated for each value.

    Raises:
        UsageError: a flag is unknown, its value is missing or invalid, or a switch is followed by an input.
    """
    hints = {**get_type_hints(function), DEBUG: bool}
    parameters = inspect.signature(function).parameters.values()
    flags = [parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_POSITIONAL] + [DEBUG]
    ready: list[str] = []
    repeated: dict[str, list[str]] = {}
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("-") or argument == "-":
            ready.append(repr(argument))
            continue
        name, assigned, value = SHORT.get(argument, argument).lstrip("-").partition("=")
        name = name.replace("-", "_")
        if name not in flags and name.startswith("no_") and hints.get(name[3:]) is bool and not assigned:
            name, assigned, value = name[3:], "=", "false"
        if name not in flags:
            raise _unknown_flag(argument, name, flags, hints)
        if hints[name] is bool:
            ready.append(f"--{name}={_switch(name, assigned, value, rest)}")
        elif hints[name] == tuple[str, ...]:
            repeated.setdefault(name, []).append(_value(name, assigned, value, rest))
        else:
            ready.append(f"--{name}={_literal(name, _value(name, assigned, value, rest), hints[name])}")
    return ready + [f"--{name}={tuple(values)!r}" for name, values in repeated.items()]


def check_complete(command: str, ready: Sequence[str]) -> None:
    """Raise UsageError if arguments of a command are missing or superfluous; Fire would print a whole help page."""
    positional = [argument for argument in ready if not argument.startswith("--")]
    if command == "segment" and not positional:
        raise UsageError("liverseg segment needs at least one input: a CT file, or a folder or zip archive of CT.")
    if command in ("segment", "measure") and not any(argument.startswith("--output=") for argument in ready):
        raise UsageError(f"liverseg {command} needs --output DIR, a folder for the results.")
    needed = {name for name in ("output", "spool") if any(given.startswith(f"--{name}=") for given in ready)}
    if command == "serve" and (positional or len(needed) < 2):
        raise UsageError("liverseg serve needs --output DIR and --spool DIR, and takes no input.")
    if command in ARGUMENTS:
        flags, meaning = ARGUMENTS[command]
        if len(positional) + sum(argument.startswith(flags) for argument in ready) != len(flags):
            raise UsageError(f"liverseg {command} needs {meaning}.")
    if command == "info" and positional:
        raise UsageError(f"liverseg info takes no input, got {positional[0]}: leave it out.")


def unknown_command(command: str, known: Iterable[str]) -> UsageError:
    """The error for an unknown command, with a suggestion if a similar one exists."""
    names = list(known)
    meant = "".join(f" Did you mean {name}?" for name in get_close_matches(command, names, n=1))
    return UsageError(f"Unknown command {command!r}: liverseg has {', '.join(names)}.{meant}")


def _unknown_flag(argument: str, name: str, flags: Sequence[str], hints: Mapping[str, Any]) -> UsageError:
    """The error for an unknown flag, with a suggestion; one that begins with "no" may be meant to turn off a switch."""
    negated = re.sub(r"^no_?", "", name)
    switches = [flag for flag in flags if hints[flag] is bool]
    close = get_close_matches(negated, switches, n=1) if negated != name else get_close_matches(name, flags, n=1)
    off = "=false" * (negated != name)
    return UsageError(
        f"Unknown flag {argument}: " + (f"did you mean {_typed(close[0])}{off}?" if close else "see --help.")
    )


def _typed(name: str) -> str:
    """A flag as the help shows it."""
    return f"--{name.replace('_', '-')}"


def _switch(name: str, assigned: str, value: str, rest: Sequence[str]) -> bool:
    """The value of a switch; UsageError if it is neither true nor false, or if an input follows a bare switch."""
    if assigned:
        if value.lower() not in ("true", "false"):
            raise UsageError(f"{_typed(name)} must be true or false, got {value!r}.")
        return value.lower() == "true"
    if rest and not rest[0].startswith("-"):
        raise UsageError(
            f"{_typed(name)} takes no value, but {rest[0]!r} follows it: put inputs before flags, or write "
            f"{_typed(name)}=true or {_typed(name)}=false."
        )
    return True


def _value(name: str, assigned: str, value: str, rest: list[str]) -> str:
    """The value of a flag, taken from the next argument if it is not part of the flag; UsageError if there is none."""
    if not assigned and rest and not rest[0].startswith("--"):
        value = rest.pop(0)
    if not value:
        raise UsageError(f"{_typed(name)} needs a value.")
    return value


def _literal(name: str, value: str, kind: Any) -> str:
    """A flag's value as a Python literal that Fire reads back unchanged: an integer if `kind` is int, else a string.

    Raises:
        UsageError: `kind` is int, and `value` is not a whole number.
    """
    if kind is not int:
        return repr(value)
    try:
        return str(int(value))
    except ValueError:
        raise UsageError(f"{_typed(name)} must be a whole number, got {value!r}.") from None
