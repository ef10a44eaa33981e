"""The rules of the house, read from source files without importing them.

Each function takes a tree and returns what breaks a rule, one line each: a test shows
that the package breaks none, and another that made-up trees do.
"""

import ast
import collections
import configparser
import pathlib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping

PACKAGE = "cdcd_jax"
# A file imports from its own room and from those after it.
ORDER = (
    *("main", "modes", "api", "convert", "stages", "evaluation", "generation"),
    *("models", "training", "tasks", "metrics", "reporting", "data", "runtime"),
    *("networks", "config", "diffusion", "planning", "errors"),
)
TOP = ("__init__", "main", "api", "errors")
# Folders of tests that are no room: what they test lies elsewhere, or is data.
OTHER_TESTS = ("benchmarks", "configs", "golden", "launch")


def modules(root: pathlib.Path) -> dict[str, pathlib.Path]:
    """Dotted name -> file, of the package below `root`; of a folder its __init__."""
    found = {}
    for file in sorted((root / PACKAGE).rglob("*.py")):
        parts = file.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def room(name: str) -> str:
    """Of a module: the folder below the package, or the file at its top."""
    return name.split(".")[1] if "." in name else "__init__"


def imports(
    name: str, files: Mapping[str, pathlib.Path], lazy: bool = True
) -> Iterator[tuple[str, int]]:
    """What a module imports, with the line: modules of the package, or packages.

    Args:
        lazy: those inside of functions too, and modules whose names stand in strings.
    """
    file = files[name]
    package = name if file.stem == "__init__" else name.rpartition(".")[0]

    def visit(node: ast.AST) -> Iterator[tuple[str, int]]:
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if inside and not lazy:
            return
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] if node.level else ""
            base = ".".join(filter(None, (above, node.module)))
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                yield (whole if whole in files else base), node.lineno
        elif lazy and isinstance(node, ast.Constant) and node.value in files:
            yield node.value, node.lineno  # of a table, to be imported when it is used
        for child in ast.iter_child_nodes(node):
            yield from visit(child)

    yield from visit(ast.parse(file.read_text()))


def _ours(found: Iterable[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    """Those of the package itself; its public names are those of the handle."""
    for target, line in found:
        if target == PACKAGE:
            yield f"{PACKAGE}.api", line
        elif target.startswith(f"{PACKAGE}."):
            yield target, line


def at_the_top(root: pathlib.Path) -> list[str]:
    """What lies at the top of the package and is neither a room nor of the four."""
    here = root / PACKAGE
    files = [f.name for f in here.glob("*.py") if f.stem not in TOP]
    folders = {f.parent.name for f in here.glob("*/*.py")}
    return sorted(files + [f"{name}/" for name in folders - set(ORDER)])


def upward(root: pathlib.Path) -> list[str]:
    """Imports, also inside of functions, from a room that comes earlier."""
    files, rank, found = modules(root), {name: i for i, name in enumerate(ORDER)}, []
    for name, file in files.items():
        if name == PACKAGE:  # its names are lazy, which test_main holds it to
            continue
        for target, line in _ours(imports(name, files)):
            if rank.get(room(target), -1) < rank.get(room(name), len(rank)):
                found.append(f"{file.relative_to(root)}:{line} imports {target}")
    return found


def circles(arrows: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Strongly connected sets of more than one name, or of one that names itself."""

    def reached(start: str) -> set[str]:
        seen, left = set(), list(arrows.get(start, ()))
        while left:
            if (name := left.pop()) not in seen:
                seen.add(name)
                left.extend(arrows.get(name, ()))
        return seen

    below = {name: reached(name) for name in arrows}
    within = {
        n: sorted(m for m in b if n in below.get(m, ())) for n, b in below.items()
    }
    return [list(c) for c in sorted({tuple(w) for w in within.values() if w})]


def module_circles(root: pathlib.Path) -> list[list[str]]:
    """Modules that import each other when they are imported."""
    files = modules(root)
    return circles(
        {
            name: [target for target, _ in _ours(imports(name, files, lazy=False))]
            for name in files
            if name != PACKAGE
        }
    )


def room_circles(root: pathlib.Path) -> list[list[str]]:
    """Rooms that import each other, at any time."""
    files, arrows = modules(root), {}
    for name in files:
        targets = {room(t) for t, _ in _ours(imports(name, files))} - {room(name)}
        if name != PACKAGE:
            arrows.setdefault(room(name), set()).update(targets)
    return circles(arrows)


def foreign(root: pathlib.Path, name: str, allowed: Iterable[str]) -> list[str]:
    """Packages that a room imports though only `allowed` and Python's are its own."""
    files, found = modules(root), []
    own = {*allowed, *sys.stdlib_module_names}
    for module, file in files.items():
        for target, line in imports(module, files) if room(module) == name else ():
            inside = target.startswith(f"{PACKAGE}.{name}.")
            inside = inside or target == f"{PACKAGE}.{name}"
            if not inside and target.split(".")[0] not in own:
                found.append(f"{file.relative_to(root)}:{line} imports {target}")
    return found


def unnamed(root: pathlib.Path) -> list[str]:
    """Files and folders of rooms that the docstring of their __init__ leaves out."""
    found = []
    for folder in sorted({f.parent for f in (root / PACKAGE).glob("*/**/*.py")}):
        opening, where = folder / "__init__.py", folder.relative_to(root)
        text = opening.read_text() if opening.exists() else ""
        said = ast.get_docstring(ast.parse(text)) or ""
        inside = {f.stem for f in folder.glob("*.py")} - {"__init__"}
        inside |= {f.parent.name for f in folder.glob("*/*.py")}
        words = set(re.findall(r"\w+", said))
        found += [f"{where}/__init__.py: {n}" for n in sorted(inside - words)]
        if not text:
            found.append(f"{where}/ has no __init__.py")
    return found


def unmirrored(root: pathlib.Path) -> list[str]:
    """Folders of tests that are no room's, rooms without one, names given twice.

    pytest imports test files by their names alone, so that no two may share one.
    """
    files = collections.Counter(f.name for f in (root / "tests").rglob("test_*.py"))
    twice = [f"{name} stands in {n} folders" for name, n in files.items() if n > 1]
    tests = {f.parent.name for f in (root / "tests").glob("*/*.*")}
    tests = {name for name in tests if not name.startswith(("_", "."))}
    rooms = {f.parent.name for f in (root / PACKAGE).glob("*/*.py")}
    strange = [f"tests/{name} is no room" for name in tests - rooms - {*OTHER_TESTS}]
    missing = [f"{name} has no tests/{name}" for name in rooms - tests]
    return sorted(strange + missing + twice)


def unlisted(root: pathlib.Path) -> list[str]:
    """Packages that setup.cfg leaves out, or lists though they are not there."""
    setup = configparser.ConfigParser()
    setup.read(root / "setup.cfg")
    listed = set(setup["options"]["packages"].split())
    there = set()
    for base, prefix in ((PACKAGE, ""), ("configs", f"{PACKAGE}.")):
        for file in (root / base).rglob("*.py"):
            parts = file.parent.relative_to(root).parts
            there.add(prefix + ".".join(parts))
    missing = [f"{name} is not in setup.cfg" for name in there - listed]
    return sorted(missing + [f"{name} is not there" for name in listed - there])
