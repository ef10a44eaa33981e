"""Work directories as training leaves them, with random parameters."""

import jax
import numpy as np
import pytest
import tiny

from cdcd_jax.config import experiment
from cdcd_jax.runtime.checkpoint import Checkpoints
from cdcd_jax.training import program
from cdcd_jax.training.workdir import claim_workdir

LENGTH, FRAMES, HOP, RATE = 12, 6, 4, 480  # 2 tokens a frame, 60 frames a second


def untrained(config, workdir, size=0.1):
    """A work directory as after training, with random parameters; returns it.

    Args:
        size: of the parameters; with small ones conditions make little difference.
    """
    rng = np.random.default_rng(0)

    def leaf(spec):  # quicker than to compile what makes them
        return np.asarray(size * rng.standard_normal(spec.shape), spec.dtype)

    state = jax.tree.map(leaf, program.abstract_state(*program.build(config)))
    with Checkpoints(workdir / "checkpoints") as checkpoints:
        checkpoints.save(1, state)
    claim_workdir(config, workdir)
    return workdir


def small(conditions, model, sampling, key="label", **changes):
    """A small model of these conditions, without contrast."""
    config = tiny.settings(
        model=dict(width=8, mlp_ratio=1, **model),
        contrastive=dict(weight=0.0, num_negatives=0, key=key),
        sampling=dict(steps=2, **sampling),
        eval=dict(figures=""),
        **changes,
    )
    config["model"]["conditions"] = conditions
    return config


@pytest.fixture(scope="session")
def dances(tmp_path_factory):
    """A model of sound for dances of 0.1 s, with its tokenizer: 4 samples a token."""
    root = tmp_path_factory.mktemp("dances")
    tokenizer = experiment(
        task="tokenizer",
        data=dict(synthetic=True, batch_size=4),
        model=dict(
            kind="vqvae1d",
            length=LENGTH * HOP,
            sample_rate=RATE,
            downs=(2,),
            strides=(2,),
            width=4,
            depth=1,
            multipliers=(1,),
        ),
        quantizer=dict(num_codes=8, dim=4),
    )
    untrained(tokenizer, root / "tokenizer")
    conditions = dict(
        motion=dict(kind="motion", shape=(FRAMES, 219), depth=1),
        genre=dict(kind="label", num_classes=2, names=("BR", "PO")),
    )
    path = str(root / "tokenizer")
    config = small(
        conditions,
        dict(grid=(1, LENGTH), num_codes=8),
        dict(num_samples=2, videos=1),
        "genre",
        tokenizer=dict(kind="checkpoint", path=path, batch_size=4),
    )
    return untrained(config, root / "run")
