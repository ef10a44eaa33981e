"""A checkpoint and conditions -> samples.npz, a file a sample, a contact sheet."""

import pathlib
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from cdcd_jax import hosts, report, sharding
from cdcd_jax.data.card import CARD_NAME, read_card
from cdcd_jax.errors import UsageError
from cdcd_jax.samples import compare, write_samples
from cdcd_jax.tasks import make_task
from cdcd_jax.tasks.conditional import SamplingOptions
from cdcd_jax.tokenizers import check_made_with, open_tokenizer
from cdcd_jax.train import abstract_state, build, load_params, place


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


def parse_conditions(
    given: Mapping[str, str], conditions: Mapping[str, Mapping], repeat: int
) -> dict[str, np.ndarray]:
    """The rows that `--condition.<modality>=...` asks for, each `repeat` times.

    Args:
        given: modality -> text; labels are numbers with commas between.
        conditions: what the task takes (`describe`).

    Raises:
        UsageError: an unknown or missing modality, or a value that it cannot take.
    """
    unknown = sorted(set(given) - set(conditions))
    if unknown:
        raise UsageError(
            f"unknown --condition.{unknown[0]}: this model takes "
            f"{', '.join(conditions) or 'no condition'}"
        )
    if not given:
        return every_label(conditions, repeat * 10)
    rows = {}
    for name, spec in conditions.items():
        if name not in given:
            raise UsageError(f"--condition.{name} is missing: this model needs it")
        if spec["kind"] != "label":
            raise UsageError(
                f"--condition.{name}: values of kind {spec['kind']!r} cannot be given "
                "on the command line; call the task's sample() with arrays"
            )
        rows[name] = np.repeat(_labels(name, given[name], spec["num_classes"]), repeat)
    if len({len(v) for v in rows.values()}) > 1:
        raise UsageError("conditions differ in number: give as many of each")
    return rows


def _labels(name: str, text: str, num_classes: int) -> np.ndarray:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() and int(part) < num_classes for part in parts):
        raise UsageError(
            f"--condition.{name}={text}: expected numbers from 0 to {num_classes - 1} "
            "with commas between"
        )
    return np.array([int(part) for part in parts], np.int32)


def draw_key(config: Mapping[str, Any], name: str) -> jax.Array:
    """A key for samples of this name, apart from those of training."""
    base = jax.random.fold_in(jax.random.key(config["seed"]), 2)
    return jax.random.fold_in(base, int.from_bytes(name.encode(), "little") % 2**31)


def default_conditions(
    config: Mapping[str, Any], task: Any, number: int
) -> dict[str, np.ndarray]:
    """`number` rows of conditions to draw samples under.

    Labels go through all classes; other conditions are those of records that training
    does not see, spread evenly over the split `eval.split`.

    Raises:
        InputError: unusable records.
    """
    conditions = task.describe()["conditions"]
    if all(spec["kind"] == "label" for spec in conditions.values()):
        return every_label(conditions, number)
    from cdcd_jax.data.pipeline import open_dataset
    from cdcd_jax.data.records import RecordSource

    card = open_dataset(config["data"]["path"], config["model"])
    records = RecordSource(card, config["eval"]["split"])
    chosen = np.linspace(0, len(records) - 1, number).astype(int)
    rows = [records[int(i)]["condition"] for i in chosen]
    return {name: np.stack([row[name] for row in rows]) for name in conditions}


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

    def draw(step: int, task: Any, state: Any) -> dict[str, np.ndarray]:
        condition = default_conditions(config, task, 100)
        name = f"step_{step}"
        outputs = task.sample(
            state.ema_params,
            state.extra,
            condition,
            draw_key(config, name),
            SamplingOptions.of(config["sampling"]),
        )
        outputs |= tokenizer.decode(outputs["tokens"])
        directory = workdir / "samples" / name
        rate = tokenizer.sample_rate
        sheet = write_samples(directory, outputs, condition, False, rate)
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


def generate(
    config: Mapping[str, Any],
    workdir: pathlib.Path,
    given: Mapping[str, str],
    name: str,
) -> pathlib.Path:
    """Samples from the newest checkpoint into `<workdir>/samples/<name>`.

    `sampling.num_samples` of each condition given; of every class where none is. Of a
    tokenizer, reconstructions of `eval.shown` held-out examples.

    Args:
        config: a whole experiment, its stages resolved.

    Raises:
        InputError: no checkpoint, or conditions that the model does not take.
    """
    task, optimizer = build(config)
    mesh = place(config, task)
    abstract = abstract_state(task, optimizer, mesh)
    directory = workdir / "samples" / name
    began = time.perf_counter()
    if config["task"] == "tokenizer":
        if given:
            raise UsageError(
                f"--condition.{min(given)}: a tokenizer takes none; leave it out"
            )
        shown = held_out(config, task, config["eval"]["shown"])
        step, params, extra = load_params(workdir, abstract)
        with sharding.use(mesh):
            write_reconstructions(directory, task, params, extra, shown)
        number, cost = len(next(iter(shown.values()))), "reconstructions"
    else:
        sampling = config["sampling"]
        condition = parse_conditions(
            given, task.describe()["conditions"], sampling["num_samples"]
        )
        tokenizer = open_tokenizer(config["tokenizer"], config["model"]["grid"])
        records = config["data"]["path"]
        if (report.as_path(records) / CARD_NAME).exists():
            check_made_with(read_card(records), tokenizer)
        step, params, extra = load_params(workdir, abstract)
        key, options = draw_key(config, name), SamplingOptions.of(sampling)
        began = time.perf_counter()
        with sharding.use(mesh):
            outputs = task.sample(params, extra, condition, key, options)
        outputs |= tokenizer.decode(outputs["tokens"])
        rate = tokenizer.sample_rate
        write_samples(directory, outputs, condition, True, rate)
        rows = "2 rows" if sampling["guidance_scale"] != 1.0 else "1 row"
        cost = f"{sampling['steps']} network evaluations of {rows} a sample"
        number = len(outputs["tokens"])
    if hosts.is_main():
        print(
            f"{number} samples of step {step} in {time.perf_counter() - began:.1f} s, "
            f"{cost}: {directory}",
            file=sys.stderr,
        )
    return directory
