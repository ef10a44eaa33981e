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
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np

from cdcd_jax import flags

ROOT = pathlib.Path(__file__).resolve().parents[1]
# What a variant changes; those of a config file can be named too.
VARIANTS = {
    "vanilla": ["--config.contrastive.weight=0.0"],
    "contrast": [],
}


def link_stages(workdir: pathlib.Path, shared: pathlib.Path, names: list[str]) -> None:
    """Lets a work directory find the finished stages of another one."""
    workdir.mkdir(parents=True, exist_ok=True)
    for name in names:
        if not (shared / name).is_dir():
            sys.exit(
                f"error: found no {shared / name}; expected that stage of the config; "
                "run the config once with --workdir=<the directory of --shared>"
            )
        link = workdir / name
        if not link.exists():
            link.symlink_to((shared / name).resolve(), target_is_directory=True)


def run(command: Sequence[str], workdir: pathlib.Path) -> dict[str, float]:
    """The evaluation of a run, made if it is not there."""
    found = workdir / "evaluation.json"
    if not found.exists():
        with (workdir / "log.txt").open("a") as log:
            code = subprocess.run(command, cwd=ROOT, stdout=log, stderr=log).returncode
        if code or not found.exists():
            sys.exit(f"error: {workdir} ended with exit code {code}: see its log.txt")
    return json.loads(found.read_text())


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
    add("--variants", default=",".join(VARIANTS))
    add("--seeds", type=int, default=3)
    add("--jobs", type=int, default=1, help="runs at once")
    options, overrides = parser.parse_known_args(argv)
    variants = options.variants.split(",")
    unknown = sorted(set(variants) - set(VARIANTS))
    if unknown:
        sys.exit(f"error: unknown variant {unknown[0]}: choose of {list(VARIANTS)}")
    stages = list(flags.load_config(options.config).to_dict()["stages"])
    jobs = {}
    for seed in range(options.seeds):
        for variant in variants:
            workdir = options.out.resolve() / f"{variant}-{seed}"
            link_stages(workdir, options.shared or options.out, stages)
            command = [sys.executable, "-m", "cdcd_jax.main"]
            command += [f"--config={options.config}", f"--workdir={workdir}"]
            command += [f"--config.seed={seed}", *overrides, *VARIANTS[variant]]
            jobs[variant, seed] = command, workdir
    with ThreadPoolExecutor(options.jobs) as pool:
        done = pool.map(lambda job: run(*job), jobs.values())
        found = dict(zip(jobs, done, strict=True))
    results = {v: [found[v, s] for s in range(options.seeds)] for v in variants}
    print(table(results))
    (options.out / "contrast.json").write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
