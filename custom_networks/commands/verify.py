"""`liverseg verify`: whether results are what was written."""

from pathlib import Path

from custom_networks.commands.terminal import OK, SOME_FAILED, say


def verify(output: str) -> int:
    """Check every file of a folder of results against its manifests; nothing is changed.

    Exit code 0: every case folder is whole, every file has the SHA-256 that was written down, and nothing else lies
    there; 1: something is missing, changed, unfinished or foreign, a line each.

    Args:
        output: the folder that `liverseg segment` wrote to.

    Examples:
        liverseg verify results
    """
    from custom_networks.batch.verify import verified

    found = verified(Path(output).expanduser())
    for fault in found.faults:
        say(fault)
    refused = f"; {found.refused} inputs were refused or failed, see summary.csv" if found.refused else ""
    faults = f"{len(found.faults)} fault{'s' * (len(found.faults) != 1)}"
    say(f"{found.folders} case folders and {found.files} files are whole, {faults}{refused}.")
    return SOME_FAILED if found.faults else OK
