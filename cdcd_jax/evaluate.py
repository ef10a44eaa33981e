"""A checkpoint -> figures: draws samples, judges them, writes evaluation.json."""

import json
import pathlib
import sys
import time
from collections.abc import Mapping
from typing import Any

from cdcd_jax import hosts, report, sharding
from cdcd_jax.data.card import Card
from cdcd_jax.data.pipeline import one_pass
from cdcd_jax.generate import draw_key, every_label, write_samples
from cdcd_jax.tasks.conditional import SamplingOptions
from cdcd_jax.train import abstract_state, build, load_params, place


def evaluate(
    config: Mapping[str, Any], workdir: pathlib.Path, card: Card
) -> dict[str, float]:
    """Figures of the newest checkpoint; the table of a checkpoint is made once.

    Samples are drawn without guidance and with `eval.guidance_scale`, and lie in
    `<workdir>/samples/unguided` and `.../guided`.

    Args:
        config: a whole experiment.
        workdir: holds the checkpoint, gets evaluation.json.
        card: the records, for the splits 'train' and `eval.split`.

    Raises:
        InputError: no checkpoint, or unusable records.
    """
    task, optimizer = build(config)
    mesh = place(config, task)
    step, params, extra = load_params(workdir, abstract_state(task, optimizer, mesh))
    settings, sampling = config["eval"], config["sampling"]
    asked = {"step": step, "eval": settings, "sampling": sampling}
    asked = json.loads(json.dumps(asked))
    path, asked_path = workdir / "evaluation.json", workdir / "evaluation_config.json"
    if path.exists() and asked_path.exists():
        if json.loads(asked_path.read_text()) == asked:
            figures = json.loads(path.read_text())
            _print(figures, f"step {step}, evaluated before")
            return figures

    with sharding.use(mesh):
        figures, times = _figures(config, workdir, card, task, params, extra)
    figures = {"step": step, **figures}
    if hosts.is_main():
        # the settings first: figures without them would be made again, not believed
        path.unlink(missing_ok=True)
        report.write_json(asked_path, asked)
        report.write_json(path, figures)
        _print(figures, f"step {step}")
        print(times, file=sys.stderr)
    return figures


def _figures(
    config: Mapping[str, Any],
    workdir: pathlib.Path,
    card: Card,
    task: Any,
    params: Any,
    extra: Any,
) -> tuple[dict[str, float], str]:
    """The figures, and what they took."""
    settings, sampling = config["eval"], config["sampling"]
    began = time.perf_counter()
    samples, scales = {}, {"unguided": 1.0, "guided": settings["guidance_scale"]}
    for name, scale in scales.items() if settings["figures"] else ():
        condition = every_label(task.describe()["conditions"], settings["num_samples"])
        options = SamplingOptions.of(sampling, guidance_scale=scale)
        outputs = task.sample(params, extra, condition, draw_key(config, name), options)
        write_samples(workdir / "samples" / name, outputs, condition)
        samples[name] = {**outputs, "condition": condition}
    sampled = time.perf_counter()
    size = config["data"]["batch_size"]
    batches: dict[str, Any] = {
        "train": list(one_pass(card, "train", size)),
        "test": list(one_pass(card, settings["split"], size)),
        "samples": samples,
    }
    figures = task.evaluate(params, extra, batches, draw_key(config, "evaluate"))
    rows = settings["num_samples"] * len(samples)
    return figures, (
        f"sampling {sampled - began:.1f} s ({rows} samples, {sampling['steps']} "
        f"evaluations each), evaluation {time.perf_counter() - sampled:.1f} s"
    )


def _print(figures: Mapping[str, float], title: str) -> None:
    shown = {
        name: f"{value:.4g}"
        + (f"  (n = {figures[name + '/n']})" if name + "/n" in figures else "")
        for name, value in figures.items()
        if not name.endswith("/n") and name != "step"
    }
    print(f"evaluation of {title}\n{report.format_table(shown)}")
