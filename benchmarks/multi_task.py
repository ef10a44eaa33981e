r"""Several modalities in one model against a model for each task: which learns faster?

    python benchmarks/multi_task.py --json=runs/multi_task.json [--seeds=0,1,2] \
        [--points=250,500,750,1000,1500,2000,2500] [--samples=1800] \
        [--config.section.key=value ...]

`several` is configs/mt_diffusion/digits_joint.py, digits and labels in one z. The
others have its trunk, batch and steps, and one task each: `unconditional` draws digits,
`conditional` digits of a label, `classifier` labels of digits by the same diffusion
loss, and `plain_classifier` by cross-entropy alone, its z all noise. A run has one
schedule, as long as the last point, and is measured on its way at all of them, by its
averaged parameters: the Fréchet distance of digits drawn with nothing given; the share
of digits drawn for a held-out label that show it, and their distance; the share of
held-out digits whose label is right by one pass. A judge of classes and the distances
are those of an evaluation (docs/metrics.md); nothing is guided.

Models are compared after equal steps; after equal FLOPs (matrix products of a step, as
MFU counts them), for which the curve of `several` is read between its points; and with
`several` at the FLOPs of the three single models together, where it also is further on
in its schedule. Differences are paired by seed and + where `several` is better; in
brackets the least and the greatest over seeds. Three seeds agree by chance in one of
four cases.

The report at --json is written after every run: the same command goes on with those
that it lacks.
"""

import argparse
import dataclasses
import json
import pathlib
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import jax
import measure
import numpy as np

from cdcd_jax.data.digits import LEVELS, DigitsSource
from cdcd_jax.diffusion.gaussian_terms import levels_of_tokens
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.metrics.classifier import PixelClassifier
from cdcd_jax.metrics.frechet import frechet_distance
from cdcd_jax.modes import flags
from cdcd_jax.runtime import sharding
from cdcd_jax.training import program

CONFIG = "configs/mt_diffusion/digits_joint.py"
POINTS = "250,500,750,1000,1500,2000,2500"
# what a run is -> the config's variant, what else changes, and the sets it is judged by
RUNS: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "several": ("", (), ("joint", "label_to_image", "one_pass")),
    "unconditional": ("unconditional", (), ("joint",)),
    "conditional": ("conditional", (), ("label_to_image",)),
    "classifier": ("classifier", (), ("one_pass",)),
    "plain_classifier": (
        "classifier",
        # a label that cannot be seen in z, whose values then are 0
        (
            "--config.model.modalities.label.weight=0.001",
            "--config.diffusion.prediction=x_0",
        ),
        ("one_pass",),
    ),
}
SINGLE = ("unconditional", "conditional", "classifier")  # together as `several`
# figure -> its title, whether more is better, and who has the task alone
FIGURES = {
    "distance": (
        "Fréchet distance, nothing given",
        False,
        ("unconditional",),
    ),
    "label_to_image": (
        "right digits of a label, %",
        True,
        ("conditional",),
    ),
    "label_to_image_distance": (
        "Fréchet distance, label given",
        False,
        ("conditional",),
    ),
    "image_to_label": (
        "right labels of a digit by one pass, %",
        True,
        ("classifier", "plain_classifier"),
    ),
}
READINGS = ("at equal steps", "at equal FLOPs", "at the FLOPs of three")


@dataclasses.dataclass(frozen=True)
class Digits:
    """Tokens int32 [N, 64] and labels int32 [N] of both splits, and their judge."""

    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    judge: PixelClassifier

    @classmethod
    def load(cls, seed: int) -> "Digits":
        """The digits as a stage of records of this seed splits them."""

        def split(name: str) -> tuple[np.ndarray, np.ndarray]:
            own = DigitsSource(seed).split(name)
            levels = np.rint(own.images[own.chosen] / 255.0 * (LEVELS - 1))
            tokens = levels.reshape(len(levels), -1).astype(np.int32)
            return tokens, own.target[own.chosen].astype(np.int32)

        train, test = split("train"), split("test")
        return cls(train, test, PixelClassifier(levels_of(train[0]), train[1]))


def levels_of(tokens: np.ndarray) -> np.ndarray:
    """Pixels in [-1, 1]."""
    return levels_of_tokens(tokens.astype(np.float64), LEVELS)


def config_of(name: str, seed: int, steps: int, overrides: Sequence[str]) -> dict:
    """The whole config of a run.

    Raises:
        UsageError: an override that does not exist.
    """
    variant, changes, _ = RUNS[name]
    own = (f"--config.seed={seed}", f"--config.optim.num_steps={steps}")
    file = f"--config={CONFIG}:{variant}".rstrip(":")
    return flags.parse(["", file, *overrides, *changes, *own]).config


def judged(
    name: str, config: Mapping[str, Any], draw: Any, digits: Digits, number: int
) -> dict[str, float]:
    """Figures of a run at one point.

    Args:
        name: of the run.
        config: of the run.
        draw: (condition, options, number) -> samples.
        digits: of both splits.
        number: of samples of a set, evenly over the held-out digits.
    """
    tokens, labels = digits.test
    rows = np.arange(number) * len(labels) // number
    real, found = levels_of(tokens), {}
    for kind in RUNS[name][2]:
        chosen = dict(config["eval"]["sets"][kind])
        chosen.pop("given", None), chosen.pop("outputs", None)
        options = {**config["sampling"], **chosen}
        if kind == "joint":
            pixels = levels_of(draw({}, options, number)["tokens"])
            found["distance"] = frechet_distance(pixels, real)
        elif kind == "label_to_image":
            drawn = draw({"label": labels[rows]}, options, None)
            pixels = levels_of(drawn["tokens"])
            right = digits.judge.accuracy(pixels, labels[rows])
            found["label_to_image"] = 100 * right
            found["label_to_image_distance"] = frechet_distance(pixels, real)
        else:
            drawn = draw({"image": tokens[rows]}, options, None)
            right = np.mean(drawn["label"] == labels[rows])
            found["image_to_label"] = 100 * float(right)
    return found


def train(
    name: str,
    config: Mapping[str, Any],
    points: Sequence[int],
    digits: Digits,
    number: int,
) -> dict[str, Any]:
    """Trains a run and measures it on its way; see `judged`."""
    task, optimizer = program.build(config)
    mesh, seed = program.place(config, task), config["seed"]
    state = program.new_state(task, optimizer, seed, mesh)
    update = program.jit_step(task, optimizer, config, mesh)
    rng, size = np.random.default_rng(seed), config["data"]["batch_size"]
    tokens, labels = digits.train
    curve, seconds, began = {}, 0.0, time.perf_counter()
    for step in range(1, max(points) + 1):
        rows = rng.choice(len(labels), size, replace=False)
        batch = {"tokens": tokens[rows], "condition": {"label": labels[rows]}}
        with sharding.use(mesh):
            state, _ = update(state, sharding.put_batch(batch, mesh, size))
        if step not in points:
            continue
        jax.block_until_ready(state)
        seconds += time.perf_counter() - began
        # apart from the keys of initialisation and of steps
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), 2), step)

        def draw(
            condition: Any, options: Any, rows: Any, params=state.ema_params, key=key
        ) -> Any:
            with sharding.use(mesh):
                own = task.options(options)
                return task.sample(params, {}, condition, key, own, rows)

        curve[step] = judged(name, config, draw, digits, number)
        cells = [f"{k} {v:.3f}" for k, v in curve[step].items()]
        print(f"{name}-{seed}, {step} steps:", *cells, file=sys.stderr, flush=True)
        began = time.perf_counter()
    sizes = [leaf.size for leaf in jax.tree.leaves(state.params)]
    return dict(
        run=name,
        seed=seed,
        figures={
            figure: [curve[step][figure] for step in points]
            for figure in curve[points[0]]
        },
        parameters=int(sum(sizes)),
        gflop_of_a_step=program.model_flops(config) * size / 1e9,
        training_seconds=seconds,
    )


def read_at(steps: np.ndarray, points: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """Curves [seeds, P] at other steps [P], a line between points, nan outside."""
    return np.stack([np.interp(steps, points, row, np.nan, np.nan) for row in curve])


def compare(
    runs: Mapping[tuple[str, int], Mapping[str, Any]],
    points: Sequence[int],
    figure: str,
    single: str,
) -> dict[str, np.ndarray]:
    """How much better `several` is than a single model, [seeds, P] by reading.

    Seeds are those that both have; {} without any.

    Args:
        runs: by name and seed.
        points: [P], steps of the single model.
        figure: a key of `FIGURES`.
        single: a key of `RUNS`.
    """
    seeds = sorted(
        {s for n, s in runs if n == single} & {s for n, s in runs if n == "several"}
    )
    if not seeds:
        return {}
    of = lambda name: np.array([runs[name, seed]["figures"][figure] for seed in seeds])
    several, alone, x = of("several"), of(single), np.array(points, float)
    sign = 1.0 if FIGURES[figure][1] else -1.0
    cost = {name: run["gflop_of_a_step"] for (name, _), run in runs.items()}
    shares = [1.0, cost[single] / cost["several"]]
    if set(SINGLE) <= set(cost):
        shares.append(sum(cost[name] for name in SINGLE) / cost["several"])
    else:
        shares.append(np.nan)
    found = {"several": several, "alone": alone}
    for reading, share in zip(READINGS, shares, strict=True):
        found[reading] = sign * (read_at(share * x, x, several) - alone)
    return found


def cell(values: np.ndarray, signed: bool = False) -> str:
    """Mean [least, greatest] over seeds; of differences also what all seeds say."""
    if np.any(np.isnan(values)):
        return "–"
    form = "{:+.3g} [{:+.3g}, {:+.3g}]" if signed else "{:.4g} [{:.4g}, {:.4g}]"
    text = form.format(values.mean(), values.min(), values.max())
    return text + (f" {verdict(values)}" if signed else "")


def verdict(differences: np.ndarray) -> str:
    """better or worse where all seeds say so, else open."""
    if np.all(differences > 0):
        return "better"
    return "worse" if np.all(differences < 0) else "open"


def report(
    runs: Mapping[tuple[str, int], Mapping[str, Any]], points: Sequence[int]
) -> list[str]:
    """Lines of markdown: what the models cost, the curves, and what they say."""
    row = lambda *cells: "| " + " | ".join(map(str, cells)) + " |"
    lines = [row("model", "parameters", "GFLOP a step", "of `several`", "training, s")]
    lines.append(row(*["---"] * 5))
    several = [run for (name, _), run in runs.items() if name == "several"]
    for name in RUNS:
        own = [run for (n, _), run in runs.items() if n == name]
        if own and several:
            cost = own[0]["gflop_of_a_step"]
            share = cost / several[0]["gflop_of_a_step"]
            seconds = np.mean([run["training_seconds"] for run in own])
            cells = (
                own[0]["parameters"],
                f"{cost:.4g}",
                f"{share:.3f}",
                f"{seconds:.0f}",
            )
            lines.append(row(f"`{name}`", *cells))
    said = [row("better / worse / open, points", "", *READINGS), row(*["---"] * 5)]
    for figure, (title, _, singles) in FIGURES.items():
        for single in singles:
            found = compare(runs, points, figure, single)
            if not found:
                continue
            lines += ["", f"{title}, seeds: {len(found['alone'])}", ""]
            lines.append(row("steps", "`several`", f"`{single}`", *READINGS))
            lines.append(row(*["---"] * 6))
            for i, step in enumerate(points):
                cells = [cell(found[name][:, i]) for name in ("several", "alone")]
                cells += [cell(found[name][:, i], True) for name in READINGS]
                lines.append(row(step, *cells))
            counts = [count(found[name]) for name in READINGS]
            said.append(row(title, f"`{single}`", *counts))
    return [*lines, "", *said]


def count(found: np.ndarray) -> str:
    """At how many points `several` is better, worse, and neither, of [seeds, P]."""
    known = found[:, ~np.any(np.isnan(found), axis=0)]
    said = [verdict(column) for column in known.T]
    return " / ".join(str(said.count(word)) for word in ("better", "worse", "open"))


def finished(
    path: pathlib.Path, settings: Mapping[str, Any]
) -> dict[tuple[str, int], dict[str, Any]]:
    """Runs of an earlier call.

    Raises:
        UsageError: it was called with other settings.
    """
    if not path.exists():
        return {}
    found = json.loads(path.read_text())
    if found["settings"] != settings:
        raise UsageError(
            f"Found {path} of other settings, {found['settings']}; expected "
            f"{dict(settings)}; give the same ones, or another --json."
        )
    return {(run["run"], run["seed"]): run for run in found["runs"]}


def main(argv: Sequence[str] | None = None) -> int:
    """Trains what is missing and prints the tables; 1 or 2 after an error, else 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    integers = lambda text: sorted({int(part) for part in text.split(",")})
    add = parser.add_argument
    add("--json", type=pathlib.Path, required=True, help="the report")
    add("--seeds", type=integers, default=integers("0,1,2"))
    add("--points", type=integers, default=integers(POINTS), help="steps")
    add("--samples", type=int, default=1800, help="of a set, at least 360")
    add("--runs", default=",".join(RUNS), help="which of them are trained now")
    options, overrides = parser.parse_known_args(argv)
    try:
        run(options, overrides)
    except (UsageError, InputError) as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def run(options: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Trains, writes after each run, and prints."""
    names, points = options.runs.split(","), options.points
    if unknown := sorted(set(names) - set(RUNS)):
        raise UsageError(
            f"Found --runs={options.runs}; expected of {', '.join(RUNS)}; leave "
            f"{unknown[0]!r} out."
        )
    machine = measure.machine()
    settings = dict(points=points, samples=options.samples, overrides=list(overrides))
    runs = finished(options.json, settings)
    todo = {
        (name, seed): config_of(name, seed, points[-1], overrides)
        for seed in options.seeds
        for name in names
        if (name, seed) not in runs
    }
    digits = Digits.load(seed=0)
    for (name, seed), config in todo.items():
        runs[name, seed] = train(name, config, points, digits, options.samples)
        part = options.json.with_name(f"{options.json.name}.part")
        found = dict(command=measure.command(), machine=machine, settings=settings)
        measure.write_json(part, {**found, "runs": list(runs.values())})
        part.replace(options.json)
    print(", ".join(f"{k} {v}" for k, v in machine.items()))
    print(measure.command(), "", sep="\n")
    print("\n".join(report(runs, points)), flush=True)


if __name__ == "__main__":
    sys.exit(main())
