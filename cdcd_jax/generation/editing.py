"""What --edit flags ask for, checked before a model is read.

--edit.input=FILE          what is edited: a picture, a sound, a samples.npz
--edit.mask=PART           what of it is drawn anew
--edit.strength=S          how far what is drawn anew may go from the input
--edit.expand=8,0,8,0      pixels added to the left, top, right and bottom
--edit.seconds=S           length of the sound
--edit.toward.<modality>   the other end of an interpolation of conditions
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.generation import edit_files, prompts, windows
from cdcd_jax.generation.canvases import Canvas, Wish
from cdcd_jax.generation.edit_files import Source
from cdcd_jax.networks.presence import PRESENT

_TOWARD = "toward."


def understand(
    edit: Mapping[str, Any], given: Mapping[str, Any], conditions: Mapping, number: int
) -> Wish:
    """The flags, checked as far as no file is needed.

    Args:
        edit: name -> text of --edit.<name>, or what `asked.edit_of` makes of a call.
        given: modality -> text of --condition.<modality>, or values.
        conditions: what the model takes.
        number: `sampling.num_samples`.

    Raises:
        UsageError: a value that cannot be, or flags that need or exclude each other.
    """
    toward = {
        name.removeprefix(_TOWARD): text
        for name, text in edit.items()
        if name.startswith(_TOWARD)
    }
    wish = Wish(
        input=edit.get("input", ""),
        mask=edit.get("mask", ""),
        strength=_number(edit, "strength", "a number above 0, at most 1", most=1.0),
        expand=_sides(edit),
        seconds=_number(edit, "seconds", "a number above 0, of seconds"),
        toward=toward,
    )
    alone = {"mask", "strength"} & set(edit)
    if alone and not wish.input:
        raise UsageError(
            f"Found --edit.{min(alone)} without --edit.input; expected what is to be "
            "edited; give it with --edit.input=FILE"
        )
    if wish.input and not {"mask", "strength", "expand", "seconds"} & set(edit):
        raise UsageError(
            "Found --edit.input alone, of which all would be kept; expected what to "
            "draw anew; add --edit.mask, --edit.strength, --edit.expand or "
            "--edit.seconds"
        )
    if wish.strength is not None and wish.expand:
        raise UsageError(
            "Found --edit.strength with --edit.expand, where there is nothing to vary "
            "beyond the input; expected one of both; expand first, or vary first and "
            "expand that samples.npz"
        )
    for name in toward:
        if name not in conditions or name not in given:
            raise UsageError(
                f"Found --edit.toward.{name} without --condition.{name}; expected "
                "both ends of the interpolation, in a modality of the model "
                f"({', '.join(conditions) or 'it has none'}); give both"
            )
    if toward and number < 2:
        raise UsageError(
            f"Found sampling.num_samples = {number} with --edit.toward; expected 2 or "
            "more, from one end to the other; set --config.sampling.num_samples"
        )
    return wish


def _number(
    edit: Mapping[str, str], name: str, expected: str, most: float = np.inf
) -> float | None:
    if name not in edit:
        return None
    try:
        number = float(edit[name])
    except ValueError:
        number = np.nan
    if not 0 < number <= most or np.isinf(number):
        raise UsageError(
            f"Found --edit.{name}={edit[name]}; expected {expected}; correct it"
        )
    return number


def _sides(edit: Mapping[str, str]) -> tuple[int, ...] | None:
    if "expand" not in edit:
        return None
    sides = edit_files.whole_numbers(edit["expand"], 4)
    if not sides or not any(sides):
        raise UsageError(
            f"Found --edit.expand={edit['expand']}; expected LEFT,TOP,RIGHT,BOTTOM, "
            "whole numbers of pixels, not all 0, such as 8,0,8,0; correct it"
        )
    return sides


def start_time(wish: Wish, timesteps: int) -> int:
    """The time to which an input is noised, or 0 where drawing begins with noise."""
    if wish.strength is None:
        return 0
    return max(1, int(np.floor(wish.strength * timesteps + 0.5)))


def check_steps(wish: Wish, start: int, options: Any, task: Any) -> None:
    """Raises UsageError for options that do not fit, from `start` (0 for T) on."""
    try:
        task.check_sampling(options, start or None)
    except ValueError as error:
        before = f"--edit.strength={wish.strength:g} starts at {start}: "
        raise UsageError(f"{before if start else ''}{error}") from None


def check_kind(wish: Wish, tokenizer: Any, conditions: Mapping) -> None:
    """Raises UsageError for what a model of this tokenizer and conditions cannot."""
    is_image, is_sound = (name in tokenizer.outputs for name in ("images", "audio"))
    needs = wish.input or wish.expand or wish.seconds
    if tokenizer.outputs and len(tokenizer.grid) > 2:
        raise UsageError(
            f"Found --edit for a model of tokens {list(tokenizer.grid)}, several at a "
            "place of the picture, or frames of a video; expected one that has rows "
            "and columns of tokens alone; leave edits out"
        )
    if needs and not is_image and not is_sound:
        raise UsageError(
            "Found --edit for a model whose config names no tokenizer; expected one "
            "that reads pictures or sound; set `tokenizer`, as in pretokenize"
        )
    if wish.expand and not is_image:
        raise UsageError(
            "Found --edit.expand for a model of sound; expected --edit.seconds=S; "
            "give that instead"
        )
    if wish.seconds and not is_sound:
        raise UsageError(
            "Found --edit.seconds for a model of pictures; expected --edit.expand; "
            "give that instead"
        )
    if wish.seconds and windows.timed(conditions):
        raise UsageError(
            "Found --edit.seconds for a model of music for motion; expected the "
            "length to be the motion's; leave it out, and give longer motion"
        )


def open_input(
    wish: Wish, tokenizer: Any, conditions: Mapping[str, Mapping[str, Any]]
) -> Source | None:
    """The input, if there is one.

    Raises:
        UsageError: flags that a model of this tokenizer and conditions cannot serve.
        InputError: a file that cannot be used.
    """
    check_kind(wish, tokenizer, conditions)
    return edit_files.read(wish.input, tokenizer) if wish.input else None


def own_condition(
    source: Source, conditions: Mapping[str, Mapping[str, Any]], repeat: int
) -> dict[str, np.ndarray]:
    """The conditions that an input brings, each row `repeat` times.

    Raises:
        UsageError: it lacks one.
        InputError: one that this model does not take.
    """
    rows = {}
    for name, spec in conditions.items():
        if name not in source.condition and spec.get("optional"):
            continue
        if name not in source.condition:
            raise UsageError(
                f"Found --edit.input without --condition.{name}; expected what it is "
                "to be drawn under, which only a samples.npz brings, and of texts none "
                f"does; give --condition.{name}"
            )
        value, kind = source.condition[name], spec["kind"]
        shape = tuple(spec.get("shape", ()))
        if name in windows.timed(conditions):
            shape = (value.shape[1:2] or (0,)) + shape[1:]
        least, end = {
            "label": (0, spec.get("num_classes")),
            "image": (-1, spec.get("levels")),
        }.get(kind, (None, None))
        known = end is None or (
            value.dtype.kind == "i" and least <= value.min() <= value.max() < end
        )
        if value.shape != (len(source.tokens), *shape) or not known:
            raise InputError(
                f"Found condition/{name} of shape {list(value.shape)} in --edit.input; "
                f"expected such as this model takes, {list(shape)} a row; give "
                f"--condition.{name}, or samples of this model"
            )
        rows[name] = np.repeat(value, repeat, axis=0)
        if f"{name}{PRESENT}" in source.condition:
            present = source.condition[f"{name}{PRESENT}"]
            rows[f"{name}{PRESENT}"] = np.repeat(present, repeat, axis=0)
    return rows


def align(
    rows: prompts.Rows, canvas: Canvas, toward: prompts.Rows | None, repeat: int
) -> tuple[prompts.Rows, Canvas]:
    """Conditions, inputs and the other ends of interpolations, row by row.

    One of any goes with all of the others; otherwise their numbers must agree.

    Args:
        rows: each condition `repeat` times.
        canvas: of the inputs, each once.
        toward: as `rows`, if there is an interpolation.
        repeat: samples of each; in an interpolation, from one end to the other.

    Raises:
        UsageError: numbers that do not agree.
    """
    blocks = lambda rows: _count(rows, repeat) // repeat
    counts = {"conditions": blocks(rows), "inputs": len(canvas.tokens)}
    if toward is not None:
        counts["conditions to go toward"] = blocks(toward)
    several = set(counts.values()) - {1}
    if len(several) > 1:
        told = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise UsageError(
            f"Found {told}; expected as many of each, or one; give so many"
        )
    number = max(several, default=1)
    every = np.arange(number * repeat)
    of = lambda count: every if count == number else every % repeat
    chosen = _taken(rows, of(blocks(rows)))
    inputs = every // repeat if len(canvas.tokens) == number else 0 * every
    canvas = canvas.of_rows(inputs)
    if toward is None:
        return chosen, canvas
    other = _taken(toward, of(blocks(toward)))
    weights = np.tile(np.linspace(0, 1, repeat, dtype=np.float32), number)
    if chosen.titles and other.titles:
        ends = zip(chosen.titles, other.titles, weights, strict=True)
        titles = [f"{a} - {b}: {weight:.2f}" for a, b, weight in ends]
        chosen = chosen._replace(titles=titles)
    return chosen, canvas._replace(toward=(other.condition, weights))


def _count(rows: prompts.Rows, otherwise: int) -> int:
    return max((len(v) for v in rows.condition.values()), default=otherwise)


def _taken(rows: prompts.Rows, chosen: np.ndarray) -> prompts.Rows:
    take = lambda arrays: {name: value[chosen] for name, value in arrays.items()}
    titles = rows.titles and [rows.titles[i] for i in chosen]
    return prompts.Rows(take(rows.condition), titles, take(rows.texts))
