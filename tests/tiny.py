"""A digits experiment small enough for tests, and the flags that make it so."""

import contextlib
import io
import json
from pathlib import Path

import jax
import numpy as np

from cdcd_jax import main
from cdcd_jax.config import experiment, merge
from cdcd_jax.training import observe

SETTINGS = dict(
    data=dict(batch_size=16),
    model=dict(
        width=16,
        depth=1,
        heads=2,
        mlp="fc",
        mlp_ratio=4,
        conditions=dict(label=dict(kind="label", num_classes=10)),
    ),
    diffusion=dict(timesteps=10),
    contrastive=dict(weight=0.1, num_negatives=3, group=16),
    optim=dict(num_steps=6, warmup_steps=2),
    sampling=dict(steps=5, batch_size=20),
    eval=dict(at_end=False, figures="labelled_pixels", num_samples=20, bound_samples=2),
    report=dict(log_every=1, checkpoint_every=2),
)


def settings(**changes):
    """A whole experiment, with sections laid over the tiny one."""
    return merge(experiment(**SETTINGS), changes)


def flags(**more):
    """The same as command-line flags of configs/digits.py; more: config__key=value."""
    out = ["--config=configs/digits.py"]
    for section, values in SETTINGS.items():
        for key, value in values.items():
            if key != "conditions":
                out.append(f"--config.{section}.{key}={value}")
    out.append("--config.report.sample_every=0")
    return out + [f"--{k.replace('__', '.')}={v}" for k, v in more.items()]


def run(*argv):
    """Exit code and standard error of the program with these flags."""
    stream = io.StringIO()
    with contextlib.redirect_stderr(stream):
        code = main.main(["cdcd_jax", *map(str, argv)])
    return code, stream.getvalue()


def generate(workdir, name, *words):
    """The same of one sample of few steps, under this name."""
    mode, number = "--mode=generate", "--config.sampling.num_samples=1"
    given = (f"--workdir={workdir}", f"--name={name}", mode, number)
    return run(*given, "--config.sampling.steps=4", *words)


def batch(size=16, seed=0, length=64, classes=10):
    """A batch of random tokens with labels that go round."""
    rng = np.random.default_rng(seed)
    return {
        "tokens": rng.integers(0, 17, (size, length), dtype=np.int32),
        "condition": {"label": np.arange(size, dtype=np.int32) % classes},
    }


def rows(workdir):
    """metrics.jsonl as {step: row} without what the clock says."""
    text = Path(workdir, "metrics.jsonl").read_text()
    parsed = [json.loads(line) for line in text.splitlines()]
    return {
        r["step"]: {k: v for k, v in r.items() if k not in observe.NAMES}
        for r in parsed
    }


def max_difference(a, b):
    """The largest absolute difference of two trees."""
    pairs = jax.tree.map(lambda x, y: float(np.max(np.abs(x - y), initial=0.0)), a, b)
    return max(jax.tree.leaves(pairs))
