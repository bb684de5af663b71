"""liverseg: segment liver and tumors in CT from the command line."""

import logging
import sys
from collections.abc import Callable, Sequence

import fire

from custom_networks.arguments import DEBUG, HELP, check_complete, fire_arguments, unknown_command
from custom_networks.bundle_files import bundle_version
from custom_networks.commands.measure import measure
from custom_networks.commands.segment import segment
from custom_networks.commands.serve import serve
from custom_networks.commands.terminal import INTERRUPTED, NOTHING_STARTED, OK, complain, say
from custom_networks.commands.tools import export, pack, phantom, series
from custom_networks.commands.verify import verify
from custom_networks.errors import LiversegError, reason_of
from custom_networks.streams import Notices, unbreakable_streams
from custom_networks.usage import command_help, overview


def info(*, json: bool = False) -> int:
    """Show the inputs, outputs, commands and exit codes of liverseg.

    Args:
        json: print JSON.

    Examples:
        liverseg info --json
    """
    from json import dumps

    from custom_networks.info import info_lines, known_facts

    known = known_facts(COMMANDS)
    say(dumps(known, indent=2) if json else "\n".join(info_lines(known)))
    return OK


_COMMANDS: tuple[Callable[..., int], ...] = (segment, measure, verify, serve, series, phantom, info, pack, export)
COMMANDS = {command.__name__: command for command in _COMMANDS}


def main(argv: Sequence[str] | None = None) -> int:
    """Run `liverseg` and return its exit code; usage errors that only Fire detects raise SystemExit."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    with unbreakable_streams():
        return _guarded(arguments)


def _guarded(arguments: list[str]) -> int:
    """Run a command and turn any error into one line and an exit code.

    With `--debug`, unexpected errors are also logged with their traceback.
    """
    logging.basicConfig(level=logging.WARNING, handlers=[Notices()])
    logging.captureWarnings(True)
    level = (own := logging.getLogger("custom_networks")).level
    try:
        if arguments == ["--version"]:
            say(f"liverseg {bundle_version()}")
            return OK
        return _run(arguments)
    except LiversegError as error:
        complain(str(error))
        return NOTHING_STARTED
    except KeyboardInterrupt:
        segmenting = arguments[:1] == [segment.__name__]
        complain("interrupted; the cases reported above were written." if segmenting else "interrupted.")
        return INTERRUPTED
    except Exception as error:
        logging.getLogger(__name__).debug("liverseg %s", arguments[:1], exc_info=True)
        complain(f"failed unexpectedly: {reason_of(error)} (--debug shows where).")
        return NOTHING_STARTED
    finally:
        logging.captureWarnings(False)
        own.setLevel(level)  # `--debug` applies to this run only


def _run(arguments: list[str]) -> int:
    """Check a command line and run it, or print help; return the exit code."""
    if not arguments or arguments[0] == "help" or any(flag in arguments for flag in HELP):
        named = next((a for a in arguments[:2] if a in COMMANDS), None)
        say(command_help(named, COMMANDS[named]) if named else overview(COMMANDS))
        return OK
    command, *rest = arguments
    if command not in COMMANDS:
        raise unknown_command(command, COMMANDS)
    ready = fire_arguments(COMMANDS[command], rest)
    if f"--{DEBUG}=True" in ready:
        logging.getLogger("custom_networks").setLevel(logging.DEBUG)
    ready = [argument for argument in ready if not argument.startswith(f"--{DEBUG}=")]
    check_complete(command, ready)
    return int(fire.Fire(COMMANDS, command=[command, *ready], name="liverseg", serialize=lambda code: None))
