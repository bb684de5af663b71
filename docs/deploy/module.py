#!/usr/bin/env python3
"""The entry point of the container: runs a job of mercure or MONAI Deploy or, if it has arguments, `liverseg`.

The router sets two environment variables, a folder of DICOM files and an empty folder for the results: MERCURE_IN_DIR
and MERCURE_OUT_DIR (mercure), or HOLOSCAN_INPUT_PATH and HOLOSCAN_OUTPUT_PATH (MONAI Deploy; MONAI_INPUTPATH and
MONAI_OUTPUTPATH before version 1.0). The SEG and SR of each study are copied to the second folder, and the router's
rules send them on. Results with the verdict "stop" are not copied. The log goes to stdout. The exit code is 0 only if
both files of every study were copied. Flags for `liverseg segment` are taken from the environment variable
LIVERSEG_FLAGS and from "flags" in the settings of mercure's task.json, which a rule can set.

`show` prints the manifests of a MONAI Application Package, and `extract` copies them to
/var/run/holoscan/export/config.
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
MANIFESTS = [Path("/etc/holoscan/app.json"), Path("/etc/holoscan/pkg.json")]
EXPORT = Path("/var/run/holoscan/export/config")


def main(arguments: list[str]) -> int:
    """Run the router's job or, if there are arguments, the command they name; return the exit code."""
    given = [
        (os.environ[source], os.environ[target]) for source, target in PAIRS if {source, target} <= set(os.environ)
    ]
    if arguments in (["show"], ["extract"]):
        return about_package(arguments[0])
    if arguments or not given:
        return subprocess.run([*LIVERSEG, *(arguments or ["--help"])]).returncode
    return run_job(*map(Path, given[0]))


def run_job(source: Path, target: Path) -> int:
    """Segment the studies in `source`, copy their SEG and SR to `target`, and return the exit code."""
    with tempfile.TemporaryDirectory() as work:
        results = Path(work) / "results"
        command = [*LIVERSEG, "segment", str(source), "--output", str(results), "--overlay=false", "--progress=false"]
        # Routers run the container as one of their own users, who has no home folder in it.
        environment = {**os.environ, "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", f"{work}/cache")}
        code = subprocess.run([*command, *flags_for(source)], env=environment, stderr=subprocess.STDOUT).returncode
        handed_on = [hand_on(report.parent, target) for report in sorted(results.glob("[!.]*/report.json"))]
    return code if handed_on and all(handed_on) else code or 1


def flags_for(source: Path) -> list[str]:
    """Flags from the container's environment, followed by those in mercure's task, which take precedence."""
    task = source / "task.json"
    process = json.loads(task.read_text(encoding="utf-8")).get("process") if task.is_file() else None
    settings = (process or {}).get("settings") or {}
    return shlex.split(os.environ.get("LIVERSEG_FLAGS", "")) + shlex.split(settings.get("flags", ""))


def hand_on(folder: Path, target: Path) -> bool:
    """Copy the SEG and SR of a case to the router's folder, unless its verdict is "stop"; return whether both exist."""
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    if (report.get("verdict") or {}).get("level") == "stop":
        print(f"{folder.name}: the verdict is stop, so its SEG and SR are not sent on.", flush=True)
        return False
    names = [report["files"][kind] for kind in ("dicom_seg", "dicom_sr") if kind in report["files"]]
    for name in names:
        shutil.copyfile(folder / name, target / f".{name}.part")
        os.replace(target / f".{name}.part", target / name)
    return len(names) == 2


def about_package(command: str) -> int:
    """Print the manifests ("show"), or copy them to the folder that the host mounts for them; return 0."""
    for manifest in MANIFESTS:
        if command == "show":
            print(manifest.read_text(encoding="utf-8"), end="", flush=True)
        else:
            shutil.copy(manifest, EXPORT)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
