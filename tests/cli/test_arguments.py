"""Command lines, and the arguments that Fire should get for them."""

import fire
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_networks.arguments import fire_arguments
from custom_networks.cli import info
from custom_networks.commands.segment import segment
from custom_networks.errors import UsageError
from custom_networks.usage import command_help


def command(*inputs: str, output: str = "", count: int = 0, fast: bool = False, dry_run: bool = False) -> int:
    """A command with every kind of argument."""
    return 0


def test_paths_stay_text_and_numbers_become_numbers() -> None:
    given = ["2024", "a b.nii.gz", "--output", "7", "--count", "3", "--fast"]
    assert fire_arguments(command, given) == ["'2024'", "'a b.nii.gz'", "--output='7'", "--count=3", "--fast=True"]


@pytest.mark.parametrize(
    "given, ready",
    [
        ([], []),
        (["--output=a=b"], ["--output='a=b'"]),
        (["--output", "-x"], ["--output='-x'"]),
        (["-o", "x"], ["--output='x'"]),
        (["--count", "-2"], ["--count=-2"]),
        (["--count=007"], ["--count=7"]),
        (["--dry-run"], ["--dry_run=True"]),
        (["--dry_run"], ["--dry_run=True"]),
        (["--fast=false"], ["--fast=False"]),
        (["--fast=True", "b"], ["--fast=True", "'b'"]),
        (["--fast", "--count", "1"], ["--fast=True", "--count=1"]),
        (["-"], ["'-'"]),
        (["[1,2]", "None", "{'a':1}"], ["'[1,2]'", "'None'", "\"{'a':1}\""]),
        (["it's"], ['"it\'s"']),
        ([r"C:\new\ct.nii"], [r"'C:\\new\\ct.nii'"]),
    ],
)
def test_each_argument_reaches_fire_with_its_type(given: list[str], ready: list[str]) -> None:
    assert fire_arguments(command, given) == ready


@pytest.mark.parametrize(
    "given, message",
    [
        (["--outptu", "x"], "Unknown flag --outptu: did you mean --output?"),
        (["--nofast"], "Unknown flag --nofast: did you mean --fast=false?"),
        (["--zzz"], "Unknown flag --zzz: see --help."),
        (["-x", "o"], "Unknown flag -x: see --help."),
        (["--"], "Unknown flag --: see --help."),
        (["--inputs", "x"], "Unknown flag --inputs: see --help."),
        (
            ["--fast", "b"],
            "--fast takes no value, but 'b' follows it: put inputs before flags, or write --fast=true or --fast=false.",
        ),
        (["--fast=b"], "--fast must be true or false, got 'b'."),
        (["--fast="], "--fast must be true or false, got ''."),
        (["--output"], "--output needs a value."),
        (["--output="], "--output needs a value."),
        (["--output", ""], "--output needs a value."),
        (["--output", "--fast"], "--output needs a value."),
        (["--count", "many"], "--count must be a whole number, got 'many'."),
        (["--count", "1.5"], "--count must be a whole number, got '1.5'."),
    ],
)
def test_arguments_that_fire_would_misread_are_refused_with_a_hint(given: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        fire_arguments(command, given)
    assert str(caught.value) == message


def echo(*inputs: str, output: str = "") -> list[str]:
    """Return the arguments."""
    return [*inputs, output]


@given(
    paths=st.lists(st.text(min_size=1).filter(lambda text: text == "-" or not text.startswith("-")), max_size=3),
    output=st.text(min_size=1).filter(lambda text: not text.startswith("--")),
)
@settings(max_examples=60, deadline=None)
def test_any_text_passes_through_fire_unchanged(paths: list[str], output: str) -> None:
    ready = fire_arguments(echo, [*paths, "--output", output])
    assert fire.Fire(echo, command=ready, serialize=lambda result: None) == [*paths, output]


def test_every_command_takes_debug() -> None:
    for command in (segment, info):
        assert fire_arguments(command, ["--debug"]) == ["--debug=True"]
        assert "--debug\n" in command_help(command.__name__, command)
