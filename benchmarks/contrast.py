r"""Vanilla against contrast at equal steps and seeds, on one task.

    python benchmarks/contrast.py --config=configs/digits.py --out=runs/contrast \
        [--variants=vanilla,contrast] [--seeds=3] [--shared=runs/digits] [--jobs=1] \
        [--config.optim.num_steps=1000 ...]

Each run is a work directory <out>/<variant>-<seed> of `python -m cdcd_jax.main`, which
trains and evaluates; a run that is finished is not made again, and one that was stopped
goes on. Tokenizer and records are those of `--shared`, a work directory of the same
config, so that all runs learn from the same tokens. The table has mean and standard
deviation over seeds, and the mean difference to the first variant with its standard
error over pairs of one seed.
"""

import argparse
import json
import pathlib
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np
from variants import VARIANTS, chosen, evaluation, link_stages

from cdcd_jax.models import saved


def table(results: dict[str, list[dict[str, float]]]) -> str:
    """Figures by variant: mean and deviation, and the difference to the first one."""
    names = [n for n in next(iter(results.values()))[0] if "/" not in n and n != "step"]
    first, *others = results
    head = ["figure", *results, *[f"{name} - {first}" for name in others]]
    rows = [head]
    for name in names:
        values = {v: np.array([run[name] for run in r]) for v, r in results.items()}
        spread = lambda x: float(np.std(x, ddof=1)) if len(x) > 1 else float("nan")
        cells = [f"{x.mean():.4f} ± {spread(x):.4f}" for x in values.values()]
        for other in others:
            d = values[other] - values[first]
            error = spread(d) / np.sqrt(len(d))
            cells.append(f"{d.mean():+.4f} ± {error:.4f}")
        rows.append([name, *cells])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(head), *lines[1:]])


def main(argv: Sequence[str] | None = None) -> None:
    """Runs what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--config", required=True)
    add("--out", type=pathlib.Path, required=True)
    add("--shared", type=pathlib.Path, help="a work directory with the stages")
    add("--variants", default="vanilla,contrast")
    add("--seeds", type=int, default=3)
    add("--jobs", type=int, default=1, help="runs at once")
    options, overrides = parser.parse_known_args(argv)
    variants = chosen(options.variants)
    stages = list(saved.load_config(options.config)["stages"])
    jobs = {}
    for seed in range(options.seeds):
        for variant in variants:
            workdir = options.out.resolve() / f"{variant}-{seed}"
            link_stages(workdir, options.shared or options.out, stages)
            command = [f"--config={options.config}", f"--config.seed={seed}"]
            command += [*overrides, *VARIANTS[variant]]
            jobs[variant, seed] = command, workdir
    with ThreadPoolExecutor(options.jobs) as pool:
        done = pool.map(lambda job: evaluation(*job), jobs.values())
        found = dict(zip(jobs, done, strict=True))
    results = {v: [found[v, s] for s in range(options.seeds)] for v in variants}
    print(table(results))
    (options.out / "contrast.json").write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
