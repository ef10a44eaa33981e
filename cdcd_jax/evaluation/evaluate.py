"""A checkpoint -> figures: draws samples, judges them, writes evaluation.json."""

import collections
import itertools
import json
import pathlib
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from cdcd_jax.data.card import Card
from cdcd_jax.data.pipeline import (
    one_pass,
    open_dataset,
    open_raw,
    raw_pass,
    spread_records,
)
from cdcd_jax.data.sources import known_split, open_source
from cdcd_jax.diffusion import sampler
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.evaluation import sets as drawn
from cdcd_jax.generation import time_profile
from cdcd_jax.generation.generate import (
    draw_key,
    every_label,
    held_out,
    write_reconstructions,
)
from cdcd_jax.generation.prompts import TEXTS, rows_told
from cdcd_jax.metrics.diversity import token_usage
from cdcd_jax.metrics.names import suffix
from cdcd_jax.models.feature_judge import FeatureJudge, check_media
from cdcd_jax.models.tokenizers import check_made_with, open_tokenizer
from cdcd_jax.reporting import page, report
from cdcd_jax.reporting.samples import (
    check_place,
    contact_order,
    picture_sheet,
    write_samples,
)
from cdcd_jax.runtime import hosts, sharding
from cdcd_jax.tasks import bound as held_out_bound
from cdcd_jax.training.program import abstract_state, build, place
from cdcd_jax.training.start import load_params

STATISTICS = "statistics"  # of real data, kept in the work directory
SINGLE_FILES = 1000  # samples that get a file each, at most; samples.npz has all


def evaluate(config: Mapping[str, Any], workdir: pathlib.Path) -> dict[str, float]:
    """Figures of the newest checkpoint; the table of a checkpoint is made once.

    Samples are drawn without guidance and with `eval.guidance_scale`, and lie in
    `<workdir>/samples/unguided` and `.../guided`; those of `eval.sweep` are judged as
    well (see `drawn`). `<workdir>/evaluation.html` shows all in one file. A tokenizer's
    reconstructions of held-out examples are judged, and some lie in
    `.../reconstructions`.

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
    asked = {key: config[key] for key in ("seed", "eval")}
    asked |= {"step": step, "data": _told(config, data)}
    if not is_tokenizer:
        asked |= {key: config[key] for key in ("sampling", "contrastive")}
    asked = json.loads(json.dumps(asked))
    path, asked_path = workdir / "evaluation.json", workdir / "evaluation_config.json"
    if report.read_json(asked_path) == asked and (figures := report.read_json(path)):
        _print(figures, f"step {step}, evaluated before")
        return figures

    with sharding.use(mesh):
        figures, times = figures_of(config, workdir, data, task, step, (params, extra))
    figures = {"step": step, **figures}
    if hosts.is_main():
        # the settings first: figures without them would be made again, not believed
        path.unlink(missing_ok=True)
        report.write_json(asked_path, asked)
        report.write_json(path, figures)
        _print(figures, f"step {step}")
        print(times, file=sys.stderr)
    return figures


def _told(config: Mapping[str, Any], data: Any) -> dict[str, Any]:
    """By what an evaluation's data are recognised."""
    if isinstance(data, Card):
        shards = {
            name: [shard.sha256 for shard in split.shards]
            for name, split in data.splits.items()
        }
        return {"tokenizer": data.tokenizer.get("fingerprint"), "shards": shards}
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
    tokenizer = open_tokenizer(config["tokenizer"], config["model"]["grid"])
    check_made_with(card, tokenizer)
    drawn.check_sweep(config, task)
    open_judge(config, task, tokenizer, None)
    return card


def _sampled(
    config: Mapping[str, Any],
    workdir: pathlib.Path,
    card: Card,
    task: Any,
    step: int,
    parts: tuple[Any, Any],
) -> tuple[dict[str, float], str]:
    """The figures of a model of tokens, and what they took."""
    settings, began = config["eval"], time.perf_counter()
    tokenizer = open_tokenizer(config["tokenizer"], config["model"]["grid"])
    judge = open_judge(config, task, tokenizer, workdir)
    test = list(one_pass(card, settings["split"], config["data"]["batch_size"]))
    bound = task.bound(parts[0], test, draw_key(config, "evaluate"))
    if hosts.is_main():
        loss = held_out_bound.loss_by_time(bound, task.schedule)
        time_profile.write_profile(workdir, step, loss)
    hosts.wait_for_all("time profile")
    batches: dict[str, Any] = {"test": test, "bound": bound}
    sets = drawn.sets_of(config, task, workdir)
    samples, fresh = _draw_sets(
        config, workdir, card, task, tokenizer, step, parts, sets
    )
    sampled = time.perf_counter()
    if sets:
        batches["samples"] = samples
        batches["judged"] = judged_splits(
            config, workdir, card, task, tokenizer, batches
        )
    figures = task.evaluate(*parts, batches, draw_key(config, "evaluate"))
    if judge.needs():
        figures |= judge.figures(batches["samples"], batches["judged"]["test"])
    for part in sets:
        tokens = drawn.tokens_of(workdir / drawn.FOLDER / part.name)
        usage = token_usage(tokens, task.num_codes)
        figures |= {f"{k}{suffix(part.name)}": v for k, v in usage.items()}
    if hosts.is_main():
        _write_page(workdir, config, figures, sets, samples)
    judged = time.perf_counter() - sampled
    drew = f"bound and {fresh} samples {sampled - began:.1f} s"
    return figures, f"{drew}, evaluation {judged:.1f} s"


def open_judge(
    config: Mapping[str, Any], task: Any, tokenizer: Any, workdir: pathlib.Path | None
) -> FeatureJudge:
    """What compares features, opened; of a config that asks for none, it has none.

    Args:
        workdir: where statistics of real data are kept; None for nowhere.

    Raises:
        UsageError: features that samples of this model do not have.
        InputError: no such converted weights.
    """
    cache = workdir and workdir / STATISTICS
    judge = FeatureJudge({**config["eval"]["features"], "cache": cache})
    if judge.needs():
        conditions = task.describe()["conditions"].values()
        has_text = any(spec["kind"] in TEXTS for spec in conditions)
        media = {"images": "image", "audio": "audio"}
        given = [media[name] for name in tokenizer.outputs if name in media]
        check_media(judge.needs(), given[0] if given else "tokens alone", has_text)
    return judge


def _draw_sets(
    config: Mapping[str, Any],
    workdir: pathlib.Path,
    card: Card,
    task: Any,
    tokenizer: Any,
    step: int,
    parts: tuple[Any, Any],
    sets: Sequence[drawn.DrawnSet],
) -> tuple[Any, int]:
    """Draws all sets; they by name, and how many samples were drawn now."""
    if not sets:
        return {}, 0
    settings = config["eval"]
    for name in ("unguided", "guided"):
        check_place(workdir / "samples" / name)
    rate, number = tokenizer.sample_rate, settings["num_samples"]
    drawn_for = conditions_of(config, card, task)
    known: dict[str, Any] = {"condition": drawn_for, "sample_rate": rate}
    if "truth" in drawn_for:
        known["truth"] = {**known, **tokenizer.decode(drawn_for.pop("truth"))}
    conditions = task.describe()["conditions"]
    told = rows_told(drawn_for, conditions, card, workdir)
    for texts in told.texts.values():
        known["texts"] = list(texts)
    asked = {key: settings[key] for key in ("split", "num_samples")}
    asked |= dict(step=step, seed=config["seed"], data=_told(config, card))
    asked["batch_size"] = config["sampling"]["batch_size"]
    folder, fresh = workdir / drawn.FOLDER, 0
    samples = drawn.Sets(folder, [s.name for s in sets], tokenizer, known)
    for note in {sampler.mask_note(part.options, task.schedule) for part in sets}:
        if note and hosts.is_main():
            print(note, file=sys.stderr)
    for part in sets:
        began, key = time.perf_counter(), draw_key(config, part.name)
        new = drawn.draw(
            task, parts, part, folder / part.name, drawn_for, number, key, asked
        )
        fresh += new
        if hosts.is_main():
            took = f"{new} samples in {time.perf_counter() - began:.1f} s"
            print(f"{part.name}: {took}, {part.said}", file=sys.stderr)
        if not part.swept:
            outputs, shown = dict(samples[part.name]), {**drawn_for, **told.texts}
            outputs = {k: v for k, v in outputs.items() if k not in known}
            single = number <= SINGLE_FILES
            directory = workdir / "samples" / part.name
            write_samples(directory, outputs, shown, single, rate, told.titles)
    return samples, fresh


def judged_splits(
    config: Mapping[str, Any],
    workdir: pathlib.Path,
    card: Card,
    task: Any,
    tokenizer: Any,
    batches: dict[str, Any],
) -> dict[str, Any]:
    """The real examples that judges are trained on and compare with, decoded.

    Where these are raw, `batches["samples"]` gets the test split's reconstructions.
    """
    settings, rate = config["eval"], tokenizer.sample_rate
    judged = {"test": batches["test"]}
    raw = settings["judge"] == "raw"
    if not raw and settings["figures"]:
        judged["train"] = list(one_pass(card, "train", config["data"]["batch_size"]))
    for batch in itertools.chain(*judged.values()):
        batch |= tokenizer.decode(batch["tokens"])
    if raw:
        rebuilt = {**_joined(batches["test"]), "sample_rate": rate}
        rebuilt = {"reconstructed": {**rebuilt, "truth": rebuilt}}
        batches["samples"] = collections.ChainMap(rebuilt, batches["samples"])
        names = {"test": settings["split"], "train": "train"}
        names = names if settings["figures"] else {"test": settings["split"]}
        judged = {k: _raw_examples(card, split) for k, split in names.items()}
    joined = {name: _joined(part) for name, part in judged.items()}
    if not raw:
        conditions, found = task.describe()["conditions"], joined["test"]["condition"]
        told = rows_told(found, conditions, card, workdir)
        for texts in told.texts.values():
            joined["test"]["texts"] = list(texts)
    return {name: {**part, "sample_rate": rate} for name, part in joined.items()}


def _write_page(
    workdir: pathlib.Path,
    config: Mapping[str, Any],
    figures: Mapping[str, float],
    sets: Sequence[drawn.DrawnSet],
    samples: drawn.Sets,
) -> None:
    """`evaluation.html`: figures, curves, pictures and sounds in one file."""
    sheets, sounds = {}, {}
    if sets:
        number = config["eval"]["num_samples"]
        rows = contact_order(samples.condition, number)
    for part in sets:
        shown = samples.some(part.name, rows)
        if "images" in shown:
            sheets[part.name] = picture_sheet(shown["images"])
        for i, wave in enumerate(shown.get("audio", ())[:2]):
            sounds[f"{part.name}, {i}"] = wave, shown["sample_rate"]
    swept = [part for part in sets if part.swept]
    points = [{"name": p.name, "options": dict(p.swept), **p.cost} for p in swept]
    path, title = workdir / "evaluation.html", f"{workdir.name}: evaluation"
    page.write_page(path, title, figures, config, sheets, sounds, points)


def conditions_of(
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
    step: int,
    parts: tuple[Any, Any],
) -> tuple[dict[str, float], str]:
    """The figures of a tokenizer, and what they took."""
    del step
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
    figures = task.evaluate(*parts, batches, None)
    shown = held_out(config, task, settings["shown"])
    write_reconstructions(directory, task, *parts, shown)
    return figures, f"evaluation {time.perf_counter() - began:.1f} s"


def _print(figures: Mapping[str, float], title: str) -> None:
    """A line a figure, and of a sweep a table with a line a point."""
    points: dict[str, dict[str, str]] = {}
    for name, value in figures.items():
        figure, _, point = name.partition("@")
        if point and "/" not in point:
            points.setdefault(point, {})[figure] = _number(value)
    shown = {
        name: _number(value)
        + (f"  (n = {figures[name + '/n']})" if name + "/n" in figures else "")
        for name, value in figures.items()
        if not name.endswith("/n") and name != "step" and "@" not in name
    }
    print(f"evaluation of {title}\n{report.format_table(shown)}")
    if points:
        columns = list(dict.fromkeys(itertools.chain(*points.values())))
        rows = [["point", *columns]]
        rows += [[p, *(v.get(c, "") for c in columns)] for p, v in points.items()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = zip(row[1:], widths[1:], strict=True)
            print(row[0].ljust(widths[0]), *(c.rjust(w) for c, w in cells), sep="  ")


def _number(value: float | None) -> str:
    """A figure as it is printed; one that is not defined was written as null."""
    return "-" if value is None else f"{value:.4g}"
