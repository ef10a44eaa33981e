"""The output head and the loss in chunks of tokens: the same values, less memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cdcd_jax.diffusion import objective, schedule, transition
from cdcd_jax.networks.layers import product


def loss(features, kernel, x_t, z, tr, chunk):
    """Sum of the KL of all candidates, from features and the head's weights."""
    head = lambda h: product(h, kernel)
    score = objective.scores_of_features(head, features, x_t, z, tr, chunk)
    kl = objective.posterior_kl(z, x_t, score, tr, kernel.shape[1])
    return jnp.sum(kl) - jnp.sum(score.log_p)


def inputs(name, batch, length, width, codes, candidates):
    """Features, weights, x_t, candidates and jumps."""
    rng = np.random.default_rng(0)
    levels = schedule.make_schedule(name, codes, 100)
    z = jnp.asarray(rng.integers(codes, size=(batch, length, candidates)), jnp.int32)
    t = jnp.asarray(np.linspace(1, 100, batch), jnp.int32)
    x_t = transition.sample_x_t(jax.random.key(0), z[..., 0], t, levels)
    normal = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
    kernel = normal(width, codes) / np.sqrt(width)
    tr = transition.one_step_table(levels).at(t - 1)
    return normal(batch, length, width), kernel, x_t, z, tr


@pytest.mark.parametrize("name", ["vq_diffusion_released", "absorbing_linear"])
@pytest.mark.parametrize("chunk", [1, 4, 5, 11])  # 11 tokens: 4 and 5 do not divide it
def test_chunks_change_nothing(name, chunk):
    args = inputs(name, 3, 11, 8, 13, 4)
    both = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)), static_argnums=5)
    whole, gradients = both(*args, 0)
    parts, part_gradients = both(*args, chunk)
    np.testing.assert_allclose(parts, whole, rtol=1e-6)
    for a, b in zip(part_gradients, gradients, strict=True):
        np.testing.assert_allclose(
            a, b, rtol=1e-4, atol=1e-5 * float(jnp.max(jnp.abs(b)))
        )


@pytest.mark.parametrize("name", ["vq_diffusion_released", "absorbing_linear"])
def test_logits_never_exist_all_at_once(name):
    batch, length, width, codes = 8, 256, 512, 16384
    args = inputs(name, batch, length, width, codes, 11)
    compiled = (
        jax.jit(jax.value_and_grad(loss, argnums=(0, 1)), static_argnums=5)
        .lower(*args, 4)
        .compile()
    )
    weight_gradient = 4 * width * codes
    temporary = compiled.memory_analysis().temp_size_in_bytes - weight_gradient
    assert temporary <= 0.1 * 4 * batch * length * codes


def test_the_product_rounds_its_operands_only():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(6, 64)), jnp.bfloat16)
    kernel = jnp.asarray(rng.normal(size=(64, 32)), jnp.bfloat16)
    exact = x.astype(jnp.float32) @ kernel.astype(jnp.float32)
    out = product(x, kernel)
    assert out.dtype == jnp.float32
    np.testing.assert_allclose(out, exact, rtol=1e-5, atol=1e-5)
    # a result in bfloat16 would be off by 1e-2
    gradients = jax.grad(lambda x, k: jnp.sum(product(x, k) ** 2), (0, 1))(x, kernel)
    assert [g.dtype for g in gradients] == [jnp.bfloat16] * 2
    np.testing.assert_allclose(
        gradients[0].astype(jnp.float32),
        2 * exact @ kernel.T.astype(jnp.float32),
        rtol=0.05,
        atol=2.0,
    )
