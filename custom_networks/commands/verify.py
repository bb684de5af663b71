"""`liverseg verify`: check results against their manifests."""

from pathlib import Path

from custom_networks.commands.terminal import OK, SOME_FAILED, counted, say


def verify(output: str) -> int:
    """Check the files in a folder of results against their manifests, without changing anything.

    Exit code 0: every case folder is whole, each of its files has the SHA-256 in its manifest, and there are no other
    files; 1: something is missing, changed, incomplete or foreign; a line is printed for each fault. summary.csv,
    index.html and the records of refused inputs are not checked, and a case folder that was removed is not noticed.

    Args:
        output: the folder that `liverseg segment` wrote to.

    Examples:
        liverseg verify results
    """
    from custom_networks.batch.verify import verified

    found = verified(Path(output).expanduser())
    for fault in found.faults:
        say(fault)
    refused = f"; {counted(found.refused, 'input')} refused or failed, see summary.csv" if found.refused else ""
    whole = f"{counted(found.folders, 'case folder')} and {counted(found.files, 'file')} are whole"
    say(f"{whole}, {counted(len(found.faults), 'fault')}{refused}.")
    return SOME_FAILED if found.faults else OK
