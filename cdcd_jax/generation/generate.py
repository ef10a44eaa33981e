"""A checkpoint and conditions -> samples.npz, a file a sample, a contact sheet."""

import pathlib
import sys
import time
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from cdcd_jax.config import merge
from cdcd_jax.data.card import CARD_NAME, Card, read_card
from cdcd_jax.diffusion.sampler import SamplingOptions, mask_note
from cdcd_jax.errors import UsageError
from cdcd_jax.generation import editing, prompts, time_profile, windows
from cdcd_jax.generation.canvases import NO_WISH, Canvas, Wish, draw_samples, lay_out
from cdcd_jax.models.tokenizers import check_made_with, open_tokenizer
from cdcd_jax.reporting import report
from cdcd_jax.reporting.samples import check_place, compare, write_samples
from cdcd_jax.runtime import hosts, sharding
from cdcd_jax.tasks import make_task
from cdcd_jax.tasks.drawing import Edit, rows_of_an_example, said_cost
from cdcd_jax.training.program import abstract_state, build, place
from cdcd_jax.training.start import load_params


def every_label(
    conditions: Mapping[str, Mapping], number: int
) -> dict[str, np.ndarray]:
    """A condition of `number` rows that goes through all classes evenly.

    Raises:
        UsageError: a modality that is not a label, of which no rows can be made up.
    """
    rows = {}
    for name, spec in conditions.items():
        if spec["kind"] != "label":
            raise UsageError(
                f"condition {name!r} is a {spec['kind']}, of which samples cannot be "
                f"made up: give one with --condition.{name}"
            )
        rows[name] = (np.arange(number) % spec["num_classes"]).astype(np.int32)
    return rows


def draw_key(config: Mapping[str, Any], name: str) -> jax.Array:
    """A key for samples of this name, apart from those of training."""
    base = jax.random.fold_in(jax.random.key(config["seed"]), 2)
    return jax.random.fold_in(base, zlib.crc32(name.encode()))


def default_conditions(
    config: Mapping[str, Any], task: Any, number: int
) -> dict[str, np.ndarray]:
    """`number` rows of conditions to draw samples under.

    Labels go through all classes; other conditions are those of records that training
    does not see, spread evenly over the split `eval.split`, with all that the records
    say of them.

    Raises:
        InputError: unusable records.
    """
    description = task.describe()
    conditions = description["conditions"]
    if all(spec["kind"] == "label" for spec in conditions.values()):
        return every_label(conditions, number)
    from cdcd_jax.data.pipeline import open_dataset, spread_records

    card = open_dataset(config["data"]["path"], description)
    return spread_records(card, config["eval"]["split"], number)["condition"]


def draw_step_samples(
    config: Mapping[str, Any], workdir: pathlib.Path
) -> Callable[[int, Any, Any], dict[str, np.ndarray]]:
    """What the loop calls every `report.sample_every` steps: a sheet of samples.

    Of a tokenizer, these are reconstructions of held-out examples.

    Args:
        config: a whole experiment, its stages resolved.

    Raises:
        InputError: no such tokenizer, or unusable data.
    """
    if not config["report"]["sample_every"]:
        return lambda step, task, state: {}
    if config["task"] == "tokenizer":
        shown = held_out(config, make_task(config), config["eval"]["shown"])

        def rebuild(step: int, task: Any, state: Any) -> dict[str, np.ndarray]:
            directory = workdir / "samples" / f"step_{step}"
            return {
                "reconstructions": write_reconstructions(
                    directory, task, state.ema_params, state.extra, shown
                )
            }

        return rebuild
    tokenizer = open_tokenizer(config["tokenizer"], config["model"]["grid"])
    if config["sampling"]["grid"] == "optimised":  # which nothing is known for yet
        config = merge(config, {"sampling": {"grid": "uniform"}})

    def draw(step: int, task: Any, state: Any) -> dict[str, np.ndarray]:
        name, number = f"step_{step}", 100
        condition = default_conditions(config, task, number)
        rows = _told(config, workdir, task, condition)
        outputs, _ = draw_samples(
            config,
            task,
            tokenizer,
            (state.ema_params, state.extra),
            rows.condition,
            draw_key(config, name),
            number,
        )
        condition, rate = rows.condition | rows.texts, tokenizer.sample_rate
        directory = workdir / "samples" / name
        sheet = write_samples(directory, outputs, condition, False, rate, rows.titles)
        return {} if sheet is None else {"samples": sheet}

    return draw


def held_out(
    config: Mapping[str, Any], task: Any, number: int
) -> dict[str, np.ndarray]:
    """At most `number` raw examples that a tokenizer does not train on.

    Raises:
        InputError: no such source or split.
    """
    from cdcd_jax.data.pipeline import open_raw, raw_pass

    media = task.describe()["media"]
    split = open_raw(config, media).split(config["eval"]["split"])
    (batch,) = raw_pass(split, media["kind"], number, number)
    return {media["kind"]: batch[media["kind"]]}


def write_reconstructions(
    directory: pathlib.Path,
    task: Any,
    params: Any,
    extra: Any,
    shown: Mapping[str, np.ndarray],
) -> np.ndarray:
    """Reconstructs raw examples into a directory; returns the sheet, uint8."""
    outputs = task.sample(params, extra, shown, None, None)
    rate = task.describe()["media"].get("sample_rate")
    return compare(directory, shown, outputs, rate)


def asked_for(
    config: Mapping[str, Any],
    workdir: pathlib.Path,
    task: Any,
    given: Mapping[str, str],
) -> prompts.Rows:
    """`sampling.num_samples` rows of each condition given.

    Where none is, of every class, or else of so many held-out records.

    Raises:
        UsageError: conditions that the model does not take, or none and no records.
        InputError: unusable files or records.
    """
    conditions = task.describe()["conditions"]
    number = config["sampling"]["num_samples"]
    if given:
        card = _card(config)
        return prompts.rows_of(given, conditions, number, card, workdir)
    if all(spec["kind"] == "label" for spec in conditions.values()):
        number *= 10 if conditions else 1
    elif _card(config) is None:
        wanted = " ".join(f"--condition.{name}=..." for name in conditions)
        raise UsageError(
            f"Found no --condition, and no records in {config['data']['path']!r}; "
            f"expected {wanted}, or records to take conditions from; give them, or set "
            "--config.data.path"
        )
    return _told(config, workdir, task, default_conditions(config, task, number))


def _card(config: Mapping[str, Any]) -> Card | None:
    """The card of the model's records, where they are at hand."""
    records = config["data"]["path"]
    if not records or not (report.as_path(records) / CARD_NAME).exists():
        return None
    return read_card(records)


def _told(
    config: Mapping[str, Any],
    workdir: pathlib.Path,
    task: Any,
    condition: Mapping[str, np.ndarray],
) -> prompts.Rows:
    conditions = task.describe()["conditions"]
    return prompts.rows_told(condition, conditions, _card(config), workdir)


def write_videos(
    directory: pathlib.Path,
    condition: Mapping[str, np.ndarray],
    conditions: Mapping[str, Mapping[str, Any]],
    number: int,
) -> None:
    """Videos of dances beside their sound, at most `number`; see `video`."""
    from cdcd_jax.reporting import video

    if report.is_url(directory):
        print("no video: ffmpeg writes to local work directories", file=sys.stderr)
        return
    for name, spec in windows.timed(conditions).items():
        video.write_videos(directory, condition[name], spec["frame_rate"], number)
        break  # one figure a video


def generate(
    config: Mapping[str, Any],
    workdir: pathlib.Path,
    given: Mapping[str, str],
    name: str,
    edit: Mapping[str, str] | None = None,
) -> pathlib.Path:
    """Samples from the newest checkpoint into `<workdir>/samples/<name>`.

    For which conditions, says `asked_for`. Of a tokenizer, reconstructions of
    `eval.shown` held-out examples.

    Args:
        config: a whole experiment, its stages resolved.
        given: modality -> text of --condition.<modality>.
        name: of the samples.
        edit: name -> text of --edit.<name>; see `editing`.

    Raises:
        InputError: no sound checkpoint, conditions or edits that the model does not
            take, or no place for samples.
    """
    task, optimizer = build(config)
    mesh = place(config, task)
    abstract = abstract_state(task, optimizer, mesh)
    directory = workdir / "samples" / name
    began = time.perf_counter()
    if config["task"] == "tokenizer":
        if given or edit:
            flag = f"condition.{min(given)}" if given else f"edit.{min(edit)}"
            raise UsageError(f"--{flag}: a tokenizer takes none; leave it out")
        shown = held_out(config, task, config["eval"]["shown"])
        check_place(directory)
        step, params, extra = load_params(workdir, abstract)
        with sharding.use(mesh):
            write_reconstructions(directory, task, params, extra, shown)
        number, cost = len(next(iter(shown.values()))), "reconstructions"
    else:
        conditions = task.describe()["conditions"]
        number = config["sampling"]["num_samples"]
        wish = editing.understand(edit or {}, given, conditions, number)
        start = editing.start_time(wish, task.schedule.timesteps)
        config = time_profile.resolved(config, task.schedule, workdir, start)
        sampling = config["sampling"]
        rows, canvas, tokenizer = _prepared(
            config, workdir, task, given, wish, start, directory
        )
        step, params, extra = load_params(workdir, abstract)
        key = draw_key(config, name)
        number = max((len(v) for v in rows.condition.values()), default=number)
        number = number if canvas is None else len(canvas.tokens)
        began = time.perf_counter()
        with sharding.use(mesh):
            outputs, cuts = draw_samples(
                *(config, task, tokenizer, (params, extra), rows.condition),
                *(key, number, canvas),
            )
        condition, rate = rows.condition | rows.texts, tokenizer.sample_rate
        write_samples(directory, outputs, condition, True, rate, rows.titles)
        if "audio" in outputs and hosts.is_main():  # which is safe by now
            write_videos(directory, condition, conditions, sampling["videos"])
        toward = None if canvas is None else canvas.toward
        options = SamplingOptions.of(sampling)
        per_step = rows_of_an_example(options, Edit(toward=toward))
        cost = said_cost(cuts * sampling["steps"], per_step)
        time_profile.warn_if_old(sampling, workdir, step)
    if hosts.is_main():
        print(
            f"{number} samples of step {step} in {time.perf_counter() - began:.1f} s, "
            f"{cost}: {directory}",
            file=sys.stderr,
        )
    return directory


def _prepared(
    config: Mapping[str, Any],
    workdir: pathlib.Path,
    task: Any,
    given: Mapping[str, str],
    wish: Wish,
    start: int,
    directory: pathlib.Path,
) -> tuple[prompts.Rows, Canvas | None, Any]:
    """What samples are drawn under and on, and the tokenizer; as in `generate`.

    What costs most comes last, and nothing is written but the place that is tried.
    """
    conditions = task.describe()["conditions"]
    repeat, rows = config["sampling"]["num_samples"], None
    options = SamplingOptions.of(config["sampling"])
    editing.check_steps(wish, start, options, task.schedule)
    note = mask_note(options, task.schedule)
    if note and hosts.is_main():
        print(note, file=sys.stderr)
    if given or not (conditions and wish.input):
        rows = asked_for(config, workdir, task, given)
    check_place(directory)
    tokenizer = open_tokenizer(config["tokenizer"], config["model"]["grid"])
    if card := _card(config):
        check_made_with(card, tokenizer)
    if wish == NO_WISH:
        return rows, None, tokenizer
    source, toward = editing.open_input(wish, tokenizer, conditions), None
    if rows is None:
        condition = editing.own_condition(source, conditions, repeat)
        rows = _told(config, workdir, task, condition)
    if wish.toward:
        texts = {**given, **wish.toward}
        toward = prompts.rows_of(texts, conditions, repeat, card, workdir)
    canvas = lay_out(config, tokenizer, conditions, rows.condition, wish, source, start)
    return *editing.align(rows, canvas, toward, repeat), tokenizer
