"""Config files: where they lie, what they are called, and how one becomes a config.

ml_collections is imported where a file is run, so that listing costs nothing.
"""

import ast
import difflib
import importlib.util
import pathlib
import textwrap
from typing import Any

from cdcd_jax.errors import UsageError


def config_files() -> dict[str, pathlib.Path]:
    """'configs/X.py' -> where it lies: in the checkout, or installed in the package."""
    package = pathlib.Path(__file__).parents[1]
    checkout = package.parent / "configs"
    root = checkout if checkout.is_dir() else package / "configs"
    files = sorted(f for f in root.rglob("*.py") if f.name != "__init__.py")
    return {f"configs/{f.relative_to(root).as_posix()}": f for f in files}


def find_config(text: str) -> tuple[str, str]:
    """The file of `--config` and what follows its colon ("" if nothing).

    Raises:
        UsageError: no such file.
    """
    name, _, variant = text.partition(":")
    if pathlib.Path(name).is_file():
        return name, variant
    known = config_files()
    if name in known:
        return str(known[name]), variant
    near = difflib.get_close_matches(name, known, 1)
    raise UsageError(
        f"no config file {name!r}{f', did you mean {near[0]}?' if near else ''}: give "
        f"a file that exists, or one of {', '.join(known)}"
    )


def default_workdir(config: str) -> pathlib.Path:
    """runs/<path below configs>[-<variant>]: configs/a/b.py:c -> runs/a/b-c.

    Raises:
        UsageError: "", where no file was named.
    """
    if not config:
        raise UsageError(
            "Found no workdir; expected a place for the run, since no config file "
            "names one; give it"
        )
    name, _, variant = config.partition(":")
    path = pathlib.PurePath(name).with_suffix("")
    if "configs" in path.parts:
        start = path.parts.index("configs") + 1
        path = pathlib.PurePath(*path.parts[start:])
    else:
        path = pathlib.PurePath(path.name)
    return pathlib.Path("runs") / (f"{path}-{variant}" if variant else path)


def config_of(workdir: str) -> str | None:
    """The config whose runs lie in `workdir` by default; None if there is none."""
    parts = pathlib.PurePath(workdir).parts
    if len(parts) < 2 or parts[0] != "runs":
        return None
    name, _, variant = "/".join(parts[1:]).partition("-")
    file = f"configs/{name}.py"
    return (
        None if file not in config_files() else file + (f":{variant}" * bool(variant))
    )


def list_configs() -> str:
    """A line of 80 columns a config file: its name and the head of its docstring."""
    lines = []
    for name, path in config_files().items():
        document = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        room = max(80 - len(name) - 2, 20)
        said = textwrap.shorten(document.partition("\n")[0], room, placeholder=" ...")
        lines.append(f"{name}  {said}")
    return "\n".join(lines)


def run_config(text: str) -> Any:
    """Runs `get_config(variant)` of the file that `--config=<file>[:variant]` names.

    Returns:
        its ConfigDict.

    Raises:
        UsageError: no such file or variant, or a file that is not a config.
    """
    from ml_collections import ConfigDict

    file, variant = find_config(text)
    spec = importlib.util.spec_from_file_location("config", file)
    if spec is None or spec.loader is None:
        raise UsageError(f"{file} is not a Python file: give a config such as X.py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        if not hasattr(module, "get_config"):
            raise UsageError(f"config {file} has no function get_config(variant)")
        config = module.get_config(variant)
    except UsageError:
        raise
    except Exception as error:  # whatever the file does
        raise UsageError(
            f"config {file} cannot be run ({type(error).__name__}: {error}): mend it"
        ) from error
    if not isinstance(config, ConfigDict):
        raise UsageError(
            f"config {file}: get_config gave a {type(config).__name__}, expected a "
            "ConfigDict; wrap it: ConfigDict(experiment(...))"
        )
    return config
