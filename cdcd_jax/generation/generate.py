"""A model and what is asked of it -> samples, and their files.

Checks come first and in the order of their cost: flags, files, the place for samples,
tokenizers, and last the checkpoint.
"""

import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from cdcd_jax.config import merge
from cdcd_jax.config.ranges import check_ranges
from cdcd_jax.errors import UsageError, as_usage_error
from cdcd_jax.generation import editing, prompts, time_profile
from cdcd_jax.generation.canvases import NO_WISH, Canvas, Wish, draw_samples, lay_out
from cdcd_jax.generation.rows import asked_for, draw_key, told
from cdcd_jax.generation.samples import Samples
from cdcd_jax.models.model import Trained
from cdcd_jax.reporting.samples import check_place
from cdcd_jax.reporting.sheets import Medium
from cdcd_jax.runtime import hosts, memory, sharding
from cdcd_jax.tasks.drawing import Edit, rows_of_an_example, said_cost


def sampling_of(
    config: Mapping[str, Any], task: Any, changes: Mapping[str, Any]
) -> Mapping[str, Any]:
    """The config with changes of its section `sampling`.

    Raises:
        UsageError: an unknown key, or options that cannot be.
    """
    changed = merge(config, {"sampling": changes})
    check_ranges(changed)
    with as_usage_error():
        task.check_sampling(task.options(changed["sampling"]))
    return changed


def generate(
    model: Trained,
    config: Mapping[str, Any],
    given: Mapping[str, Any],
    name: str,
    edit: Mapping[str, Any] | None = None,
    directory: Any = None,
) -> Samples:
    """Draws samples of the newest checkpoint.

    Of which conditions, says `rows.asked_for`. A model of raw examples, a tokenizer,
    reconstructs `eval.shown` held-out ones.

    Args:
        model: the model.
        config: its config, where sampling or seed may differ.
        given: modality -> what is asked, see `prompts.rows_of`.
        name: of the samples, by which they differ from others.
        edit: name -> text of --edit.<name>; see `editing`.
        directory: where files will be written; the place is tried first.

    Raises:
        InputError: no sound checkpoint, conditions or edits that the model does not
            take, or no place for samples.
    """
    if "media" in model.description:
        if given or edit:
            flag = f"condition.{min(given)}" if given else f"edit.{min(edit)}"
            raise UsageError(f"--{flag}: a tokenizer takes none; leave it out")
        return reconstruct(model, directory)
    number = config["sampling"]["num_samples"]
    wish = editing.understand(edit or {}, given, model.conditions, number)
    start = editing.start_time(wish, model.task.schedule.timesteps)
    config = time_profile.resolved(config, model.task.schedule, model.workdir, start)
    rows, canvas = _prepared(model, config, given, wish, start, directory)
    step, *parts = model.at_newest().weights
    number = max((len(v) for v in rows.condition.values()), default=number)
    number = number if canvas is None else len(canvas.tokens)
    began = time.perf_counter()
    with memory.explained("a smaller sampling.batch_size"), sharding.use(model.mesh):
        outputs, cuts = draw_samples(
            *(config, model.task, model.decoders, parts, rows.condition),
            *(draw_key(config, name), number, canvas),
        )
    options = model.task.options(config["sampling"])
    toward = None if canvas is None else canvas.toward
    rows_each = rows_of_an_example(options, Edit(toward=toward))
    time_profile.warn_if_old(config["sampling"], model.workdir, step)
    return Samples(
        outputs=outputs,
        media=model.decoders.media_of(lambda name: name in outputs),
        rows=rows,
        conditions=model.conditions,
        step=step,
        cost=said_cost(cuts * config["sampling"]["steps"], rows_each),
        seconds=time.perf_counter() - began,
    )


def _prepared(
    model: Trained,
    config: Mapping[str, Any],
    given: Mapping[str, Any],
    wish: Wish,
    start: int,
    directory: Any,
) -> tuple[prompts.Rows, Canvas | None]:
    """What samples are drawn under and on; as in `generate`.

    What costs most comes last, and nothing is written but the place that is tried.
    """
    conditions, task = model.conditions, model.task
    repeat, rows = config["sampling"]["num_samples"], None
    options = task.options(config["sampling"])
    editing.check_steps(wish, start, options, task)
    note = task.note(options)
    if note and hosts.is_main():
        print(note, file=sys.stderr)
    if given or not (conditions and wish.input):
        rows = asked_for(model, given, repeat)
    if directory is not None:
        check_place(directory)
    decoders = model.decoders
    if wish == NO_WISH:
        return rows, None
    tokenizer = decoders.tokenizer
    source, toward = editing.open_input(wish, tokenizer, conditions), None
    if rows is None:
        rows = told(model, editing.own_condition(source, conditions, repeat))
    if wish.toward:
        ends = {**given, **wish.toward}
        toward = prompts.rows_of(ends, conditions, repeat, model.card, model.workdir)
    canvas = lay_out(config, tokenizer, conditions, rows.condition, wish, source, start)
    return editing.align(rows, canvas, toward, repeat)


def held_out(
    config: Mapping[str, Any], task: Any, number: int
) -> dict[str, np.ndarray]:
    """At most `number` raw examples that a tokenizer does not train on.

    Raises:
        InputError: no such source or split.
    """
    from cdcd_jax.data.raw_examples import open_raw, raw_pass

    media = task.describe()["media"]
    split = open_raw(config, media).split(config["eval"]["split"])
    (batch,) = raw_pass(split, media["kind"], number, number)
    return {media["kind"]: batch[media["kind"]]}


def reconstruct(model: Trained, directory: Any = None) -> Samples:
    """`eval.shown` held-out raw examples, through a tokenizer and back."""
    shown = held_out(model.config, model.task, model.config["eval"]["shown"])
    if directory is not None:
        check_place(directory)
    step, params, extra = model.at_newest().weights
    began = time.perf_counter()
    with sharding.use(model.mesh):
        outputs = model.task.sample(params, extra, shown, None, None)
    media, name = model.description["media"], set(outputs).difference(["tokens"]).pop()
    return Samples(
        outputs=outputs,
        media={name: Medium(media["kind"], sample_rate=media.get("sample_rate"))},
        rows=prompts.Rows({}, None, {}),
        conditions={},
        step=step,
        cost="reconstructions",
        seconds=time.perf_counter() - began,
        originals=shown,
    )
