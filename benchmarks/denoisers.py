"""Bits per token of the modern denoiser and of the reference forms at equal FLOPs.

Trains each on digits with the program itself, the same number of steps, batches and
seeds, and prints the bound on held-out digits:

    python benchmarks/denoisers.py [--steps=600] [--seeds=0,1,2] [--rates=0.001,0.003]

A run that was stopped goes on when the same command is given again.
"""

import argparse
import json
import pathlib
import sys

import jax
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from cdcd_jax import main
from cdcd_jax.modes import flags
from cdcd_jax.training import program
from cdcd_jax.training.step import make_train_step

# At one width both forms have the same matrix products: equal FLOPs but for what sets
# scale and shift. A 3 x 3 convolution costs nine dense layers: its width shrinks.
CONV = ["mlp=conv", "mlp_ratio=2", "width=40", "heads=2"]
DENSE = ["mlp=fc", "mlp_ratio=4", "width=64", "heads=2"]
REFERENCE = ["form=selfcondition", "activation=gelu2"]
FORMS = {
    "modern, conv": ["form=modern", *CONV],
    "reference, conv": [*REFERENCE, *CONV],
    "modern, fc": ["form=modern", *DENSE],
    "reference, fc": [*REFERENCE, *DENSE],
}


def command(
    form: str, options: argparse.Namespace, seed: int, rate: float
) -> list[str]:
    """Flags of one run; digits without contrast, small, with the bound alone."""
    name = form.replace(", ", "-")
    return [
        "--config=configs/digits.py:vanilla",
        f"--workdir={options.workdir}/{name}-{rate}-{seed}",
        f"--config.seed={seed}",
        f"--config.optim.num_steps={options.steps}",
        f"--config.optim.learning_rate={rate}",
        "--config.contrastive.num_negatives=0",
        "--config.report.sample_every=0",
        "--config.eval.figures=",
        *(f"--config.model.{s}" for s in FORMS[form]),
    ]


def flops_and_parameters(argv: list[str]) -> tuple[float, int]:
    """FLOPs of one compiled training step, as XLA counts them, and parameters."""
    config = flags.parse(["", *argv]).config
    task, optimizer = program.build(config)
    state = program.abstract_state(task, optimizer)
    size, length = config["data"]["batch_size"], 64
    batch = {
        "tokens": jax.ShapeDtypeStruct((size, length), np.int32),
        "condition": {"label": jax.ShapeDtypeStruct((size,), np.int32)},
    }
    step = jax.jit(make_train_step(task, optimizer, config))
    cost = step.lower(state, batch).compile().cost_analysis()
    parameters = sum(p.size for p in jax.tree.leaves(state.params))
    return cost["flops"], parameters


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--rates", default="0.001,0.003", help="learning rates")
    parser.add_argument("--workdir", default="runs/denoisers")
    options = parser.parse_args()
    seeds = [int(s) for s in options.seeds.split(",")]
    rows = []
    for form in FORMS:
        for rate in map(float, options.rates.split(",")):
            bits = []
            for seed in seeds:
                argv = command(form, options, seed, rate)
                if main.main(["", *argv]):
                    sys.exit(1)
                folder = pathlib.Path(flags.parse(["", *argv]).workdir)
                figures = json.loads((folder / "evaluation.json").read_text())
                bits.append(figures["bits_per_token"])
            flops, parameters = flops_and_parameters(argv)
            rows.append((form, rate, flops / 1e9, parameters, bits))
    print("\n| form | rate | GFLOP a step | parameters | bits per token, mean | each |")
    print("|---|---|---|---|---|---|")
    for form, rate, flops, parameters, bits in rows:
        each = ", ".join(f"{b:.4f}" for b in bits)
        mean, deviation = np.mean(bits), np.std(bits, ddof=1) if len(bits) > 1 else 0.0
        print(
            f"| {form} | {rate:g} | {flops:.2f} | {parameters} "
            f"| {mean:.4f} ± {deviation:.4f} | {each} |"
        )


if __name__ == "__main__":
    run()
