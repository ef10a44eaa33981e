"""From what is asked, or rows of records, to rows of conditions and their titles.

    label               --condition.genre=BR,HO        names or numbers, see `classes`
    text, clip_text     --condition.text="two frogs"   or @FILE, one prompt a line
    motion              --condition.motion=FILE        see `condition_files`
    image, video        --condition.image=FILE,FILE   see `condition_files`
    tokens              --condition.sound=FILE,FILE   see `code_files`
    array, features     --condition.video=FILE.npy

From Python the same words, or what stands for them: a number (int) or a name (str) of
a class or several, a prompt or several, an array or a path. One row of a modality goes
with all rows of another.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cdcd_jax.data import bpe
from cdcd_jax.data.card import Card
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.generation import classes, code_files, condition_files
from cdcd_jax.generation.classes import shortened
from cdcd_jax.models.vocabularies import TEXTS, open_texts
from cdcd_jax.runtime import hosts


class Rows(NamedTuple):
    """Conditions to draw samples under."""

    condition: dict[str, np.ndarray]  # modality -> [N, ...]
    titles: list[str] | None  # N captions for people; None where nothing has a name
    texts: dict[str, np.ndarray]  # modality of text -> unicode [N]


def rows_of(
    given: Mapping[str, Any],
    conditions: Mapping[str, Mapping[str, Any]],
    repeat: int,
    card: Card | None = None,
    workdir: Any = None,
) -> Rows:
    """The rows that `--condition.<modality>=...` asks for, each `repeat` times.

    Args:
        given: modality -> the flag's text, or values as the file's head says.
        conditions: what the task takes (`describe`).
        repeat: rows in a row of each that is given.
        card: of the model's records, where they are at hand: for names and vocabulary.
        workdir: of the model, which may hold its vocabulary.

    Raises:
        UsageError: an unknown or missing modality, or a value that it cannot take.
        InputError: a file that cannot be used, or no vocabulary.
    """
    unknown = sorted(set(given) - set(conditions))
    if unknown:
        raise UsageError(
            f"unknown --condition.{unknown[0]}: this model takes "
            f"{', '.join(conditions) or 'no condition'}"
        )
    needed = [name for name, spec in conditions.items() if not spec.get("optional")]
    missing = [name for name in needed if name not in given]
    if missing:
        raise UsageError(
            f"--condition.{missing[0]} is missing: this model needs it beside "
            f"{', '.join(given)}"
        )
    told = card.conditions if card else {}
    condition, texts = {}, {}
    for name, spec in conditions.items():
        if name not in given:
            continue
        value, kind = given[name], spec["kind"]
        if isinstance(value, os.PathLike):  # of prompts, one a line
            value = f"{'@' * (kind in TEXTS)}{os.fspath(value)}"
        if kind == "label":
            names = names_of(spec, told.get(name, {}))
            condition[name] = classes.read(name, value, spec["num_classes"], names)
        elif kind in TEXTS:
            prompts = _prompts(name, value)
            vocabulary = open_texts(name, spec, card, workdir)
            condition[name] = _encode(name, prompts, vocabulary, spec)
            texts[name] = np.array(prompts)
        elif kind in ("image", "video"):
            condition[name] = condition_files.read_image(name, value, spec)
        elif kind == "tokens":
            condition[name] = code_files.read_codes(name, value, spec)
        elif kind in condition_files.MOTION:
            condition[name] = condition_files.read_motion(name, value, spec)
        else:
            condition[name] = condition_files.read_array(name, value, spec)
    condition, texts = _aligned(condition, texts, repeat)
    return Rows(condition, titles_of(condition, conditions, told, texts), texts)


def rows_told(
    condition: Mapping[str, np.ndarray],
    conditions: Mapping[str, Mapping[str, Any]],
    card: Card | None = None,
    workdir: Any = None,
) -> Rows:
    """`Rows` of finished conditions, as records hold them: texts are decoded.

    Raises:
        InputError: no vocabulary.
    """
    texts = {}
    for name, spec in conditions.items():
        if spec["kind"] in TEXTS and name in condition:
            vocabulary = open_texts(name, spec, card, workdir)
            texts[name] = np.array([vocabulary.decode(row) for row in condition[name]])
    told = card.conditions if card else {}
    titles = titles_of(condition, conditions, told, texts)
    return Rows(dict(condition), titles, texts)


def titles_of(
    condition: Mapping[str, np.ndarray],
    conditions: Mapping[str, Mapping[str, Any]],
    told: Mapping[str, Mapping[str, Any]],
    texts: Mapping[str, np.ndarray],
) -> list[str] | None:
    """What stands below each sample: texts, then names of labels."""
    parts = [[str(text) for text in rows] for rows in texts.values()]
    for name, spec in conditions.items():
        names = names_of(spec, told.get(name, {}))
        if names and name in condition:
            parts.append([names[int(i)] for i in condition[name]])
    return [", ".join(row) for row in zip(*parts, strict=True)] or None


def names_of(spec: Mapping[str, Any], told: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of a label's classes, by the model or by the records; () if unknown."""
    if spec["kind"] != "label":
        return ()
    names = tuple(spec.get("names") or told.get("names") or ())
    return names if len(names) == spec["num_classes"] else ()


def _prompts(name: str, text: str | Sequence[str]) -> list[str]:
    """The prompts, none of them empty; of text, the lines of the file behind an @."""
    if not isinstance(text, str):
        prompts = np.ravel(np.asarray(text)).tolist()
        if not prompts or not all(isinstance(p, str) and bpe.clean(p) for p in prompts):
            raise UsageError(
                f"Found --condition.{name} = {shortened(repr(text))}; expected one or "
                "more prompts, none of them empty; write them"
            )
        return [prompt.strip() for prompt in prompts]
    if not bpe.clean(text.removeprefix("@")):
        raise UsageError(
            f"Found an empty --condition.{name}={text}; expected a prompt; write one, "
            "or @FILE for a file of prompts, one a line"
        )
    if not text.startswith("@"):
        return [text.strip()]
    file = Path(text[1:])
    try:  # not `splitlines`, which takes much else for the end of a line
        lines = file.read_text("utf-8-sig").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"Found --condition.{name}={text}, and cannot read {file} ({error}); "
            "expected UTF-8 text with one prompt a line; correct the path, or write it"
        ) from error
    for number, line in enumerate(lines, 1):
        if not bpe.clean(line):
            raise InputError(
                f"Found no prompt in line {number} of {file}; expected one in each "
                "line; write it there, or take the line out"
            )
    return [line.strip() for line in lines]


def _encode(
    name: str, prompts: Sequence[str], vocabulary: Any, spec: Mapping[str, Any]
) -> np.ndarray:
    """Tokens int32 [N, S]; says which prompts are cut, and where."""
    length, rows = spec["shape"][0], []
    for prompt in prompts:
        try:
            row = vocabulary.encode([prompt], length)
        except InputError:  # too long, or what cutting does not help
            row = vocabulary.encode([prompt], length, truncate=True)
            kept = " ".join(vocabulary.decode(row[0]).split()[-5:])
            if hosts.is_main():
                print(
                    f"warning: --condition.{name}: the prompt "
                    f"{shortened(prompt)!r} is longer than the model's {length} "
                    f"tokens; it was cut after {kept!r}",
                    file=sys.stderr,
                )
        rows.append(row)
    tokens = np.concatenate(rows)
    if tokens.max() >= spec["vocabulary"]:
        raise InputError(
            f"Found a vocabulary with the token {tokens.max()} for --condition.{name}; "
            f"expected tokens below {spec['vocabulary']}, as the model has; bring the "
            "vocabulary that the model was trained with"
        )
    return tokens


def _aligned(
    condition: Mapping[str, np.ndarray], texts: Mapping[str, np.ndarray], repeat: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The same number of rows of everything, each `repeat` times."""
    counts = {name: len(value) for name, value in condition.items()}
    several = set(counts.values()) - {1}
    if len(several) > 1:
        told = ", ".join(f"{count} of {name}" for name, count in counts.items())
        raise UsageError(
            f"conditions differ in number: {told}; give as many of each, or one"
        )
    number = max(several, default=1)
    spread = lambda value: np.repeat(
        value if len(value) == number else np.repeat(value, number, axis=0),
        repeat,
        axis=0,
    )
    return (
        {name: spread(value) for name, value in condition.items()},
        {name: spread(value) for name, value in texts.items()},
    )
