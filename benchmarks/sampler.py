"""Sampling: one program for all steps against a Python loop over compiled steps.

    python benchmarks/sampler.py --config=configs/digits.py [--batches=1,64]
        [--config.sampling.steps=25 ...] [--json=FILE]

Both draw from the same network with the same shapes, settings and number of steps, and
from one key they draw the same tokens, of which the report counts the equal ones. The
loop is how public code samples: a call for each time, from Python. A third form is the
scan without its cache: keys and values of the condition are made at every step.
"""

import argparse
import pathlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
import measure
import numpy as np

from cdcd_jax.config import merge
from cdcd_jax.data.synthetic import synthetic_batches
from cdcd_jax.diffusion import sampler
from cdcd_jax.diffusion.sampler import SamplingOptions
from cdcd_jax.diffusion.transition import log_posterior, sample_prior, transitions
from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.modes import flags
from cdcd_jax.runtime import sharding
from cdcd_jax.training import program


def make_loop(task: Any, options: SamplingOptions, batch: int) -> Callable:
    """(params, condition, key) -> tokens, from a Python loop over one jitted step."""
    guided = options.guidance_scale != 1.0
    times = sampler.time_grid(options, task.schedule)
    jumps = transitions(task.schedule, times[:-1], times[1:])
    apply = network_of(task)

    @jax.jit
    def encode(params: Any, condition: Any) -> Any:
        encoded = apply(params, condition, jnp.zeros(batch, bool), method="encode")
        if not guided:
            return encoded
        null = apply(params, condition, jnp.ones(batch, bool), method="encode")
        return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), encoded, null)

    @jax.jit
    def step(params: Any, encoded: Any, x_t: jax.Array, t, jump, key) -> jax.Array:
        rows = jnp.concatenate([x_t, x_t]) if guided else x_t
        time = jnp.full(len(rows), t)
        logits = apply(params, rows, time, encoded, method="denoise")
        if guided:
            logits = sampler.guide(*jnp.split(logits, 2), options.guidance_scale)
        log_p = jax.nn.log_softmax(logits.astype(jnp.float32) / options.temperature)
        log_p = sampler.truncate(log_p, options.top_p, options.top_k)
        law = log_posterior(log_p, x_t, jump)
        noise = sampler.gumbel_noise(t, key, log_p.shape).tokens
        return jnp.argmax(law + noise, axis=-1).astype(jnp.int32)

    @jax.jit
    def begin(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        key_start, _, key_steps = jax.random.split(key, 3)
        x = sample_prior(key_start, (batch, task.length), task.schedule)
        return x, jax.random.split(key_steps, options.steps)

    # what a step takes besides tokens, on the device beforehand
    inputs = [
        jax.device_put((np.int32(t), jump))
        for t, jump in (
            (t, jax.tree.map(lambda a, i=i: a[i], jumps))
            for i, t in enumerate(times[:-1])
        )
    ]

    def one_by_one(params: Any, condition: Any, key: jax.Array) -> jax.Array:
        x, keys = begin(key)
        encoded = encode(params, condition)
        for (t, jump), step_key in zip(inputs, list(keys), strict=True):
            x = step(params, encoded, x, t, jump, step_key)
        return x

    return one_by_one


def network_of(task: Any) -> Callable:
    """(params, ..., method) -> what the network says."""

    def apply(params: Any, *args: Any, method: str) -> Any:
        return task.network.apply({"params": params}, *args, method=method)

    return apply


def make_forgetful(task: Any, options: SamplingOptions, batch: int) -> Callable:
    """The scan, but keys and values of the condition are made at every step."""
    apply, guided = network_of(task), options.guidance_scale != 1.0

    @jax.jit
    def draw(params: Any, condition: Any, key: jax.Array) -> jax.Array:
        drops = (False, True) if guided else (False,)
        read = [
            apply(params, condition, jnp.full(batch, drop), method="encode")
            for drop in drops
        ]
        encoded = jax.tree.map(lambda *parts: jnp.concatenate(parts), *read)

        def tokens_to_logits(x_t: jax.Array, t: jax.Array) -> jax.Array:
            rows, times = (jnp.concatenate([a] * len(drops)) for a in (x_t, t))
            logits = apply(params, rows, times, encoded, method="denoise")
            if not guided:
                return logits
            return sampler.guide(*jnp.split(logits, 2), options.guidance_scale)

        shape = (batch, task.length)
        drawn = sampler.sample(tokens_to_logits, task.schedule, key, shape, options)
        return drawn.tokens

    return draw


def measure_batch(config: Mapping[str, Any], batch: int, runs: int) -> dict[str, Any]:
    """Times of both forms at one batch size."""
    # no contrast: its groups would restrict the batch
    config = merge(
        config,
        dict(
            data=dict(batch_size=batch),
            optim=dict(accumulate=1),
            contrastive=dict(num_negatives=0, weight=0.0),
        ),
    )
    task, optimizer = program.build(config)
    options = SamplingOptions.of(config["sampling"])
    mesh = program.place(config, task)
    with sharding.use(mesh):
        params = program.new_state(task, optimizer, config["seed"], mesh).params
        drawn = next(synthetic_batches(task.describe(), np.arange(batch)))
        condition = jax.device_put(drawn["condition"])
        key, one_by_one = jax.random.key(0), make_loop(task, options, batch)
        scan = lambda: (
            task.draw_batch(params, condition, key, batch=batch, options=options).tokens
        )
        forgetful = make_forgetful(task, options, batch)
        calls = {
            "scan": scan,
            "loop": lambda: one_by_one(params, condition, key),
            "forgetful": lambda: forgetful(params, condition, key),
        }
        equal = float(jnp.mean(calls["scan"]() == calls["loop"]()))
        seconds = measure.interleaved(calls, runs)
    row: dict[str, Any] = {"batch": batch, "steps": options.steps}
    for name, values in seconds.items():
        row.update({f"{name}_{k}": v for k, v in measure.summary(values).items()})
        row[f"{name}_samples_per_second"] = batch / float(np.median(values))
    for name in ("loop", "forgetful"):
        row[f"{name}_ratio"] = float(np.median(seconds[name] / seconds["scan"]))
    return {**row, "equal_tokens": equal}


COLUMNS = {
    "steps": "steps",
    "scan, ms": "scan_ms",
    "min": "scan_ms_min",
    "max": "scan_ms_max",
    "samples/s": "scan_samples_per_second",
    "loop, ms": "loop_ms",
    "loop / scan": "loop_ratio",
    "no cache / scan": "forgetful_ratio",
    "equal tokens": "equal_tokens",
}


def parse(argv: list[str] | None) -> tuple[argparse.Namespace, Mapping[str, Any]]:
    """Options and config; what argparse does not know goes to the program's flags."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    integers = lambda text: [int(t) for t in text.split(",")]
    parser.add_argument("--batches", type=integers, default=[1, 64], help="sizes")
    parser.add_argument("--runs", type=int, default=11, help="turns")
    parser.add_argument("--json", type=pathlib.Path, help="also write the figures here")
    parser.add_argument(
        "--quick", action="store_true", help="two turns, to see that it runs"
    )
    args, rest = parser.parse_known_args(argv)
    if args.quick:
        args.runs = 2
    return args, flags.parse(["", *rest]).config


def main(argv: list[str] | None = None) -> int:
    """Returns 1 or 2 after an error, else 0."""
    try:
        args, config = parse(argv)
        found = measure.machine()
        print(", ".join(f"{k} {v}" for k, v in found.items()), flush=True)
        rows = [measure_batch(config, batch, args.runs) for batch in args.batches]
    except (UsageError, InputError) as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    table = [["batch", *COLUMNS]]
    measure.print_table(
        table + [[row["batch"], *(row[k] for k in COLUMNS.values())] for row in rows]
    )
    report = dict(command=measure.command(), machine=found, config=config, rows=rows)
    measure.write_json(args.json, report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
