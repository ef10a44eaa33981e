"""A checkpoint and conditions -> samples.npz, a file a sample, a contact sheet."""

import pathlib
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from cdcd_jax import hosts, report, sharding
from cdcd_jax.errors import UsageError
from cdcd_jax.tasks.conditional import SamplingOptions
from cdcd_jax.train import abstract_state, build, load_params, place


def write_samples(
    directory: pathlib.Path,
    outputs: Mapping[str, np.ndarray],
    condition: Mapping[str, np.ndarray],
    single_files: bool = True,
) -> np.ndarray | None:
    """Writes what a task sampled; returns the contact sheet uint8 [H, W, C], if any.

    Only the main process writes.

    Args:
        directory: `<workdir>/samples/<name>`; files of these names are replaced.
        outputs: tokens int32 [N, L], images uint8 [N, H, W, C].
        condition: modality -> [N, ...].
        single_files: also one png a sample.
    """
    if not hosts.is_main():
        return None
    directory.mkdir(parents=True, exist_ok=True)
    named = {f"condition/{name}": np.asarray(v) for name, v in condition.items()}
    report.write_npz(directory / "samples.npz", **outputs, **named)
    images = outputs.get("images")
    if images is None:  # tokens alone
        return None
    if single_files:
        for old in directory.glob("sample_*.png"):
            old.unlink()
        for i, image in enumerate(images):
            report.write_png(directory / f"sample_{i:05d}.png", image)
    shown = images[contact_order(condition, len(images))]
    columns = min(len(shown), 10)
    scale = max(1, 40 // images.shape[1])
    sheet = report.image_grid(shown, columns, scale)
    report.write_png(directory / "contact_sheet.png", sheet)
    return sheet


def contact_order(condition: Mapping[str, np.ndarray], number: int) -> np.ndarray:
    """Which samples the sheet shows, at most 100: with labels, one class a column."""
    if "label" not in condition:
        return np.arange(min(number, 100))
    labels = np.asarray(condition["label"])
    by_class = [np.flatnonzero(labels == c) for c in np.unique(labels)][:10]
    rows = min(10, *(len(c) for c in by_class)) if len(by_class) > 1 else 100
    if len(by_class) == 1:
        return by_class[0][:rows]
    return np.stack([c[:rows] for c in by_class], axis=1).reshape(-1)


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


def draw_step_samples(
    config: Mapping[str, Any], workdir: pathlib.Path
) -> Callable[[int, Any, Any], dict[str, np.ndarray]]:
    """What the loop calls every `report.sample_every` steps: a sheet of 100 samples."""

    def draw(step: int, task: Any, state: Any) -> dict[str, np.ndarray]:
        condition = every_label(task.describe()["conditions"], 100)
        name = f"step_{step}"
        outputs = task.sample(
            state.ema_params,
            state.extra,
            condition,
            draw_key(config, name),
            SamplingOptions.of(config["sampling"]),
        )
        directory = workdir / "samples" / name
        sheet = write_samples(directory, outputs, condition, False)
        return {} if sheet is None else {"samples": sheet}

    return draw


def generate(
    config: Mapping[str, Any],
    workdir: pathlib.Path,
    given: Mapping[str, str],
    name: str,
) -> pathlib.Path:
    """Samples from the newest checkpoint into `<workdir>/samples/<name>`.

    `sampling.num_samples` of each condition given; of every class where none is.

    Raises:
        InputError: no checkpoint, or conditions that the model does not take.
    """
    task, optimizer = build(config)
    sampling = config["sampling"]
    condition = parse_conditions(
        given, task.describe()["conditions"], sampling["num_samples"]
    )
    mesh = place(config, task)
    step, params, extra = load_params(workdir, abstract_state(task, optimizer, mesh))
    began, options = time.perf_counter(), SamplingOptions.of(sampling)
    with sharding.use(mesh):
        outputs = task.sample(params, extra, condition, draw_key(config, name), options)
    directory = workdir / "samples" / name
    write_samples(directory, outputs, condition)
    guided = sampling["guidance_scale"] != 1.0
    if not hosts.is_main():
        return directory
    print(
        f"{len(outputs['tokens'])} samples of step {step} in "
        f"{time.perf_counter() - began:.1f} s, {sampling['steps']} network evaluations "
        f"of {'2 rows' if guided else '1 row'} a sample: {directory}",
        file=sys.stderr,
    )
    return directory
