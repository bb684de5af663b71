#!/usr/bin/env python3
"""The entry point of the container: a module of mercure or MONAI Deploy, or with arguments, `liverseg` itself.

A router sets a folder of DICOM files and an empty one (mercure: MERCURE_IN_DIR and MERCURE_OUT_DIR; MONAI Deploy:
HOLOSCAN_INPUT_PATH and HOLOSCAN_OUTPUT_PATH, before MONAI_INPUTPATH and MONAI_OUTPUTPATH). It gets SEG and SR in the
second folder itself, one or several studies, the log on stdout, and exit code 0 only if every study has its results;
what its rules send on is what lies there. Results whose verdict is stop are not handed on. LIVERSEG_FLAGS may hold
flags of `liverseg segment`.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PAIRS = (
    ("MERCURE_IN_DIR", "MERCURE_OUT_DIR"),
    ("HOLOSCAN_INPUT_PATH", "HOLOSCAN_OUTPUT_PATH"),
    ("MONAI_INPUTPATH", "MONAI_OUTPUTPATH"),
)
LIVERSEG = [sys.executable, "-m", "custom_networks"]


def main(arguments: list[str]) -> int:
    """Run the command with arguments, or one job of a router; the exit code."""
    given = [
        (os.environ[source], os.environ[target]) for source, target in PAIRS if {source, target} <= set(os.environ)
    ]
    if arguments or not given:
        return subprocess.run([*LIVERSEG, *(arguments or ["--help"])]).returncode
    source, target = map(Path, given[0])
    with tempfile.TemporaryDirectory() as work:
        results = Path(work) / "results"
        command = [*LIVERSEG, "segment", str(source), "--output", str(results), "--overlay=false", "--progress=false"]
        flags = shlex.split(os.environ.get("LIVERSEG_FLAGS", ""))
        # Routers run a container as a user of theirs, who has no home in it.
        environment = {**os.environ, "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", f"{work}/cache")}
        code = subprocess.run([*command, *flags], env=environment, stderr=subprocess.STDOUT).returncode
        handed_on = [hand_on(report.parent, target) for report in sorted(results.glob("[!.]*/report.json"))]
    return code if handed_on and all(handed_on) else code or 1


def hand_on(folder: Path, target: Path) -> bool:
    """Put a case's SEG and SR into the router's folder; whether both are there."""
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    if (report.get("verdict") or {}).get("level") == "stop":
        print(f"{folder.name}: held, the verdict is stop: nothing is handed on.", flush=True)
        return False
    names = [report["files"][kind] for kind in ("dicom_seg", "dicom_sr") if kind in report["files"]]
    for name in names:
        shutil.copyfile(folder / name, target / f".{name}.part")
        os.replace(target / f".{name}.part", target / name)
    return len(names) == 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
