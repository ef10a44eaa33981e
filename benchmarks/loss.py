"""Time and memory of the diffusion loss: dense one-hot algebra against the closed form.

    python benchmarks/loss.py [--num-codes=974 --length=256 --batch=8] [--json=FILE]

Forward and backward with respect to the logits, without negatives and with N = 10.
'dense' computes log q(x_{t-1} | x_t, x_0) of every class at every position from one-hot
vectors, as public PyTorch code does; 'closed' is `cdcd_jax.diffusion.objective`. First
both are checked against each other. The last part times a whole training step. All that
is compared runs alternately in one process, so that a busy machine disturbs all alike:
read the ratios, medians over pairs, rather than the times.
"""

import argparse
import math
import pathlib
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
import measure
import numpy as np

from cdcd_jax.config import experiment
from cdcd_jax.diffusion import objective, schedule, transition
from cdcd_jax.training import program
from cdcd_jax.training.step import init_state, make_train_step

WEIGHT = 0.1  # of the negatives against the bound
FLOOR = 70.0  # nats, of what is subtracted
TINY = 1e-30  # for the zeros of a one-hot vector
TOLERANCE = 1e-3  # relative, of loss and gradient


class Inputs(NamedTuple):
    """What both losses take."""

    logits: jax.Array  # [B, L, K]
    x_t: jax.Array  # int32 [B, L]
    z: jax.Array  # int32 [B, L, 1 + N], the sample first
    t: jax.Array  # int32 [B]


def make_inputs(args: argparse.Namespace, levels: schedule.Schedule) -> Inputs:
    """Random logits and tokens, times spread evenly over 1..T."""
    keys = jax.random.split(jax.random.key(0), 3)
    shape = (args.batch, args.length)
    z = jax.random.randint(keys[0], (*shape, 1 + args.negatives), 0, args.num_codes)
    t = jnp.linspace(1, args.timesteps, args.batch).astype(jnp.int32)
    x_t = transition.sample_x_t(keys[1], z[..., 0], t, levels)
    logits = 1.5 * jax.random.normal(keys[2], (*shape, args.num_codes))
    return Inputs(logits, x_t, z, t)


# -- the two losses --------------------------------------------------------------------


def log_rates(levels: schedule.Schedule) -> tuple[jax.Array, jax.Array]:
    """Logs of (alpha, beta, gamma, 1 - gamma), cumulative [4, T + 1], a step [4, T]."""
    code, mass = levels.code_mass, levels.uniform_mass
    alpha = levels.alpha_bar[1:] / levels.alpha_bar[:-1]
    beta = (mass[1:] - alpha * mass[:-1]) / code[:-1] / levels.num_codes
    stay = code[1:] / code[:-1]
    bars = (levels.alpha_bar, levels.beta_bar, levels.gamma_bar, code)
    log = lambda rows: jnp.asarray(np.log(np.maximum(rows, TINY)), jnp.float32)
    return log(np.stack(bars)), log(np.stack([alpha, beta, 1.0 - stay, stay]))


def dense_loss(levels: schedule.Schedule) -> Callable[[Inputs], jax.Array]:
    """The loss from log-probabilities of all K + 1 classes; the last one is M."""
    log_bars, log_steps = log_rates(levels)
    last = lambda a, value: jnp.concatenate([a, value], axis=-1)

    def log_one_hot(tokens: jax.Array) -> jax.Array:
        one_hot = jax.nn.one_hot(tokens, levels.num_codes + 1)
        return jnp.log(jnp.maximum(one_hot, TINY))

    def noise(log_x: jax.Array, rates: jax.Array) -> jax.Array:
        """Law after a jump with `rates` [4, B, 1, 1] from the law exp(log_x)."""
        alpha, beta, gamma, stay = rates
        codes = jnp.logaddexp(log_x[..., :-1] + alpha, beta)
        return last(codes, jnp.logaddexp(log_x[..., -1:] + stay, gamma))

    def log_posterior(log_x: jax.Array, x_t: jax.Array, t: jax.Array) -> jax.Array:
        """log q(x_{t-1} | x_t) for x_0 of the law exp(log_x); [B, L, K + 1]."""
        at = lambda table, index: table[:, index, None, None]
        log_x_t, masked = log_one_hot(x_t), (x_t == levels.num_codes)[..., None]
        zero = jnp.full(masked.shape, math.log(TINY))

        def likelihood(rates: jax.Array) -> jax.Array:
            """log q(x_t | each code before the jump)."""
            return jnp.where(masked, rates[2], noise(log_x_t, rates)[..., :-1])

        q = log_x[..., :-1] - likelihood(at(log_bars, t))
        total = jax.nn.logsumexp(q, axis=-1, keepdims=True)
        before = noise(last(q - total, zero), at(log_bars, t - 1))
        step = last(likelihood(at(log_steps, t - 1)), jnp.where(masked, 0.0, zero))
        return jnp.clip(before + step + total, -FLOOR, 0.0)

    def loss(inputs: Inputs) -> jax.Array:
        logits, x_t, z, t = inputs
        log_x_0 = jnp.clip(jax.nn.log_softmax(logits), -FLOOR)
        mask = jnp.full((*x_t.shape, 1), -FLOOR)
        model = log_posterior(last(log_x_0, mask), x_t, t)

        def divergence(tokens: jax.Array) -> jax.Array:
            log_z = log_one_hot(tokens)
            true = log_posterior(log_z, x_t, t)
            kl = jnp.sum(jnp.exp(true) * (true - model), axis=-1)
            nll = -jnp.sum(jnp.exp(log_z) * model, axis=-1)
            return jnp.sum(jnp.where(t[:, None] == 1, nll, kl))

        total, number = divergence(z[..., 0]), z.shape[-1] - 1
        for j in range(number):
            total -= WEIGHT / number * divergence(z[..., 1 + j])
        return total / x_t.size

    return loss


def closed_loss(levels: schedule.Schedule) -> Callable[[Inputs], jax.Array]:
    """The same from `objective.scores` and `objective.posterior_kl`."""
    table = transition.one_step_table(levels)

    def loss(inputs: Inputs) -> jax.Array:
        logits, x_t, z, t = inputs
        jump = table.at(t - 1)
        score = objective.scores(logits, x_t, z, jump)

        def divergence(part: slice, floor: float | None) -> jax.Array:
            some = score._replace(log_p=score.log_p[..., part])
            return jnp.sum(
                objective.posterior_kl(
                    z[..., part], x_t, some, jump, levels.num_codes, floor
                )
            )

        total, number = divergence(slice(0, 1), None), z.shape[-1] - 1
        if number:
            total -= WEIGHT / number * divergence(slice(1, None), FLOOR)
        return total / x_t.size

    return loss


# -- measuring -------------------------------------------------------------------------


def measure_loss(args: argparse.Namespace) -> dict[str, float]:
    """Times, temporary memory and agreement of the four loss functions."""
    levels = schedule.make_schedule(
        "vq_diffusion_released", args.num_codes, args.timesteps
    )
    inputs = make_inputs(args, levels)
    losses = {"dense": dense_loss(levels), "closed": closed_loss(levels)}
    figures: dict[str, float] = {}
    calls = {}
    for number in (0, args.negatives):
        rest = inputs._replace(z=inputs.z[..., : 1 + number])._asdict()
        logits = rest.pop("logits")
        found = {}
        for form, loss in losses.items():
            # tokens as arguments: constants would be folded
            of = lambda logits, rest, loss=loss: loss(Inputs(logits, **rest))
            compiled = jax.jit(jax.value_and_grad(of)).lower(logits, rest).compile()
            memory = compiled.memory_analysis().temp_size_in_bytes
            figures[f"{form}_{number}_temporary_mib"] = memory / measure.MIB
            call = lambda f=compiled, a=logits, b=rest: f(a, b)
            calls[f"{form}_{number}"], found[form] = call, call()
        (a, grad_a), (b, grad_b) = found["dense"], found["closed"]
        scale = jnp.max(jnp.abs(grad_a))
        differences = abs(a - b) / abs(a), jnp.max(jnp.abs(grad_a - grad_b)) / scale
        figures[f"difference_{number}"] = float(max(differences))
    # each comparison by itself: what ran before leaves its traces in the caches
    for number in (0, args.negatives):
        pair = {form: calls[f"{form}_{number}"] for form in losses}
        seconds = measure.interleaved(pair, args.runs)
        for form, values in seconds.items():
            figures[f"{form}_{number}_ms"] = 1e3 * float(np.median(values))
        speedup = np.median(seconds["dense"] / seconds["closed"])
        figures[f"speedup_{number}"] = float(speedup)
        of_form = lambda form, n=number: figures[f"{form}_{n}_temporary_mib"]
        figures[f"memory_ratio_{number}"] = of_form("closed") / of_form("dense")
    names = ("closed_0", f"closed_{args.negatives}")
    # short, and a small difference: more pairs
    seconds = measure.interleaved({name: calls[name] for name in names}, 5 * args.runs)
    figures["negatives_overhead_of_loss"] = measure.overhead(*seconds.values())
    return figures


def step_config(args: argparse.Namespace, number: int) -> dict[str, Any]:
    """A 'modern' network with a label; `number` negatives that the batch brings."""
    side = math.isqrt(args.length)
    grid = (side, side) if side * side == args.length else (1, args.length)
    return experiment(
        data=dict(batch_size=args.batch),
        model=dict(
            form="modern",
            mlp="fc",
            num_codes=args.num_codes,
            grid=grid,
            width=args.width,
            depth=args.depth,
            heads=4,
            conditions=dict(label=dict(kind="label", num_classes=10)),
        ),
        diffusion=dict(schedule="vq_diffusion_released", timesteps=args.timesteps),
        contrastive=dict(
            weight=WEIGHT if number else 0.0,
            num_negatives=number,
            negatives="intra",  # what the batch brings goes first
            chunks=(1, 2),
        ),
        sampling=dict(steps=args.timesteps),
    )


def measure_step(args: argparse.Namespace) -> dict[str, float]:
    """A whole training step, without and with negatives."""
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.integers(args.num_codes, size=shape).astype(np.int32)
    batch = {
        "tokens": draw(args.batch, args.length),
        "negatives": draw(args.batch, args.negatives, args.length),
        "condition": {"label": rng.integers(10, size=args.batch).astype(np.int32)},
    }
    batch = jax.tree.map(jnp.asarray, batch)

    def stepper(number: int) -> Callable[[], Any]:
        config = step_config(args, number)
        task, optimizer = program.build(config)
        step = jax.jit(make_train_step(task, optimizer, config), donate_argnums=0)
        state = jax.jit(lambda: init_state(task, optimizer, seed=0))()

        def call() -> Any:
            nonlocal state
            state, metrics = step(state, batch)
            return metrics

        return call

    calls = {f"step_{n}": stepper(n) for n in (0, args.negatives)}
    seconds = measure.interleaved(calls, args.runs)
    figures = {f"{k}_ms": 1e3 * float(np.median(v)) for k, v in seconds.items()}
    return {
        **figures,
        "negatives_overhead_of_step": measure.overhead(*seconds.values()),
    }


def table(figures: Mapping[str, Any], number: int) -> str:
    """The report."""
    lines = [f"{'':24}{'no negatives':>16}{f'{number} negatives':>16}"]

    def row(title: str, pattern: str, number_format: str) -> None:
        cells = [figures[pattern.format(n)] for n in (0, number)]
        lines.append(f"{title:24}" + "".join(f"{c:>16{number_format}}" for c in cells))

    row("dense, ms", "dense_{}_ms", ".1f")
    row("closed, ms", "closed_{}_ms", ".1f")
    row("dense / closed", "speedup_{}", ".2f")
    row("dense, temporary MiB", "dense_{}_temporary_mib", ".1f")
    row("closed, temporary MiB", "closed_{}_temporary_mib", ".1f")
    row("closed / dense", "memory_ratio_{}", ".3f")
    row("relative difference", "difference_{}", ".1e")
    row("training step, ms", "step_{}_ms", ".1f")
    for part in ("loss", "step"):
        added = figures[f"negatives_overhead_of_{part}"]
        lines.append(f"{number} negatives add {added:+.1%} to the {part}")
    return "\n".join(lines)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line; --quick sets small sizes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num-codes", type=int, default=974, help="K")
    parser.add_argument("--length", type=int, default=256, help="L, tokens")
    parser.add_argument("--batch", type=int, default=8, help="B")
    parser.add_argument("--negatives", type=int, default=10, help="N")
    parser.add_argument("--timesteps", type=int, default=100, help="T")
    parser.add_argument("--width", type=int, default=256, help="of the network")
    parser.add_argument("--depth", type=int, default=6, help="of the network")
    parser.add_argument("--runs", type=int, default=31, help="pairs to time")
    parser.add_argument("--json", type=pathlib.Path, help="also write the figures here")
    parser.add_argument(
        "--quick", action="store_true", help="tiny, to see that it runs"
    )
    args = parser.parse_args(argv)
    if args.quick:
        small = dict(num_codes=33, length=16, batch=4, negatives=2, timesteps=10)
        vars(args).update(small, width=32, depth=1, runs=2)
    return args


def main(argv: list[str] | None = None) -> int:
    """Returns 1 where the two forms disagree, else 0."""
    args = parse(argv)
    found = measure.machine()
    print(", ".join(f"{k} {v}" for k, v in found.items()))
    sizes = {k: v for k, v in vars(args).items() if k not in ("json", "quick")}
    print(", ".join(f"{k} {v}" for k, v in sizes.items()), flush=True)
    figures = measure_loss(args)
    worst = max(figures[f"difference_{n}"] for n in (0, args.negatives))
    if not worst <= TOLERANCE:
        print(f"dense and closed differ by {worst:.1e}, more than {TOLERANCE}")
        return 1
    figures.update(measure_step(args))
    print(table(figures, args.negatives))
    measure.write_json(args.json, {**found, **sizes, **figures})
    return 0


if __name__ == "__main__":
    sys.exit(main())
