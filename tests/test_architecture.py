"""Which room may import which (docs/architecture.md), and rules that every module follows."""

import ast
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from custom_networks.packing.contents import bundle_contents

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "custom_networks"

# Room: the rooms that it may import, besides errors and files.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "files": set(),
    "labelmap": set(),
    "networks": set(),
    "staging": set(),
    "manifest": set(),
    "case_folder": {"manifest", "staging"},
    "io": {"labelmap"},
    "transforms": {"inference", "io", "labelmap", "case_folder"},
    "inference": {"networks"},
    "evaluation": {"io", "labelmap"},
    "training": {"evaluation", "inference", "io", "labelmap", "networks", "transforms"},
    "tuning": {"bundle_files", "evaluation", "inference", "io", "labelmap", "training", "transforms"},
    "phantom": {"staging"},
    "report": {"io", "labelmap"},
    "measured": {"case_folder", "io", "labelmap", "report", "result"},
    "dicom_out": {"io", "labelmap"},
    "bundle_files": {"inference"},
    "packing": {"bundle_files", "inference"},
    "showing": {"dicom_out", "io", "report"},
    "result": {"case_folder", "dicom_out", "io", "report", "showing", "staging", "transforms"},
    "pipeline": {"bundle_files", "case_folder", "inference", "io", "labelmap", "report", "result", "transforms"},
    "info": {"arguments", "bundle_files", "io", "report"},
    "api": {"batch", "bundle_files", "inference", "io", "pipeline", "progress", "result"},
    "progress": set(),
    "arguments": set(),
    "streams": set(),
    "batch": {"bundle_files", "case_folder", "inference", "io", "manifest", "pipeline", "report", "result"}
    | {"staging", "streams"},
    "node": {"io", "staging"},
    "commands": {"batch", "bundle_files", "inference", "io", "measured", "node", "packing", "phantom", "pipeline"}
    | {"result"},
    "usage": {"info"},
    "cli": {"arguments", "bundle_files", "commands", "info", "streams", "usage"},
    "__main__": {"cli"},
    "__init__": {"api", "bundle_files"},
}
LIBRARIES = {"networks": {"torch"}, "labelmap": {"numpy", "scipy"}}
# What the lightest imports must not load, and what a machine with tests/zoo/requirements.txt alone does not have.
HEAVY = {"torch", "monai", "itk", "ignite", "matplotlib", "highdicom", "skimage", "openvino", "onnxruntime"}
HEAVY |= {"pynetdicom"}
NOT_THERE = {"highdicom", "matplotlib", "pynetdicom", "openvino", "onnx", "onnxruntime", "gdcm", "sklearn", "pandas"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def syntax(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[str]:
    """Full names of everything that a module imports, including imports inside functions."""
    for node in ast.walk(syntax(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            raise AssertionError(f"{path}:{node.lineno}: relative import")
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def run(script: str, *arguments: str) -> str:
    """The output of a script that a new Python process runs with the checkout on its path."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_imports_between_rooms_go_downwards_only() -> None:
    list(TopologicalSorter(MAY_IMPORT).static_order())  # a circle is an error
    upwards = []
    for path in modules():
        room = room_of(path)
        own = {room, "errors", "files", "__version__", *MAY_IMPORT[room]}
        parts = [name.split(".") for name in imports(path) if name.split(".")[0] == PACKAGE.name]
        upwards += [f"{path}: {room} -> {'.'.join(part)}" for part in parts if part[1] not in own]
    assert upwards == []


def test_network_and_label_maps_need_few_libraries() -> None:
    for path in modules():
        wanted = {name.partition(".")[0] for name in imports(path)} - {PACKAGE.name} - sys.stdlib_module_names
        assert wanted <= LIBRARIES.get(room_of(path), wanted), path


def test_importing_readers_and_command_line_is_light() -> None:
    script = "import custom_networks.cli, custom_networks.io, sys; print(*{m.partition('.')[0] for m in sys.modules})"
    assert not set(run(script).split()) & HEAVY


def test_packed_code_imports_with_the_packages_that_the_metadata_requires(python: Callable[..., Any]) -> None:
    packed = [name for name in bundle_contents(ROOT / "bundle", PACKAGE) if name.endswith(".py")]
    names = [name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in packed]
    assert {"custom_networks.training.loss", "custom_networks.evaluation"} <= set(names)
    assert not [name for name in names if name.startswith("custom_networks.tuning")]
    script = (
        "import importlib, sys\n"
        f"sys.modules |= dict.fromkeys({NOT_THERE})\n"  # None there is an ImportError
        "for name in sys.argv[1:]: importlib.import_module(name)"
    )
    done = python("-c", script, *names, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr[-2000:]


def test_library_code_has_no_assert_and_no_print() -> None:
    for path in modules():
        nodes = list(ast.walk(syntax(path)))
        calls = [ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)]
        assert room_of(path) in ("cli", "commands", "tuning") or "print" not in calls, path
        assert not [node.lineno for node in nodes if isinstance(node, ast.Assert)], path


def test_no_error_is_swallowed() -> None:
    for path in modules():
        for handler in (node for node in ast.walk(syntax(path)) if isinstance(node, ast.ExceptHandler)):
            assert handler.type is not None, f"{path}: bare except in line {handler.lineno}"
            swallowed = all(isinstance(node, ast.Pass) for node in handler.body)
            assert not swallowed, f"{path}: swallowed in line {handler.lineno}"


def test_every_folder_of_the_package_is_installed() -> None:
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg")
    listed = set(settings["options"]["packages"].split()) - {"liver_tumor_ct_25d"}
    folders = {path.parent.relative_to(ROOT).as_posix().replace("/", ".") for path in modules()}
    assert listed == folders
