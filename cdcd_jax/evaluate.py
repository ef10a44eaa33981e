"""A checkpoint -> figures: draws samples, judges them, writes evaluation.json."""

import itertools
import json
import pathlib
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from cdcd_jax import hosts, report, sharding
from cdcd_jax.data.card import Card
from cdcd_jax.data.pipeline import (
    one_pass,
    open_dataset,
    open_raw,
    raw_pass,
    spread_records,
)
from cdcd_jax.data.sources import known_split, open_source
from cdcd_jax.diffusion.sampler import SamplingOptions
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.generate import (
    draw_key,
    every_label,
    held_out,
    write_reconstructions,
)
from cdcd_jax.prompts import rows_told
from cdcd_jax.samples import check_place, write_samples
from cdcd_jax.tokenizers import check_made_with, open_tokenizer
from cdcd_jax.train import abstract_state, build, load_params, place


def evaluate(config: Mapping[str, Any], workdir: pathlib.Path) -> dict[str, float]:
    """Figures of the newest checkpoint; the table of a checkpoint is made once.

    Samples are drawn without guidance and with `eval.guidance_scale`, and lie in
    `<workdir>/samples/unguided` and `.../guided`. A tokenizer's reconstructions of
    held-out examples are judged, and some lie in `.../reconstructions`.

    Args:
        config: a whole experiment, its stages resolved.
        workdir: holds the checkpoint, gets evaluation.json.

    Raises:
        InputError: no checkpoint, or unusable data.
    """
    task, optimizer = build(config)
    mesh = place(config, task)
    is_tokenizer = config["task"] == "tokenizer"
    figures_of = _reconstructed if is_tokenizer else _sampled
    data = open_data(config, task)
    step, params, extra = load_params(workdir, abstract_state(task, optimizer, mesh))
    asked = {"step": step, "eval": config["eval"], "data": _told(config, data)}
    if not is_tokenizer:
        asked["sampling"] = config["sampling"]
    asked = json.loads(json.dumps(asked))
    path, asked_path = workdir / "evaluation.json", workdir / "evaluation_config.json"
    if _read(asked_path) == asked and (figures := _read(path)):
        _print(figures, f"step {step}, evaluated before")
        return figures

    with sharding.use(mesh):
        figures, times = figures_of(config, workdir, data, task, params, extra)
    figures = {"step": step, **figures}
    if hosts.is_main():
        # the settings first: figures without them would be made again, not believed
        path.unlink(missing_ok=True)
        report.write_json(asked_path, asked)
        report.write_json(path, figures)
        _print(figures, f"step {step}")
        print(times, file=sys.stderr)
    return figures


def _read(path: Any) -> Any:
    """What a JSON file says; None if it is not there or damaged."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def _told(config: Mapping[str, Any], data: Any) -> dict[str, Any]:
    """By what an evaluation's data are recognised."""
    if isinstance(data, Card):
        counts = {name: split.num_records for name, split in data.splits.items()}
        return {"tokenizer": data.tokenizer.get("fingerprint"), "splits": counts}
    return {key: config["data"][key] for key in ("raw", "path", "options")}


def open_data(config: Mapping[str, Any], task: Any) -> Any:
    """What an evaluation is made on: the records' card, or the raw source.

    Raises:
        InputError: unusable data, or records of another tokenizer.
    """
    if config["task"] == "tokenizer":
        source = open_raw(config, task.describe()["media"])
        if config["eval"]["figures"] and "label" not in source.card()["conditions"]:
            raise UsageError(
                f"eval.figures = {config['eval']['figures']!r} needs labels, which the "
                "source does not give: change data.options, or set eval.figures=''"
            )
        known_split(config["eval"]["split"], source.card()["splits"], "data.raw")
        return source
    card = open_dataset(config["data"]["path"], task.describe())
    check_made_with(card, open_tokenizer(config["tokenizer"], config["model"]["grid"]))
    return card


def _sampled(
    config: Mapping[str, Any],
    workdir: pathlib.Path,
    card: Card,
    task: Any,
    params: Any,
    extra: Any,
) -> tuple[dict[str, float], str]:
    """The figures of a model of tokens, and what they took."""
    settings, sampling = config["eval"], config["sampling"]
    began = time.perf_counter()
    tokenizer = open_tokenizer(config["tokenizer"], config["model"]["grid"])
    rate = tokenizer.sample_rate
    samples, scales = {}, {"unguided": 1.0, "guided": settings["guidance_scale"]}
    for name in scales if settings["figures"] else ():
        check_place(workdir / "samples" / name)
    drawn_for = _drawn_for(config, card, task) if settings["figures"] else {}
    known: dict[str, Any] = {"condition": drawn_for, "sample_rate": rate}
    if "truth" in drawn_for:
        known["truth"] = {**known, **tokenizer.decode(drawn_for.pop("truth"))}
    conditions = task.describe()["conditions"] if drawn_for else {}
    told = rows_told(drawn_for, conditions, card, workdir)
    for name, scale in scales.items() if settings["figures"] else ():
        key, rows = draw_key(config, name), settings["num_samples"]
        options = SamplingOptions.of(sampling, guidance_scale=scale)
        outputs = task.sample(params, extra, drawn_for, key, options, rows)
        outputs |= tokenizer.decode(outputs["tokens"])
        directory, shown = workdir / "samples" / name, {**drawn_for, **told.texts}
        write_samples(directory, outputs, shown, True, rate, told.titles)
        samples[name] = {**outputs, **known}
    sampled, rows = time.perf_counter(), settings["num_samples"] * len(samples)
    size = config["data"]["batch_size"]
    batches: dict[str, Any] = {"samples": samples}
    batches["test"] = list(one_pass(card, settings["split"], size))
    if settings["figures"]:  # which judge decoded examples
        judged = {"test": batches["test"]}
        raw = settings["judge"] == "raw"
        if not raw:
            judged["train"] = list(one_pass(card, "train", size))
        for batch in itertools.chain(*judged.values()):
            batch |= tokenizer.decode(batch["tokens"])
        if raw:
            samples["reconstructed"] = _joined(batches["test"])
            names = {"test": settings["split"], "train": "train"}
            judged = {k: _raw_examples(card, split) for k, split in names.items()}
        batches["judged"] = {
            name: {**_joined(part), "sample_rate": rate}
            for name, part in judged.items()
        }
    figures = task.evaluate(params, extra, batches, draw_key(config, "evaluate"))
    return figures, (
        f"sampling {sampled - began:.1f} s ({rows} samples, {sampling['steps']} "
        f"evaluations each), evaluation {time.perf_counter() - sampled:.1f} s"
    )


def _drawn_for(
    config: Mapping[str, Any], card: Card, task: Any
) -> dict[str, np.ndarray]:
    """Conditions of the samples, and the tokens of their records as 'truth', if any.

    Labels go through all classes; else the rows are held-out records.
    """
    conditions = task.describe()["conditions"]
    number = config["eval"]["num_samples"]
    if all(spec["kind"] == "label" for spec in conditions.values()):
        return every_label(conditions, number)
    rows = spread_records(card, config["eval"]["split"], number)
    return {**rows["condition"], "truth": rows["tokens"]}


def _joined(batches: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return jax.tree.map(lambda *parts: np.concatenate(parts), *batches)


def _raw_examples(card: Card, split: str) -> list[dict[str, Any]]:
    """The plain examples that the records were made of, as a judge takes them.

    Raises:
        InputError: the raw data are not there any more.
    """
    if not card.config:
        raise InputError(
            f"Found records {card.directory} that do not say what they were made of; "
            "expected the raw data for eval.judge = 'raw'; set it to 'records'."
        )
    data, seed = card.config["data"], card.config["seed"]
    source = open_source(data["raw"], data["path"], data["options"], seed)
    kind, part = source.card()["media"]["kind"], source.split(split)
    batches = raw_pass(part, kind, len(part), 256)
    name = {"image": "images", "audio": "audio"}[kind]
    return [{name: b[kind], "condition": b["condition"]} for b in batches]


def _reconstructed(
    config: Mapping[str, Any],
    workdir: pathlib.Path,
    source: Any,
    task: Any,
    params: Any,
    extra: Any,
) -> tuple[dict[str, float], str]:
    """The figures of a tokenizer, and what they took."""
    began, settings = time.perf_counter(), config["eval"]
    directory = workdir / "samples" / "reconstructions"
    check_place(directory)
    kind = task.describe()["media"]["kind"]
    split = source.split(settings["split"])
    size = config["data"]["batch_size"]
    batches = {"test": raw_pass(split, kind, settings["num_samples"], size)}
    if settings["figures"]:  # which a classifier of real examples judges
        real = source.split("train")
        batches["train"] = raw_pass(real, kind, len(real), size)
    figures = task.evaluate(params, extra, batches, None)
    shown = held_out(config, task, settings["shown"])
    write_reconstructions(directory, task, params, extra, shown)
    return figures, f"evaluation {time.perf_counter() - began:.1f} s"


def _print(figures: Mapping[str, float], title: str) -> None:
    shown = {
        name: f"{value:.4g}"
        + (f"  (n = {figures[name + '/n']})" if name + "/n" in figures else "")
        for name, value in figures.items()
        if not name.endswith("/n") and name != "step"
    }
    print(f"evaluation of {title}\n{report.format_table(shown)}")
