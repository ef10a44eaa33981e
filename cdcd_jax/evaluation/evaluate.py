"""A checkpoint -> figures: draws samples, judges them, writes evaluation.json."""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cdcd_jax.data.pipeline import one_pass
from cdcd_jax.data.raw_examples import open_raw
from cdcd_jax.data.sources import known_split
from cdcd_jax.errors import UsageError
from cdcd_jax.evaluation import parts as drawn
from cdcd_jax.evaluation.advice import judges_for
from cdcd_jax.evaluation.held_out import found, reconstructed
from cdcd_jax.evaluation.sets import DrawnSet, check_sets, columns_of, sets_of
from cdcd_jax.evaluation.sides import Side, all_told, check_given, sides_of, told
from cdcd_jax.evaluation.splits import judged_splits, known_of, rows_told_by
from cdcd_jax.evaluation.table import print_figures
from cdcd_jax.generation import rows, time_profile
from cdcd_jax.generation.rows import draw_key
from cdcd_jax.metrics.diversity import token_usage
from cdcd_jax.metrics.names import suffix
from cdcd_jax.models.decoders import SINGLE
from cdcd_jax.models.feature_judge import FeatureJudge, check_media
from cdcd_jax.models.model import Trained
from cdcd_jax.models.vocabularies import TEXTS
from cdcd_jax.reporting import files, page
from cdcd_jax.reporting.samples import check_place, write_samples
from cdcd_jax.reporting.sheets import contact_order, contact_sheet
from cdcd_jax.runtime import hosts, memory, sharding
from cdcd_jax.tasks.settings import missing_null

STATISTICS = "statistics"  # of real data, kept in the work directory
SINGLE_FILES = 1000  # samples that get a file each, at most; samples.npz has all


@memory.explained(
    "a smaller sampling.batch_size (samples at once)",
    "a smaller data.batch_size (examples of the bound at once)",
    "a smaller eval.num_samples",
)
def evaluate(model: Trained) -> dict[str, float]:
    """Figures of the newest checkpoint; the table of a checkpoint is made once.

    Samples of `eval.sets` (without guidance and with `eval.guidance_scale`, where there
    are none) lie in `<workdir>/samples/<set>`, whether anything judges them or not;
    those of `eval.sweep` are judged as well (see `sets`). `<workdir>/evaluation.html`
    shows all in one file. A tokenizer's reconstructions of held-out examples are
    judged, and some lie in
    `.../reconstructions`. A task that draws nothing judges held-out records itself.

    Raises:
        InputError: no checkpoint, or unusable data.
    """
    config, workdir = model.config, model.workdir
    figures_of = _figures_of(model)
    data = open_data(model)
    step = model.at_newest().weights[0]
    asked = {key: config[key] for key in ("seed", "eval")}
    if not asked["eval"].get("sets"):  # as before there were any
        asked["eval"] = {k: v for k, v in asked["eval"].items() if k != "sets"}
    sides = sides_of(model, data) if figures_of is _sampled else None
    asked |= {"step": step, "data": all_told(sides) if sides else told(config, data)}
    if sides:
        own = ("sampling", "contrastive")
        asked |= {key: config[key] for key in own if key in config}
    asked = json.loads(json.dumps(asked))
    path, asked_path = workdir / "evaluation.json", workdir / "evaluation_config.json"
    if files.read_json(asked_path) == asked and (figures := files.read_json(path)):
        print_figures(figures, f"step {step}, evaluated before")
        return figures

    with sharding.use(model.mesh):
        figures, times = figures_of(model, sides or data)
    figures = {"step": step, **figures}
    if hosts.is_main():
        # the settings first: figures without them would be made again, not believed
        path.unlink(missing_ok=True)
        files.write_json(asked_path, asked)
        files.write_json(path, figures)
        print_figures(figures, f"step {step}")
        print(times, file=sys.stderr)
    return figures


def _figures_of(model: Trained) -> Callable[[Trained, Any], tuple[dict, str]]:
    """What makes the figures, by what the task takes and gives."""
    if "media" in model.description:
        return reconstructed
    return _sampled if model.description["outputs"] else found


def open_data(model: Trained) -> Any:
    """What an evaluation is made on: the records' card, or the raw source.

    Raises:
        InputError: unusable data, or records of another tokenizer.
    """
    config, description = model.config, model.description
    if "media" in description:
        source = open_raw(config, description["media"])
        if config["eval"]["figures"] and "label" not in source.card()["conditions"]:
            raise UsageError(
                f"eval.figures = {config['eval']['figures']!r} needs labels, which the "
                "source does not give: change data.options, or set eval.figures=''"
            )
        known_split(config["eval"]["split"], source.card()["splits"], "data.raw")
        return source
    card = model.open_records()
    if not description["outputs"]:
        known_split(config["eval"]["split"], tuple(card.splits), "data.path")
        return card
    _ = model.decoders  # made with what made the records
    sets = check_sets(config, model.task)
    check_given(sets, sides_of(model, card))
    open_judge(model, keep=False)
    return card


def open_judge(model: Trained, keep: bool = True) -> FeatureJudge:
    """What compares features, opened; of a config that asks for none, it has none.

    Args:
        keep: statistics of real data, in the work directory.

    Raises:
        UsageError: features that samples of this model do not have.
        InputError: no such converted weights.
    """
    cache = model.workdir / STATISTICS if keep else None
    judge = FeatureJudge({**model.config["eval"]["features"], "cache": cache})
    if judge.needs():
        has_text = any(spec["kind"] in TEXTS for spec in model.conditions.values())
        given = [m.kind for m in model.decoders.media.values()]
        seen = [kind for kind in given if kind in ("image", "audio")]
        check_media(judge.needs(), seen[0] if seen else "tokens alone", has_text)
    return judge


def _sampled(model: Trained, sides: Mapping[str, Side]) -> tuple[dict[str, float], str]:
    """The figures of a model of records, and what they took."""
    config, workdir, task = model.config, model.workdir, model.task
    settings, began = config["eval"], time.perf_counter()
    step, *parts = model.weights
    judge = open_judge(model)
    size = config["data"]["batch_size"]
    tests = {
        n: list(one_pass(s.card, settings["split"], size)) for n, s in sides.items()
    }
    test = tests.pop("")
    number = sum(len(batch["tokens"]) for batch in test)
    batches: dict[str, Any] = {"test": test}
    if tests:
        batches["others"] = tests
    if hasattr(task, "bound"):  # else its parts have bounds of their own
        hosts.say(f"evaluating step {step}: the bound of {number} records ...")
        bound = task.bound(parts[0], test, draw_key(config, "evaluate"))
        batches["bound"], loss = bound, task.profile(bound)
        if hosts.is_main() and loss is not None:
            time_profile.write_profile(workdir, step, loss)
        hosts.wait_for_all("time profile")
    sets = sets_of(config, task, workdir)
    fault = missing_null(config["model"])
    if fault and settings["guidance_scale"] != 1 and not settings["sets"]:
        hosts.say(f"without guided samples: {fault}")
    samples, fresh = _draw_sets(model, sides, sets)
    sampled = time.perf_counter()
    batches["samples"] = samples
    has_judges = bool(settings["figures"] or judge.needs())
    if has_judges:
        batches["judged"] = judged_splits(*sides[""], batches)
        for name, rest in tests.items():
            own = {"test": rest, "samples": batches["samples"]}
            found = judged_splits(*sides[name], own, f"_{name}")
            batches["judged"].setdefault("others", {})[name] = found
            batches["samples"] = own["samples"]
    figures = task.evaluate(*parts, batches, draw_key(config, "evaluate"))
    if judge.needs():
        figures |= judge.figures(batches["samples"], batches["judged"]["test"])
    for part in sets:
        figures |= _usage(model, part)
    if hosts.is_main():
        _write_page(model, figures, sets, samples)
        if not has_judges:
            kinds = {medium.kind for medium in model.decoders.media.values()}
            print(judges_for(model.conditions, kinds), file=sys.stderr)
    judged = time.perf_counter() - sampled
    drew = f"bound and {fresh} samples {sampled - began:.1f} s"
    return figures, f"{drew}, evaluation {judged:.1f} s"


def _usage(model: Trained, part: DrawnSet) -> dict[str, float]:
    """How many codes the samples of a set use, of each output that is tokens.

    What the set was given whole says nothing of the model.
    """
    outputs = drawn.outputs_of(model.workdir / drawn.FOLDER / part.name)
    specs = {n: model.conditions[n] for n in part.given or ()}
    given = {s.get("field", n) for n, s in specs.items() if not s.get("masked")}
    figures = {}
    for name, num_codes in model.decoders.tokens.items():
        if name not in outputs or name in given:
            continue
        end = "" if name == SINGLE else f"_{name}"
        for key, value in token_usage(outputs[name], num_codes).items():
            figure, of, what = key.partition("/")
            figures[f"{figure}{end}{suffix(part.name)}{of}{what}"] = value
    return figures


def _draw_sets(
    model: Trained, sides: Mapping[str, Side], sets: Sequence[DrawnSet]
) -> tuple[Any, int]:
    """Draws all sets; they by name, and how many samples were drawn now."""
    config, workdir, task = model.config, model.workdir, model.task
    settings, decoders = config["eval"], model.decoders
    step, *parts = model.weights
    for part in sets:
        if not part.swept:
            check_place(workdir / "samples" / part.name)
    known = {
        (name, number): known_of(*sides[name], number)
        for name, number in dict.fromkeys(part.rows for part in sets)
    }
    asked = dict(split=settings["split"], step=step, seed=config["seed"])
    asked["batch_size"] = config["sampling"]["batch_size"]
    folder, fresh = workdir / drawn.FOLDER, 0
    samples = drawn.Sets(folder, sets, decoders, known)
    for note in {task.note(part.options) for part in sets}:
        if note and hosts.is_main():
            print(note, file=sys.stderr)
    for part in sets:
        began, key = time.perf_counter(), draw_key(config, part.name)
        side, drawn_for = sides[part.records], samples.condition(part.name)
        own = {**asked, "num_samples": part.number}
        own["data"] = told(side.model.config, side.card)
        if "truth" in known[part.rows]:
            # records, of which other rows may be taken another time
            own["rows"] = rows_told_by(drawn_for)
        hosts.say(f"drawing {part.number} samples: {part.name} ...")
        new = drawn.draw(task, parts, part, folder / part.name, drawn_for, key, own)
        fresh += new
        took = f"{new} samples in {time.perf_counter() - began:.1f} s"
        hosts.say(f"{part.name}: {took}, {part.said}")
        if not part.swept:
            under = part.under(drawn_for)
            shown = rows.told(side.model, under)
            write_samples(
                workdir / "samples" / part.name,
                samples.drawn(part.name),
                under | shown.texts,
                samples.media(part.name),
                part.number <= SINGLE_FILES,
                shown.titles,
            )
    return samples, fresh


def _write_page(
    model: Trained,
    figures: Mapping[str, float],
    sets: Sequence[DrawnSet],
    samples: drawn.Sets,
) -> None:
    """`evaluation.html`: figures, curves, pictures and sounds in one file."""
    sheets, sounds = {}, {}
    for part in sets:
        some = contact_order(samples.condition(part.name), part.number)
        shown, media = samples.some(part.name, some), samples.media(part.name)
        pictures = {k: m for k, m in media.items() if m.kind != "audio"}
        sheet = contact_sheet(shown, pictures, slice(None))
        if sheet is not None:
            sheets[part.name] = sheet
        for name, medium in media.items():
            which = "" if medium.stem == "sample" else f"{name}, "
            for i, wave in enumerate(shown[name][:2] if medium.kind == "audio" else ()):
                sounds[f"{part.name}, {which}{i}"] = wave, medium.sample_rate
    swept = [part for part in sets if part.swept]
    points = [{"name": p.name, "options": dict(p.swept), **p.cost} for p in swept]
    path = model.workdir / "evaluation.html"
    title = f"{model.workdir.name}: evaluation"
    columns = columns_of(sets) or page.SETS
    page.write_page(path, title, figures, model.config, sheets, sounds, points, columns)
    hosts.say(f"figures and samples on one page: {path}")
