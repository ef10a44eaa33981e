r"""How many sampling steps does the contrastive loss save? The paper says 35 %.

    python benchmarks/steps_to_quality.py --config=configs/digits.py --out=runs/steps \
        --shared=runs/digits [--variants=vanilla,step_intra,..] [--seeds=5] \
        [--schedules=vq_diffusion_paper] [--timesteps=25,100] [--steps=2,4,8,..] \
        [--samples=500] [--jobs=1] [--config.optim.num_steps=600 ...]

Every run trains as long as the others, in <out>/<schedule>-<T>/<variant>-<seed>, on the
records of `--shared`, a work directory of the same config. Then the same checkpoint is
sampled without guidance at each number of steps that T allows, by the strided sampler,
and judged. What is finished is not made again, and what was stopped goes on.

The goal of a setting (a schedule and T) is the mean quality of vanilla at the most
steps, within a tolerance of one point (shares) or 5 % (distances): curves are flat at
their end, where equality would be chance. A variant's quality over steps is made
monotone (isotonic regression of the means over seeds on log2 steps) and read where it
first comes to the goal. Intervals are 95 % of bootstraps that draw whole seeds; a pair
of variants draws the same seeds.
"""

import argparse
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np
from sklearn.isotonic import IsotonicRegression
from variants import VARIANTS, chosen, link_stages, run

from cdcd_jax.models import saved

STEPS = (2, 4, 6, 8, 10, 16, 25, 50, 100)
PAPER = "vanilla,step_intra,step_inter,sample_intra,sample_inter,infonce"
DRAWS = 2000  # bootstraps


def is_better_high(figure: str) -> bool:
    """Whether more of a figure is better; of distances and bits less is."""
    return not figure.startswith(("frechet", "bits", "fid"))


def goal_of(figure: str, quality: float) -> float:
    """What counts as as good as `quality`, of which more is better."""
    return quality - (0.01 if is_better_high(figure) else 0.05 * abs(quality))


def steps_to(goal: float, steps: np.ndarray, quality: np.ndarray) -> float:
    """The steps at which a rising quality comes to the goal; inf if it never does.

    Args:
        goal: in the units of `quality`, of which more is better.
        steps: [S], rising.
        quality: [S], means over seeds.
    """
    x = np.log2(steps)
    fit = IsotonicRegression().fit(x, quality).predict(x)
    if fit[-1] < goal:
        return float("inf")
    first = int(np.argmax(fit >= goal))
    if first == 0:
        return float(steps[0])
    low, high = fit[first - 1], fit[first]
    share = (goal - low) / (high - low)
    return float(2 ** (x[first - 1] + share * (x[first] - x[first - 1])))


def interval(values: np.ndarray) -> tuple[float, float]:
    """The middle 95 %, of numbers that may be infinite."""
    ordered = np.sort(values)
    low, high = int(0.025 * len(ordered)), int(np.ceil(0.975 * len(ordered))) - 1
    return float(ordered[low]), float(ordered[high])


def compare(
    curves: Mapping[str, np.ndarray], steps: np.ndarray, figure: str, seed: int = 0
) -> dict[str, dict[str, tuple[float, float, float]]]:
    """By variant: what is found, and its interval.

    Args:
        curves: variant -> quality [seeds, S], more is better; the first sets the goal.
        steps: [S], rising.
        figure: its name.

    Returns:
        variant -> `steps` to the goal; `saved`, the share of the first one's steps to
        the same goal that are not needed (negative where more are); `gain`, quality at
        the most steps less that of the first. Each as (value, low, high).
    """
    rng = np.random.default_rng(seed)
    first = next(iter(curves))
    number = len(curves[first])
    picks = [np.arange(number), *rng.integers(number, size=(DRAWS, number))]
    found: dict[str, dict[str, list[float]]] = {
        name: {"steps": [], "saved": [], "gain": []} for name in curves
    }
    for pick in picks:
        means = {name: rows[pick].mean(0) for name, rows in curves.items()}
        best = means[first][-1]
        goal = goal_of(figure, best)
        own = steps_to(goal, steps, means[first])
        for name, values in found.items():
            needed = steps_to(goal, steps, means[name])
            values["steps"].append(needed)
            values["saved"].append(1.0 - needed / own)
            values["gain"].append(float(means[name][-1] - best))
    return {
        name: {k: (v[0], *interval(np.array(v[1:]))) for k, v in values.items()}
        for name, values in found.items()
    }


def table(
    evaluations: Mapping[str, Sequence[Mapping[str, float]]],
    steps: Sequence[int],
    figure: str,
) -> list[str]:
    """Lines of markdown: a figure by variant over steps, and what is saved."""
    sign = 1.0 if is_better_high(figure) else -1.0
    curves = {
        name: np.array([[run[f"{figure}@steps={s}"] for s in steps] for run in runs])
        for name, runs in evaluations.items()
    }
    rising = {name: sign * values for name, values in curves.items()}
    found = compare(rising, np.array(steps), figure)
    head = [figure, *map(str, steps), "steps to the goal", "saved", "gain at the most"]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    number = lambda x: f"{x:.1f}" if np.isfinite(x) else "never"
    share = lambda x: f"{100 * x:+.0f} %" if np.isfinite(x) else "-inf"
    for name, values in curves.items():
        deviation = values.std(0, ddof=1) if len(values) > 1 else np.zeros(len(steps))
        cells = [
            f"{m:.3f} ± {d:.3f}" for m, d in zip(values.mean(0), deviation, strict=True)
        ]
        between = lambda key, show, name=name: "{} [{}, {}]".format(
            *map(show, found[name][key])
        )
        cells += [between("steps", number), between("saved", share)]
        cells += [between("gain", lambda x: f"{x:+.3f}")]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    return lines


def commands(
    options: argparse.Namespace, overrides: Sequence[str], schedule: str, timesteps: int
) -> dict[str, list[tuple[list[str], list[str], pathlib.Path]]]:
    """variant -> for each seed (training, evaluation, work directory)."""
    stages = list(saved.load_config(options.config)["stages"])
    steps = [s for s in options.steps if s <= timesteps]
    jobs: dict[str, list[tuple[list[str], list[str], pathlib.Path]]] = {}
    for variant in chosen(options.variants):
        for seed in range(options.seeds):
            folder = options.out.resolve() / f"{schedule}-{timesteps}"
            workdir = folder / f"{variant}-{seed}"
            link_stages(workdir, options.shared or options.out, stages)
            command = [f"--config={options.config}", f"--config.seed={seed}"]
            command += [f"--config.diffusion.schedule={schedule}"]
            command += [f"--config.diffusion.timesteps={timesteps}"]
            command += [f"--config.sampling.steps={min(10, timesteps)}"]
            command += ["--config.eval.at_end=False", *overrides, *VARIANTS[variant]]
            judge = ["--mode=evaluate", f"--config.eval.num_samples={options.samples}"]
            judge += ["--config.sampling.method=strided"]
            judge += ["--config.sampling.grid=uniform"]
            judge += ["--config.sampling.guidance_scale=1.0"]
            judge += [f"--config.eval.sweep.steps={tuple(steps)}"]
            train = [*command, "--config.report.sample_every=0"]
            jobs.setdefault(variant, []).append((train, [*command, *judge], workdir))
    return jobs


def finished(train: list[str], judge: list[str], workdir: pathlib.Path) -> dict:
    """The evaluation of a run, which is trained if it was not.

    An evaluation that was made with these settings is only read by it.
    """
    done = workdir / "done"
    if not done.exists():
        run(train, workdir)
        done.touch()
    run(judge, workdir)
    return json.loads((workdir / "evaluation.json").read_text())


def main(argv: Sequence[str] | None = None) -> None:
    """Runs what is missing and prints the tables."""
    integers = lambda text: [int(part) for part in text.split(",")]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--config", required=True)
    add("--out", type=pathlib.Path, required=True)
    add("--shared", type=pathlib.Path, help="a work directory with the stages")
    add("--variants", default=PAPER, help="the first one sets the goal")
    add("--seeds", type=int, default=5)
    add("--schedules", default="vq_diffusion_paper")
    add("--timesteps", type=integers, default=[25, 100], help="T of the training")
    add("--steps", type=integers, default=list(STEPS), help="of the sampling")
    add("--samples", type=int, default=500, help="of each run and number of steps")
    add("--figures", default="class_accuracy,frechet_distance")
    add("--jobs", type=int, default=1, help="runs at once")
    options, overrides = parser.parse_known_args(argv)
    options.steps.sort()
    for schedule in options.schedules.split(","):
        for timesteps in options.timesteps:
            jobs = commands(options, overrides, schedule, timesteps)
            flat = [job for runs in jobs.values() for job in runs]
            with ThreadPoolExecutor(options.jobs) as pool:
                found = iter(list(pool.map(lambda job: finished(*job), flat)))
            evaluations = {
                name: [next(found) for _ in runs] for name, runs in jobs.items()
            }
            print(f"\n## {schedule}, T = {timesteps}, {options.seeds} seeds\n")
            steps = [s for s in options.steps if s <= timesteps]
            for figure in options.figures.split(","):
                print("\n".join(table(evaluations, steps, figure)) + "\n", flush=True)
            path = options.out / f"{schedule}-{timesteps}.json"
            path.write_text(json.dumps(evaluations, indent=1))


if __name__ == "__main__":
    main()
