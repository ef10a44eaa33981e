"""Parity with the sampling of VQ-Diffusion: guidance, truncation, orders, whole runs.

`golden/parity_sampling.npz` holds what its code computed for a network of one layer, 24
codes, 16 tokens and 10 times, with the uniform noise of each draw; a run is repeated
from the first canvas on, each step from our own canvas before it. The reference counts
t' = t - 1, has the class axis before the positions, and a row for the mask; its
log-probabilities stop at -70, ours do not.
"""

import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cdcd_jax.convert.transformer import denoiser_params
from cdcd_jax.diffusion import sampler
from cdcd_jax.diffusion.sampler import Noise, SamplingOptions
from cdcd_jax.diffusion.samplers import purity
from cdcd_jax.diffusion.samplers.times import sampler_of
from cdcd_jax.diffusion.schedule import make_schedule
from cdcd_jax.diffusion.transition import log_posterior, one_step_table
from cdcd_jax.networks.denoiser import Denoiser
from cdcd_jax.networks.encoded import Encoded

FILE = pathlib.Path(__file__).parents[1] / "golden" / "parity_sampling.npz"
K, T, L, B = 24, 10, 16, 3
SCHEDULE = make_schedule("vq_diffusion_released", K, T)
NETWORK = Denoiser(
    form="selfcross",
    num_codes=K,
    grid=(4, 4),
    width=32,
    depth=1,
    heads=4,
    mlp="fc",
    mlp_ratio=2,
    activation="gelu2",
    timesteps=T,
)


@functools.cache
def golden() -> dict[str, np.ndarray]:
    with np.load(FILE) as arrays:
        return dict(arrays)


def codes(name: str) -> np.ndarray:
    """A log-probability [..., K + 1, L] without the row of the mask: [..., L, K]."""
    return np.swapaxes(golden()[name], -1, -2)[..., :K]


def gumbel(uniform: np.ndarray) -> np.ndarray:
    """The reference's noise, [..., L, K + 1]."""
    noise = -np.log(-np.log(uniform + 1e-30) + 1e-30)
    return np.swapaxes(noise, -1, -2).astype(np.float32)


@functools.cache
def network() -> Any:
    """(x_t, t, null) -> logits."""
    n = len("model/params/transformer.")
    state = {k[n:]: v for k, v in golden().items() if "params/transformer." in k}
    params = {"params": denoiser_params(state, "selfcross", depth=1, heads=4)}
    cond, null = golden()["model/cond"], golden()["model/params/empty_text_embed"]
    null = np.broadcast_to(null.astype(np.float32), cond.shape)

    @functools.partial(jax.jit, static_argnames="null")
    def logits(x_t: jax.Array, t: jax.Array, null: bool) -> jax.Array:
        return NETWORK.apply(params, x_t, t, Encoded(sequence=sequences[null]))

    sequences = {False: jnp.asarray(cond), True: jnp.asarray(null)}
    return logits


def guided(x_t: jax.Array, t: jax.Array, scale: float) -> jax.Array:
    """log p(x_0 | x_t) [B, L, K], not yet normalised."""
    logits = network()(x_t, t, null=False)
    if scale == 1.0:
        return logits
    return sampler.guide(logits, network()(x_t, t, null=True), scale)


def assert_same_law(ours: jax.Array, reference: np.ndarray) -> None:
    """Normalised, since the reference leaves a truncated law as it is."""
    ours = np.asarray(jax.nn.softmax(ours, axis=-1))
    reference = np.exp(reference) * (reference > -69.5)
    reference = reference / reference.sum(-1, keepdims=True)
    np.testing.assert_allclose(ours, reference, rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 1.5, 3.0, 5.0])
def test_guided_log_probabilities(scale: float) -> None:
    x_t = jnp.asarray(golden()["cfg/x_t"], jnp.int32)
    t = jnp.asarray(golden()["cfg/t"], jnp.int32) + 1
    ours = jax.nn.log_softmax(guided(x_t, t, scale))
    reference = codes(f"cfg/guided_s{scale}")
    bounded = np.maximum(ours, -70)
    np.testing.assert_allclose(bounded, reference, rtol=0, atol=1e-4)
    if scale in (1.0, 3.0):
        assert_same_law(
            sampler.truncate(ours, 0.85, 0), codes(f"cfg/guided_s{scale}_top0.85r")
        )


@pytest.mark.parametrize(
    ("name", "top_p", "top_k"),
    [
        ("top0.85r", 0.85, 0),
        ("top0.5r", 0.5, 0),
        ("top0.999r", 0.999, 0),
        ("top1.0r", 1.0, 0),
        ("top0.0r", 0.0, 0),
        ("top5p", 1.0, 5),
        ("top1p", 1.0, 1),
    ],
)
def test_truncation(name: str, top_p: float, top_k: int) -> None:
    """But where all codes are as likely: there the reference keeps the first sorted."""
    log_p = codes("trunc/log_p")
    ours = np.array(sampler.truncate(jnp.asarray(log_p), top_p, top_k))
    reference = codes(f"trunc/{name}").copy()
    tied = np.ptp(log_p, axis=-1) < 1e-6
    assert tied.sum() == 1
    kept = (ours > -np.inf).sum(-1)[tied]
    assert kept == K  # as likely as the last one that is kept
    ours[tied] = reference[tied] = 0.0
    assert_same_law(jnp.asarray(ours), reference)


def run_of(name: str) -> dict[str, np.ndarray]:
    prefix = f"p_sample_{name}/"
    return {k[len(prefix) :]: v for k, v in golden().items() if k.startswith(prefix)}


RUNS = {
    "purity_w1": (SamplingOptions("purity", T, purity_weight=1.0, top_p=0.85), 1.0),
    "purity_w0": (SamplingOptions("purity", T, purity_weight=0.0, top_p=0.85), 1.0),
    "purity_cfg": (SamplingOptions("purity", T, purity_weight=0.5), 3.0),
    "hq_ps1": (SamplingOptions("random", T, top_p=0.85), 1.0),
}


@pytest.mark.parametrize("name", RUNS)
def test_runs_in_an_order(name: str) -> None:
    """Rules 1 and 2, each call from our canvas, with the positions that were drawn."""
    run, (options, scale) = run_of(name), RUNS[name]
    x_t = jnp.full((B, L), K, jnp.int32)
    for i, t in enumerate(run["t"]):
        np.testing.assert_array_equal(x_t, run["x_in"][i])
        time = jnp.full(B, t + 1, jnp.int32)
        log_p = jax.nn.log_softmax(guided(x_t, time, scale))
        log_p = sampler.truncate(log_p, options.top_p, 0)
        noise = gumbel(run["uniform"][i])
        if t == 0:  # the reference ends with the posterior, rule or not
            law = log_posterior(log_p, x_t, one_step_table(SCHEDULE).at(0))
            x_t = jnp.argmax(law + noise, axis=-1)
            continue
        masked = np.asarray(x_t == K)
        if options.method == "purity":
            score = purity.purity(log_p)
            close = np.testing.assert_allclose
            close(score, run["score"][i], rtol=0, atol=1e-5)
            weights = np.exp(purity.purity_order(score, 0.0)) * masked
            close(weights, run["select_weights"][i], rtol=0, atol=1e-5)
            sharp = purity.sharpen(log_p, score, options.purity_weight)
            assert_same_law(sharp, np.swapaxes(run["prob"][i], -1, -2)[..., :K])
        # an order that puts the positions that were drawn before all others
        drawn = np.zeros((B, L), np.float32)
        for row, selected in zip(drawn, run["selected"][i], strict=True):
            row[selected[selected >= 0]] = 1e9
        number = jnp.asarray(run["n_selected"][i], jnp.int32)
        own = sampler_of(options)
        x_t = own.unmask(log_p, x_t, Noise(noise, drawn), number, 1.0)
        np.testing.assert_array_equal(x_t, run["x_out"][i])
    np.testing.assert_array_equal(x_t, run["final"])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("p_sample_rule0", SamplingOptions("ancestral", T, top_p=0.85)),
        ("fast_time3", SamplingOptions("skip", 4, top_p=0.85, guidance_scale=3.0)),
    ],
)
def test_runs_of_the_sampler(name: str, options: SamplingOptions) -> None:
    """Whole runs by `sample` itself: rule 0, and the fast one that leaves 2 times out.

    Our prior has a code in place of a mask once in 10^5 tokens, not under this key.
    """
    noise = gumbel(golden()[f"{name}/uniform"])
    own = lambda step, key, shape: Noise(jnp.asarray(noise)[step], jnp.zeros((B, L)))
    found = jax.jit(
        lambda key: sampler.sample(
            lambda x_t, t: guided(x_t, t, options.guidance_scale),
            SCHEDULE,
            key,
            (B, L),
            options,
            canvases=True,
            noise=own,
        )
    )(jax.random.key(0))
    after = "tokens" if name == "fast_time3" else "x_out"
    np.testing.assert_array_equal(found.canvases, golden()[f"{name}/{after}"])
    np.testing.assert_array_equal(found.tokens, golden()[f"{name}/final"])
