"""The help of `liverseg`, made from the docstrings and signatures of its commands."""

import inspect
import re
from collections.abc import Callable, Mapping
from textwrap import fill, indent
from typing import Any

from custom_networks.info import described_arguments

WIDTH = 100
Commands = Mapping[str, Callable[..., Any]]


def overview(commands: Commands) -> str:
    """The text that `liverseg` prints without arguments: all commands and some examples."""
    longest = max(map(len, commands))
    listed = [f"  {name:<{longest}}  {_summary(function)}" for name, function in commands.items()]
    examples = [line for function in commands.values() for line in _examples(function)[:1]]
    return "\n".join(
        [
            "liverseg finds liver and tumors in CT. Research use only: this is not a medical device.",
            "",
            "Usage: liverseg COMMAND [ARGUMENTS] [FLAGS]",
            "",
            "Commands:",
            *listed,
            "",
            "Examples:",
            *examples,
            "",
            "liverseg COMMAND --help explains a command, liverseg --version shows the version.",
        ]
    )


def command_help(name: str, function: Callable[..., Any]) -> str:
    """The text that `liverseg COMMAND --help` prints."""
    arguments = described_arguments(function)
    places = [argument for argument in arguments if not argument["flag"]]
    flags = [argument for argument in arguments if argument["flag"]]
    needed = "".join(f" --{a['name']} {a['name'].upper()}" for a in flags if a["required"])
    blocks = [
        f"Usage: liverseg {name}{''.join(f' {_place(function, a)}' for a in places)}{needed} [FLAGS]",
        _description(function),
        _listed("Arguments:", [(a["name"].upper(), a["help"]) for a in places]),
        _listed("Flags:", [(_flag(a), _flag_help(a)) for a in flags]),
        "\n".join(["Examples:", *examples]) if (examples := _examples(function)) else "",
    ]
    return "\n\n".join(filter(None, blocks))


def _summary(function: Callable[..., Any]) -> str:
    return (inspect.getdoc(function) or "").partition("\n")[0]


def _description(function: Callable[..., Any]) -> str:
    """The docstring without its arguments and examples, wrapped to the width."""
    text = re.split(r"^(?:Args|Examples):", inspect.getdoc(function) or "", flags=re.MULTILINE)[0]
    return "\n\n".join(fill(" ".join(part.split()), WIDTH) for part in text.strip().split("\n\n"))


def _examples(function: Callable[..., Any]) -> list[str]:
    block = (inspect.getdoc(function) or "").partition("Examples:\n")[2]
    return [f"  {line.strip()}" for line in block.splitlines() if line.strip()]


def _place(function: Callable[..., Any], argument: Mapping[str, Any]) -> str:
    """A positional argument in the usage line, followed by dots if it can be repeated."""
    several = inspect.signature(function).parameters[argument["name"]].kind is inspect.Parameter.VAR_POSITIONAL
    return argument["name"].upper() + "..." * several


def _flag(argument: Mapping[str, Any]) -> str:
    """A flag as it is typed, such as `-o, --output VALUE`."""
    short = "-o, " if argument["name"] == "output" else ""
    value = {"bool": "", "int": " N"}.get(argument["type"], " VALUE")
    return f"{short}--{argument['name'].replace('_', '-')}{value}"


def _flag_help(argument: Mapping[str, Any]) -> str:
    default = argument.get("default")
    text = str(default).lower() if isinstance(default, bool) else str(default)
    return f"{argument['help']} Default: {text}." if default not in (None, "", ()) else argument["help"]


def _listed(title: str, entries: list[tuple[str, str]]) -> str:
    """Arguments with their help under a title; "" if there are none."""
    lines = [f"  {name}\n{indent(fill(text, WIDTH - 6), ' ' * 6)}" for name, text in entries]
    return "\n".join([title, *lines]) if entries else ""
