"""What the PyTorch code of CDCD computed for small models, in our shapes and types.

`golden/*.npz` holds it (golden/make_extract.py) for its models of classes and texts.
The gradients, the two-layer networks and all of its model of music need the complete
files, looked for in $CDCD_JAX_GOLDEN or in `shared/golden` beside the repository. The
reference counts t' = t - 1 = 0..T - 1, its class axis comes before the positions, and
its log-probabilities stop at -70 (a one-hot zero at log 1e-30 = -69.08); ours do not,
so that values near e-70 are compared as probabilities. Only what the loss subtracts
needs a bound: the `FLOOR` of 70 nats.
"""

import functools
import os
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cdcd_jax.convert.transformer import denoiser_params
from cdcd_jax.diffusion import objective, schedule, transition
from cdcd_jax.networks.denoiser import Denoiser
from cdcd_jax.networks.encoded import Encoded

ROOT = pathlib.Path(__file__).resolve().parents[1]
EXTRACTS = ROOT / "tests" / "golden"
COMPLETE = pathlib.Path(
    os.environ.get("CDCD_JAX_GOLDEN", ROOT.parent / "shared" / "golden")
)
FORMS = {"class": "selfcondition", "text": "selfcross", "d2m": "selfcross"}
GRIDS = {"class": (4, 4), "text": (4, 4), "d2m": (1, 20)}
K, T = 24, 20
RELEASED = "vq_diffusion_released"
FLOOR = 70.0
# the whole of the music takes longer; its network and its token are among the fast
# tests
NAMES = ("class", "text", pytest.param("d2m", marks=pytest.mark.slow))


def positions_first(array: np.ndarray) -> np.ndarray:
    """[..., C, L] -> [..., L, C]."""
    return np.swapaxes(array, -1, -2)


class Golden:
    """One file's arrays, and the inputs in our shapes and types."""

    def __init__(self, folder: pathlib.Path, name: str):
        self.name, self.form, self.grid = name, FORMS[name], GRIDS[name]
        with np.load(folder / f"parity_{name}.npz") as arrays:
            self.arrays = dict(arrays)
        token = lambda key: jnp.asarray(self.arrays[key], jnp.int32)
        self.x_0, self.x_t, self.t = token("in/x0"), token("in/x_t"), token("in/t") + 1
        self.inter = token("in/negative_tokens")  # [B, 10, L]
        self.intra = jnp.swapaxes(token("loss_all/neg_tokens"), 0, 1)  # [B, 3, L]
        self.p_t = jnp.asarray(self.arrays["in/pt"])
        self.logits = jnp.asarray(positions_first(self["out/logits"]))
        # the model of music divides the uniform mass by K + 1
        codes = K + (name == "d2m")
        self.schedule = schedule.make_schedule(RELEASED, codes, T)
        self.steps = transition.one_step_table(self.schedule)
        self.jump = self.steps.at(self.t - 1)
        if name == "class":
            self.encoded = Encoded(label=token("in/label"))
        else:
            self.encoded = Encoded(sequence=jnp.asarray(self["in/cond"]))

    def __getitem__(self, key: str) -> np.ndarray:
        return self.arrays[key]

    def below(self, prefix: str) -> dict[str, np.ndarray]:
        """Arrays whose names begin with `prefix`, without it."""
        n = len(prefix)
        return {k[n:]: v for k, v in self.arrays.items() if k.startswith(prefix)}

    @functools.cached_property
    def divergences(self) -> "Divergences":
        return Divergences.of(self, self.logits)

    def log_posterior(self, logits: jax.Array) -> jax.Array:
        return transition.log_posterior(logits, self.x_t, self.jump)


class Divergences(NamedTuple):
    """d(z) by position of the sample, intra and inter negatives, [B, L, 1 + 3 + 10]."""

    step: jax.Array
    sample: jax.Array

    @classmethod
    def of(cls, golden: Golden, logits: jax.Array) -> "Divergences":
        """The sample's is not bounded, as in our loss."""
        z = jnp.concatenate([golden.x_0[:, None], golden.intra, golden.inter], axis=1)
        z = jnp.moveaxis(z, 1, 2)
        score = objective.scores(logits, golden.x_t, z, golden.jump)
        kl = lambda floor: objective.posterior_kl(
            z, golden.x_t, score, golden.jump, K, floor
        )
        own = lambda free, bounded: jnp.where(jnp.arange(14) < 1, free, bounded)
        nll = -score.log_p
        return cls(own(kl(None), kl(FLOOR)), own(nll, jnp.minimum(nll, FLOOR)))


def extract(name: str) -> Golden:
    """The part of a file that lies here."""
    return Golden(EXTRACTS, name)


def complete(name: str) -> Golden:
    """All of a file, or the test is skipped."""
    if not (COMPLETE / f"parity_{name}.npz").exists():
        pytest.skip(f"no parity_{name}.npz: name its folder, CDCD_JAX_GOLDEN")
    return Golden(COMPLETE, name)


def read(name: str) -> Golden:
    """What lies here of a file; of the music nothing does, so all of it."""
    return complete(name) if name == "d2m" else extract(name)


def draw(log_p: jax.Array, uniform: np.ndarray) -> np.ndarray:
    """argmax of log p + Gumbel noise, from uniform noise [B, C, L]."""
    gumbel = -np.log(-np.log(positions_first(uniform) + 1e-30) + 1e-30)
    return np.argmax(log_p + gumbel, axis=-1)


def denoiser(name: str, **changes: Any) -> Denoiser:
    """The two-layer network of a complete file, with changes."""
    music = name == "d2m"
    settings = dict(
        form=FORMS[name],
        num_codes=K,
        grid=GRIDS[name],
        width=64,
        depth=2,
        heads=4,
        mlp="fc" if music else "conv",
        mlp_ratio=4 if music else 2,
        activation="gelu2",
        timesteps=T,
        num_classes=10,
    )
    return Denoiser(**{**settings, **changes})


def logits_of(network: Denoiser, params: Any, golden: Golden) -> jax.Array:
    return network.apply({"params": params}, golden.x_t, golden.t, golden.encoded)


def converted(golden: Golden, prefix: str) -> dict[str, Any]:
    """Arrays below `prefix` as a tree of our parameters."""
    state = golden.below(prefix)
    return denoiser_params(state, golden.form, depth=2, heads=4)
