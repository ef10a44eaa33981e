"""What each key means: read from the comments beside the defaults themselves.

A key's meaning stands in the source of the function that gives its default, behind it
or in the lines above; whoever asks for help reads the same words. A task from outside
is read in the same way.
"""

import difflib
import functools
import inspect
import io
import itertools
import textwrap
import tokenize
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from cdcd_jax.config import keys, records
from cdcd_jax.errors import UsageError

RECORDS = "a stage of records"  # whose keys stand below `stages.<name>`


class Key(NamedTuple):
    """A key of some settings."""

    where: str  # whose it is
    default: Any  # a dict of a section
    meaning: str  # "" where the name says it


def tables() -> dict[str, dict[str, Key]]:
    """Whose settings -> dotted key -> what it is."""
    common = keys._common()
    found = {"every run": _known("every run", common, keys._common)}
    for task, settings in keys.TASK_SETTINGS.items():
        where = f"task {task}"
        found[where] = _known(where, settings(), settings)
    made = records.default_config
    found[RECORDS] = _known(RECORDS, made(), made)
    return found


def explain(name: str) -> str:
    """Meaning and default of a key, or of the keys of a section; lines of 80 columns.

    Args:
        name: dotted, with or without `config.` in front; of a stage's keys what
            follows the stage's name.

    Raises:
        UsageError: no such key; names the nearest.
    """
    wanted, known = name.removeprefix("config.").strip("."), tables()
    chosen = {
        where: [k for k in table if k == wanted or k.startswith(f"{wanted}.")]
        for where, table in known.items()
    }
    if not any(chosen.values()):  # the last part of a name is enough
        chosen = {
            where: [k for k in table if wanted and k.endswith(f".{wanted}")]
            for where, table in known.items()
        }
    parts = []
    for where, below in chosen.items():
        if below:
            table = known[where]
            if len(below) == 1:  # what is not said of it is said of its section
                (own,) = below
                section, key = table.get(own.rpartition(".")[0]), table[own]
                said = key.meaning or (section.meaning if section else "")
                table = {own: key._replace(meaning=said)}
            lines = [f"{where}:", *(_line(key, table[key]) for key in below)]
            parts.append("\n".join(lines))
    if not parts:
        raise UsageError(
            f"Found no config key {wanted!r}; expected one such as "
            f"{' or '.join(nearest(wanted)) or 'optim.num_steps'}; --help=optim shows "
            "those of a section"
        )
    return "\n".join(parts)


def nearest(wanted: str, most: int = 3) -> list[str]:
    """The dotted keys that are most like a wrong one, by all or by the last name."""
    of_runs = [table for where, table in tables().items() if where != RECORDS]
    names = list(dict.fromkeys(itertools.chain(*of_runs)))
    if wanted in names:
        return [wanted]
    last = wanted.rpartition(".")[2]
    same = [key for key in names if key.rpartition(".")[2] == last]
    near = difflib.get_close_matches(wanted, names, most, 0.6)
    by_last = difflib.get_close_matches(
        last, [key.rpartition(".")[2] for key in names], most, 0.75
    )
    like = [key for key in names if key.rpartition(".")[2] in by_last]
    return list(dict.fromkeys([*same, *near, *like]))[:most]


def _line(name: str, key: Key) -> str:
    is_section = isinstance(key.default, Mapping) and key.default
    shown = "" if is_section else f" = {key.default!r}"
    head = f"  {name}{shown}"
    meaning = textwrap.wrap(key.meaning, 74, break_on_hyphens=False)
    return "\n".join([head, *(f"      {line}" for line in meaning)])


def _known(where: str, settings: Mapping[str, Any], source: Callable) -> dict[str, Key]:
    said = _said(source)
    return {
        name: Key(where, value, said.get(name, "")) for name, value in _flat(settings)
    }


def _said(source: Callable, within: tuple[Callable, ...] = ()) -> dict[str, str]:
    """Dotted key -> meaning, of a settings function and of those that it calls."""
    seen = inspect.getclosurevars(source)
    names = {**seen.globals, **seen.nonlocals}

    def called(name: str) -> dict[str, str]:
        first, *rest = name.split(".")
        part = functools.reduce(
            lambda of, n: getattr(of, n, None), rest, names.get(first)
        )
        ours = inspect.isfunction(part) and part not in (*within, source)
        return _said(part, (*within, source)) if ours else {}

    return dict(meanings(inspect.getsource(source), called))


def _flat(settings: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys with their values, sections before what is in them."""
    for name, value in settings.items():
        yield f"{path}{name}", value
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}{name}.")


def meanings(
    source: str, called: Callable[[str], Mapping[str, str]] = lambda name: {}
) -> Iterator[tuple[str, str]]:
    """Dotted key -> the comment behind it, or above it, of `key=...` in nested calls.

    A comment line above a key is that key's; behind the last key of a section it goes
    on with what was said of that one.

    Args:
        source: of a function that returns dict(...).
        called: gives the keys with their meanings of a function that is called for a
            section or for keys of one, by the name that it is called by.
    """
    path: list[str | None] = []  # of open brackets: the key before each
    said: dict[str, list[str]] = {}
    above: list[str] = []
    last = waiting = name = ""  # the name is dotted, of what may be called
    lines = io.StringIO(textwrap.dedent(source)).readline
    for word, following in itertools.pairwise(tokenize.generate_tokens(lines)):
        before, name = name, ""
        if word.type == tokenize.NAME or word.string == ".":
            joined = word.string == "." or before.endswith(".")
            name = (before if joined else "") + word.string
        if word.type == tokenize.NAME and following.string == "=" and path:
            waiting = word.string
            last = ".".join([*filter(None, path), waiting])
            said.setdefault(last, []).extend(above)
            above = []
        elif word.type == tokenize.OP and word.string in "([{":
            if path and word.string == "(":
                for key, meaning in called(before).items():
                    said[".".join([*filter(None, (*path, waiting)), key])] = [meaning]
            path.append(waiting or None)
            waiting = ""
        elif word.type == tokenize.OP and word.string in ")]}":
            if above and last:
                said[last] += above
                above = []
            path.pop()
            waiting = ""
        elif word.type == tokenize.OP and word.string == ",":
            waiting = ""
        elif word.type == tokenize.COMMENT:
            text = word.string.lstrip("# ")
            alone = word.line.lstrip().startswith("#")
            if alone:
                above.append(text)
            elif last:
                said[last].append(text)
    yield from ((name, " ".join(filter(None, parts))) for name, parts in said.items())
