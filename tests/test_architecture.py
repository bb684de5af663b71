"""Which layer may import what (docs/architecture.md), and the habits that every module keeps."""

import ast
import importlib.util
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "custom_networks"

# Layer: the project's own modules, and the libraries (besides Python's own), that it may import at all.
ALLOWED = {
    "networks": ({"networks"}, {"torch"}),
    "io": ({"io", "errors"}, {"numpy", "nibabel", "pydicom", "itk", "monai", "torch"}),
    "transforms": ({"transforms", "errors"}, {"numpy", "torch", "monai", "scipy"}),
    "inference": ({"inference", "networks", "errors"}, {"numpy", "torch", "monai", "tqdm"}),
    # inference.spacing, io.checks: which slices make a stack, and which geometry is none, are one rule for both.
    "training": (
        {"training", "transforms", "inference.spacing", "io.checks", "errors"},
        {"numpy", "torch", "monai", "ignite", "scipy"},
    ),
    "phantom": ({"phantom", "errors"}, {"numpy", "scipy", "nibabel", "pydicom"}),
    "study": (
        {"study", "io", "transforms", "errors", ""},
        {"numpy", "scipy", "nibabel", "matplotlib", "highdicom", "pydicom"},
    ),
    "pipeline": ({"bundle_files", "errors", "io", "study"}, {"monai"}),
    "packing": ({"packing", "bundle_files", "errors"}, {"monai"}),
    "export": ({"bundle_files", "errors"}, {"torch", "onnxruntime"}),
    "cli": (
        {"arguments", "bundle_files", "capabilities", "errors", "export", "io"}
        | {"packing", "phantom", "pipeline", "study", ""},
        {"fire", "torch"},
    ),
    "segmentation": ({"errors", "io", "pipeline", "study"}, {"numpy", "nibabel"}),
    "capabilities": ({"bundle_files", "io", "study", ""}, set()),
    "__main__": ({"cli"}, set()),
    "__init__": ({"segmentation", "bundle_files", ""}, set()),
    "arguments": ({"errors"}, set()),
    "bundle_files": ({"errors"}, {"monai", "torch"}),
    "errors": (set(), set()),
}
# Importing the readers must not cost the seconds of torch, MONAI or ITK: only these two modules are built on MONAI.
BUILT_ON_MONAI = {"io/monai_reader.py", "io/monai_writer.py"}
HEAVY = {"torch", "monai", "itk", "ignite", "matplotlib", "highdicom", "scipy", "skimage", "openvino", "onnxruntime"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def imports(nodes: Iterator[ast.AST], path: Path) -> set[str]:
    """Full names of what import statements name, `from . import x` included."""
    package = [PACKAGE.name, *path.relative_to(PACKAGE).parent.parts]
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            found.add(".".join([*above, *filter(None, [node.module])]))
    return found


def at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when the module is imported: no function bodies, nothing for type checkers alone."""
    for node in ast.iter_child_nodes(tree):
        yield node
        typing_only = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if not typing_only and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from at_import(node)


def syntax(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def layer_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def code_shape() -> ModuleType:
    """The module that `make shape` runs."""
    spec = importlib.util.spec_from_file_location("code_shape", ROOT / "tests" / "benchmarks" / "code_shape.py")
    if spec is None or spec.loader is None:
        raise ImportError("tests/benchmarks/code_shape.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_every_layer_is_in_the_table_and_no_other() -> None:
    assert {layer_of(path) for path in modules()} == set(ALLOWED)


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_a_module_imports_only_what_its_layer_may(path: Path) -> None:
    own, libraries = ALLOWED[layer_of(path)]
    for name in imports(ast.walk(syntax(path)), path):
        first, _, rest = name.partition(".")
        if first == PACKAGE.name:
            assert any(rest == part or rest.startswith(f"{part}.") for part in own), f"{layer_of(path)} -> {name}"
        else:
            assert first in libraries | sys.stdlib_module_names, f"{layer_of(path)} -> {name}"


def test_the_layers_below_know_nothing_of_those_above() -> None:
    above = {"cli", "pipeline", "study", "packing", "export", "arguments", "bundle_files"}
    for layer in ("networks", "io", "transforms", "inference", "training", "phantom"):
        assert not ALLOWED[layer][0] & above
    assert not ALLOWED["study"][0] & {"cli", "pipeline"} and "cli" not in ALLOWED["pipeline"][0]


@pytest.mark.parametrize("path", [p for p in modules() if layer_of(p) in ("io", "cli")], ids=name_of)
def test_readers_and_command_line_load_what_is_heavy_only_when_they_need_it(path: Path) -> None:
    heavy = {name.partition(".")[0] for name in imports(at_import(syntax(path)), path)} & HEAVY
    assert heavy == ({"torch", "monai"} & heavy if name_of(path) in BUILT_ON_MONAI else set())


@pytest.mark.parametrize("name", ["custom_networks", "custom_networks.cli", "custom_networks.io"])
def test_importing_it_is_light(name: str) -> None:
    listing = f"import {name}, sys; print(*{{m.partition('.')[0] for m in sys.modules}}, {name}.__file__)"
    run = subprocess.run(
        [sys.executable, "-c", listing],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(run.stdout.split())
    assert any(str(PACKAGE) in entry for entry in loaded)
    assert not loaded & (HEAVY - {"scipy"})  # nibabel imports the first module of SciPy, which is a small one


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_no_assert_and_no_print_outside_the_command_line(path: Path) -> None:
    nodes = list(ast.walk(syntax(path)))
    calls = [ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)]
    assert path == PACKAGE / "cli.py" or "print" not in calls
    assert not [node.lineno for node in nodes if isinstance(node, ast.Assert)]


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_no_error_is_swallowed(path: Path) -> None:
    for handler in (node for node in ast.walk(syntax(path)) if isinstance(node, ast.ExceptHandler)):
        assert handler.type is not None, f"bare except in line {handler.lineno}"
        assert not all(isinstance(node, ast.Pass) for node in handler.body), f"swallowed in line {handler.lineno}"


def test_functions_are_short() -> None:
    functions = code_shape().measure(PACKAGE).functions
    assert [function.place for function in functions if function.lines > 60] == []
    assert statistics.median(function.lines for function in functions) <= 10


def test_functions_are_annotated_and_what_is_public_is_documented() -> None:
    shape = code_shape().measure(PACKAGE)
    assert [function.place for function in shape.functions if not function.annotated] == []
    assert [public.place for public in shape.public if not public.documented] == []


def test_modules_are_short() -> None:
    assert {name: lines for name, lines in code_shape().measure(PACKAGE).modules.items() if lines > 300} == {}


def test_the_shape_of_a_known_module_is_measured_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "known.py").write_text(
        '"""Doc."""\n\n\n'
        "class Shown:\n"
        '    """Doc."""\n\n'
        "    @property\n"
        "    def area(self) -> float:\n"
        '        """One\n\n        more.\n        """\n'
        "        return 1.0\n\n"
        "    def __len__(self):\n"
        "        return 1\n\n\n"
        "def bare(x, *, y: int = 1) -> int:\n"
        "    def inner() -> None: ...\n"
        "    return x\n"
    )
    shape = code_shape().measure(tmp_path)
    assert shape.modules == {"known.py": 21}
    assert {f.place: (f.lines, f.annotated) for f in shape.functions} == {
        "known.py:8 area": (2, True),
        "known.py:15 __len__": (2, False),
        "known.py:19 bare": (3, False),
        "known.py:20 inner": (1, True),
    }
    assert {p.place: p.documented for p in shape.public} == {
        "known.py": True,
        "known.py:4 Shown": True,
        "known.py:8 area": True,
        "known.py:19 bare": False,
    }
    assert code_shape().main([str(tmp_path)]) == 0
    table = capsys.readouterr().out
    assert "| function lines: median / p90 / max | 2 / 3 / 3 |" in table
    assert "| annotated | 50 % |" in table and "| public with docstring | 75 % |" in table
    assert code_shape().main([]) == 2


def test_every_package_folder_is_installed() -> None:
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg")
    listed = set(settings["options"]["packages"].split()) - {"liver_tumor_ct_25d"}
    folders = {path.parent.relative_to(ROOT).as_posix().replace("/", ".") for path in PACKAGE.rglob("__init__.py")}
    assert listed == folders
    assert {path.parent for path in modules()} == {path.parent for path in PACKAGE.rglob("__init__.py")}
