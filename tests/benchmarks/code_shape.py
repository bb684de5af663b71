"""Measure a package's code with `ast`: sizes of modules and functions, annotations, docstrings.

    python tests/benchmarks/code_shape.py custom_networks

Lines of a function are those from `def` to its end, decorators and docstring not counted. Public is what neither it nor
a class around it hides by a leading underscore; functions within functions count for sizes and annotations alone.
"""

import ast
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

LONG, MEDIAN = 60, 10  # lines of a function: none above, the median not above
ANNOTATED, DOCUMENTED = 0.98, 0.95  # of all functions, of what is public

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Function:
    """A function or method: where it is, how long it is, and whether it has annotations and a docstring."""

    place: str
    lines: int
    annotated: bool


@dataclass(frozen=True)
class Public:
    """A public module, class, function or method."""

    place: str
    documented: bool


@dataclass(frozen=True)
class Shape:
    """Measurements of a package: lines of each module, functions, and public names."""

    modules: dict[str, int]
    functions: list[Function]
    public: list[Public]


def measure(package: Path) -> Shape:
    """Measure every module below a folder.

    Raises:
        FileNotFoundError: if there is none.
    """
    paths = sorted(package.rglob("*.py"))
    if not paths:
        raise FileNotFoundError(f"No Python module below {package}: give the folder of a package.")
    modules: dict[str, int] = {}
    functions: list[Function] = []
    public: list[Public] = []
    for path in paths:
        name, source = path.relative_to(package).as_posix(), path.read_text(encoding="utf-8")
        tree = ast.parse(source, filename=str(path))
        modules[name] = len(source.splitlines())
        functions += [_function(node, name) for node in ast.walk(tree) if isinstance(node, FunctionNode)]
        public += [Public(place, ast.get_docstring(node) is not None) for place, node in _public(tree, name)]
    return Shape(modules, functions, public)


def code_lines(node: FunctionNode) -> int:
    """Lines of a function without its decorators and its docstring."""
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    if ast.get_docstring(node) is None:
        return lines
    docstring = node.body[0]
    return lines - ((docstring.end_lineno or docstring.lineno) - docstring.lineno + 1)


def is_annotated(node: FunctionNode) -> bool:
    """Whether all arguments except `self` and `cls`, and the result except that of `__init__`, have a type."""
    spec = node.args
    named = [*spec.posonlyargs, *spec.args, *spec.kwonlyargs, *filter(None, (spec.vararg, spec.kwarg))]
    own = [argument for argument in named if argument.arg not in ("self", "cls")]
    returns = node.returns is not None or (node.name == "__init__" and own)
    return bool(returns and all(argument.annotation for argument in own))


def _function(node: FunctionNode, module: str) -> Function:
    return Function(f"{module}:{node.lineno} {node.name}", code_lines(node), is_annotated(node))


def _public(tree: ast.Module, module: str) -> Iterator[tuple[str, ast.Module | ast.ClassDef | FunctionNode]]:
    """The module itself, its public classes and functions, and their public methods."""
    yield module, tree
    waiting: list[ast.AST] = [tree]
    while waiting:
        for node in ast.iter_child_nodes(waiting.pop()):
            if isinstance(node, (ast.ClassDef, FunctionNode)) and not node.name.startswith("_"):
                yield f"{module}:{node.lineno} {node.name}", node
                if isinstance(node, ast.ClassDef):
                    waiting.append(node)


def _rows(shape: Shape) -> Iterator[tuple[str, str]]:
    """Name and value of each line of the table."""
    modules = list(shape.modules.values())
    lines = [function.lines for function in shape.functions] or [0]
    yield "modules", f"{len(modules)}"
    yield "lines", f"{sum(modules)}"
    yield "module lines: median / p90 / max", _spread(modules)
    yield "functions", f"{len(shape.functions)}"
    yield "function lines: median / p90 / max", _spread(lines)
    yield f"functions over {LONG} lines", f"{sum(n > LONG for n in lines)}"
    yield "annotated", f"{_share([function.annotated for function in shape.functions]):.1%}"
    yield "public with docstring", f"{_share([public.documented for public in shape.public]):.1%}"


def _spread(sizes: Sequence[int]) -> str:
    ninetieth = sorted(sizes)[min(len(sizes) - 1, len(sizes) * 9 // 10)]
    return f"{statistics.median(sizes):g} / {ninetieth} / {max(sizes)}"


def _share(held: Sequence[bool]) -> float:
    return sum(held) / max(1, len(held))


def broken_limits(shape: Shape) -> list[str]:
    """Messages for the limits at the top of this module that are exceeded."""
    lines = [function.lines for function in shape.functions] or [0]
    kept = {
        f"median function at most {MEDIAN} lines": statistics.median(lines) <= MEDIAN,
        f"no function over {LONG} lines": max(lines) <= LONG,
        f"{ANNOTATED:.0%} annotated": _share([function.annotated for function in shape.functions]) >= ANNOTATED,
        f"{DOCUMENTED:.0%} documented": _share([public.documented for public in shape.public]) >= DOCUMENTED,
    }
    return [limit for limit, holds in kept.items() if not holds]


def main(arguments: Sequence[str]) -> int:
    """Print the table of the package in a given folder; return 1 if a limit is exceeded, 2 without a folder."""
    if len(arguments) != 1:
        print("usage: python tests/benchmarks/code_shape.py PACKAGE_FOLDER", file=sys.stderr)
        return 2
    shape = measure(Path(arguments[0]))
    print(f"| {arguments[0]} | |\n|---|---|")
    for name, value in _rows(shape):
        print(f"| {name} | {value} |")
    for function in sorted(shape.functions, key=lambda f: -f.lines)[:5]:
        print(f"  {function.lines:3d} lines  {function.place}")
    broken = broken_limits(shape)
    for limit in broken:
        print(f"BROKEN: {limit}", file=sys.stderr)
    for public in shape.public if broken else ():
        if not public.documented:
            print(f"  no docstring: {public.place}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
