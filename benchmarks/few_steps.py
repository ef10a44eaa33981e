r"""What few network evaluations cost: each sampler against all T ancestral steps.

    python benchmarks/few_steps.py --workdir=runs/digits \
        [--samplers="strided;spread,temperature=1.1;confidence,order_temperature=5"] \
        [--steps=2,4,6,8,10,16,25,50,100] [--samples=2000] [--guidance=1.0] [--seed=0]

A sampler is a method and options of `sampling`, with commas; several with semicolons.
Every set of samples is drawn under the conditions of an evaluation, into
<workdir>/few_steps, in parts that outlive a kill, and judged by the judge of the
work directory's `eval.figures` (labelled_pixels or captioned_pixels): the share of
samples that are right, and the Fréchet distance to the test split. Intervals are 95 %
of bootstraps over samples; ratios are to the ancestral ones, of as many samples, both
drawn anew. A sampler without enough times for a number of steps has a dash.
"""

import argparse
import ast
import dataclasses
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import measure
import numpy as np

from cdcd_jax.config import resolve_stages
from cdcd_jax.data.pipeline import one_pass
from cdcd_jax.diffusion import samplers
from cdcd_jax.diffusion.sampler import SamplingOptions
from cdcd_jax.evaluation import parts as drawn
from cdcd_jax.evaluation.evaluate import open_data
from cdcd_jax.evaluation.sets import DrawnSet
from cdcd_jax.evaluation.splits import conditions_of, judged_splits
from cdcd_jax.generation.rows import draw_key
from cdcd_jax.generation.time_profile import resolved
from cdcd_jax.metrics.captions import CaptionJudge
from cdcd_jax.metrics.classifier import PixelClassifier
from cdcd_jax.metrics.frechet import frechet_distance
from cdcd_jax.models.model import Trained
from cdcd_jax.models.saved import saved_config
from cdcd_jax.runtime import sharding
from cdcd_jax.tasks.drawing import rows_of_an_example

DRAWS = 200  # bootstraps
STEPS = "2,4,6,8,10,16,25,50,100"
SAMPLERS = "strided;random;spread;first_hitting;purity;confidence,order_temperature=5"


class Judged(NamedTuple):
    """What a set of samples is judged by."""

    right: np.ndarray  # bool [N]
    pixels: np.ndarray  # float [N, D] in [-1, 1]


def pixels_of(images: np.ndarray) -> np.ndarray:
    """uint8 [N, H, W, C] -> [N, D] in [-1, 1]."""
    return np.asarray(images, np.float64).reshape(len(images), -1) / 127.5 - 1.0


def judge_of(figures: str, train: Mapping[str, Any]) -> Callable[..., Judged]:
    """(images, condition) -> `Judged`, by a judge that learned from `train`."""
    told = train["condition"]
    if figures == "labelled_pixels":
        model = PixelClassifier(pixels_of(train["images"]), np.asarray(told["label"]))

        def judge(images: np.ndarray, condition: Mapping[str, Any]) -> Judged:
            pixels = pixels_of(images)
            return Judged(model.predict(pixels) == condition["label"], pixels)

    elif figures == "captioned_pixels":
        reader = CaptionJudge(train["images"], told["digits"], told["places"])

        def judge(images: np.ndarray, condition: Mapping[str, Any]) -> Judged:
            digits, places, ok = reader.read(np.asarray(images))
            right = ok & np.all(digits == condition["digits"], axis=1)
            right &= np.all(places == condition["places"], axis=1)
            return Judged(right, pixels_of(images))

    else:
        sys.exit(
            f"error: eval.figures = {figures!r}; expected labelled_pixels or "
            "captioned_pixels; take a work directory of such a config"
        )
    return judge


def sampler_of(text: str) -> dict[str, Any]:
    """The options of 'method,option=value,...'; exits where one is unknown."""
    method, *rest = text.split(",")
    if method not in samplers.SAMPLERS:
        known = ", ".join(samplers.SAMPLERS)
        sys.exit(f"error: unknown sampler {method!r}: choose of {known}")
    known = {field.name for field in dataclasses.fields(SamplingOptions)}
    known -= {"method", "steps", "times"}  # which others say
    options: dict[str, Any] = {"method": method}
    for part in rest:
        name, equals, value = part.partition("=")
        if name not in known or not equals:
            sys.exit(
                f"error: unknown option {part!r} of {method}: expected NAME=VALUE, "
                f"a name of {', '.join(sorted(known))}"
            )
        try:
            options[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):  # a name, such as that of a grid
            options[name] = value
    return options


class Runner:
    """Draws and judges sets of samples of one work directory."""

    def __init__(self, workdir: pathlib.Path, number: int, guidance: float, seed: int):
        config = resolve_stages(saved_config(workdir), workdir)
        config["sampling"] |= {"guidance_scale": guidance, "temperature": 1.0}
        config["sampling"] |= {"top_p": 1.0, "top_k": 0, "grid": "uniform"}
        config["eval"] |= {"num_samples": number}
        config["seed"] = seed
        self.config, self.workdir, self.number = config, workdir, number
        model = Trained(config, workdir)
        self.task, self.mesh, self.decoders = model.task, model.mesh, model.decoders
        card = open_data(model)
        self.step, *self.parts = model.weights
        self.condition = conditions_of(model, card, number)
        self.condition.pop("truth", None)
        test = list(one_pass(card, config["eval"]["split"], 64))
        batches = {"test": test, "samples": {}}
        split = judged_splits(model, card, batches)
        self.judge = judge_of(config["eval"]["figures"], split["train"])
        self.test = pixels_of(split["test"]["images"])

    def judged(self, sampler: str, steps: int) -> tuple[Judged, int] | None:
        """The samples of a sampler, and rows of an evaluation for one of them.

        None where it has not so many times.
        """
        changes = {**sampler_of(sampler), "steps": steps}
        changed = {**self.config, "sampling": {**self.config["sampling"], **changes}}
        try:
            changed = resolved(changed, self.task.schedule, self.workdir)
            options = SamplingOptions.of(changed["sampling"])
            self.task.check_sampling(options)
        except ValueError as error:
            print(f"{sampler}, {steps} steps: {error}", file=sys.stderr)
            return None
        name = f"{sampler},steps={steps}"
        name += f",w={options.guidance_scale:g},n={self.number}"
        part = DrawnSet(name, options, {}, number=self.number)
        asked = {"step": self.step, "seed": self.config["seed"]}
        folder, key = self.workdir / "few_steps" / name, draw_key(self.config, name)
        given = (folder, self.condition, key, asked)
        with sharding.use(self.mesh):
            drawn.draw(self.task, self.parts, part, *given)
        images = self.decoders.decode(drawn.outputs_of(folder))["images"]
        return self.judge(images, self.condition), rows_of_an_example(options)


def interval(values: Sequence[float]) -> str:
    """The middle 95 %."""
    low, high = np.percentile(values, [2.5, 97.5])
    return f"[{low:.3f}, {high:.3f}]"


def figures_of(found: Judged, reference: Judged, test: np.ndarray) -> dict[str, Any]:
    """Share right, distance and its ratio to the reference's, each with an interval."""
    rng, number = np.random.default_rng(0), len(found.right)
    distance = lambda judged, rows: frechet_distance(judged.pixels[rows], test)
    everything = np.arange(number)
    value, base = distance(found, everything), distance(reference, everything)
    shares, distances, ratios, gaps = [], [], [], []
    for _ in range(DRAWS):
        rows, other = rng.integers(number, size=(2, number))
        shares.append(found.right[rows].mean())
        distances.append(distance(found, rows))
        ratios.append(distances[-1] / distance(reference, other))
        gaps.append(shares[-1] - reference.right[other].mean())
    # a resample repeats rows, and so lies farther off: moved back by as much
    moved = lambda found, value: np.array(found) - np.mean(found) + value
    return dict(
        right=found.right.mean(),
        right_interval=interval(shares),
        gap=found.right.mean() - reference.right.mean(),
        gap_interval=interval(gaps),
        distance=value,
        distance_interval=interval(moved(distances, value)),
        ratio=value / base,
        ratio_interval=interval(moved(ratios, value / base)),
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Draws what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    integers = lambda text: [int(part) for part in text.split(",")]
    add = parser.add_argument
    add("--workdir", type=pathlib.Path, required=True)
    add("--samplers", default=SAMPLERS)
    add("--steps", type=integers, default=integers(STEPS))
    add("--samples", type=int, default=2000)
    add("--guidance", type=float, default=1.0)
    add("--seed", type=int, default=0)
    add("--json", type=pathlib.Path, help="also write the figures here")
    options = parser.parse_args(argv)
    for sampler in options.samplers.split(";"):
        sampler_of(sampler)  # before minutes are spent on the others
    machine = measure.machine()
    print(", ".join(f"{k} {v}" for k, v in machine.items()), flush=True)
    given = (options.samples, options.guidance, options.seed)
    runner = Runner(options.workdir.resolve(), *given)
    timesteps = runner.task.schedule.timesteps
    reference, _ = runner.judged("ancestral", timesteps)
    table, found = [["sampler", "steps", "rows", "right, %", "distance", "ratio"]], []
    for sampler in ["ancestral", *options.samplers.split(";")]:
        steps = [timesteps] if sampler == "ancestral" else options.steps
        for number in steps:
            judged = runner.judged(sampler, number)
            if judged is None:
                table.append([sampler, number, "-", "-", "-", "-"])
                continue
            row = figures_of(judged[0], reference, runner.test)
            found.append(dict(sampler=sampler, steps=number, rows=judged[1], **row))
            share = f"{100 * row['right']:.1f} ({100 * row['gap']:+.1f})"
            apart = f"{row['distance']:.3f} {row['distance_interval']}"
            ratio = f"{row['ratio']:.3f} {row['ratio_interval']}"
            cells = [sampler, number, number * judged[1], share, apart, ratio]
            table.append(cells)
            print(*cells, sep="  ", file=sys.stderr, flush=True)
    measure.print_table(table)
    settings = {k: str(v) for k, v in vars(options).items()}
    report = dict(
        command=measure.command(), machine=machine, settings=settings, rows=found
    )
    measure.write_json(options.json, report)


if __name__ == "__main__":
    main()
