"""Each attention that a CPU can run against the formula, forward and backward."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cdcd_jax.networks import attention


def arrays(length, keys, heads=2, size=16, dtype=jnp.float32):
    """q, k, v and a cotangent, of order one."""
    rng = np.random.default_rng(length)
    shapes = [(2, n, heads, size) for n in (length, keys, keys, length)]
    return [jnp.asarray(rng.normal(size=s), dtype) for s in shapes]


def plain(q, k, v):
    """The formula, in float32."""
    q, k, v = (x.astype(jnp.float32) for x in (q, k, v))
    logits = jnp.einsum("blhc,bshc->bhls", q, k) / np.sqrt(q.shape[-1])
    return jnp.einsum("bhls,bshc->blhc", jax.nn.softmax(logits), v)


# whole blocks; a length that is no multiple of a block; cross-attention
@pytest.mark.parametrize("lengths", [(256, 256), (200, 200), (100, 130)])
def test_splash_is_attention(lengths):
    q, k, v, cotangent = arrays(*lengths)
    run = lambda *x: attention.attention(*x, "splash", interpret=True)
    with jax.default_matmul_precision("float32"):
        ours, ours_back = jax.vjp(run, q, k, v)
        expected, back = jax.vjp(plain, q, k, v)
        np.testing.assert_allclose(ours, expected, atol=2e-5)
        for a, b in zip(ours_back(cotangent), back(cotangent), strict=True):
            np.testing.assert_allclose(a, b, atol=5e-5)


@pytest.mark.parametrize("lengths", [(128, 128), (150, 200)])
def test_heads_in_turns_are_attention(lengths):
    q, k, v, cotangent = arrays(*lengths)
    assert attention.chosen("turns", q.dtype, 16, *lengths) == "turns"
    run = lambda *x: attention.attention(*x, "turns")
    ours, ours_back = jax.vjp(run, q, k, v)
    expected, back = jax.vjp(plain, q, k, v)
    np.testing.assert_allclose(ours, expected, atol=2e-5)
    for a, b in zip(ours_back(cotangent), back(cotangent), strict=True):
        np.testing.assert_allclose(a, b, atol=5e-5)


@pytest.mark.parametrize("name", ["xla", "turns"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_softmax_and_types(dtype, name):
    q, k, v, _ = arrays(140, 130, dtype=dtype)
    out = attention.attention(q, k, v, name)
    assert out.dtype == dtype
    error = np.abs(out.astype(jnp.float32) - plain(q, k, v))
    # what was seen, and half as much again: with a softmax in bfloat16 the mean error
    # is 7e-4 and the largest 7e-3
    most, mean = (5e-7, 1e-7) if dtype == jnp.float32 else (4.5e-3, 5e-4)
    assert error.max() < most and np.sqrt(np.mean(error**2)) < mean


@pytest.mark.parametrize(
    ("platform", "name"), [("tpu", "splash"), ("gpu", "cudnn"), ("cpu", "turns")]
)
def test_auto_is_the_platform_s(platform, name):
    assert attention.resolve("auto", platform) == name
    assert attention.resolve("xla", platform) == "xla"


@pytest.mark.parametrize(
    ("asked", "dtype", "size", "keys", "runs"),
    [
        ("cudnn", jnp.bfloat16, 64, 77, "cudnn"),
        ("cudnn", jnp.float32, 64, 256, "xla"),  # no half precision
        ("cudnn", jnp.bfloat16, 12, 1024, "xla"),  # heads of CUB's network
        ("cudnn", jnp.bfloat16, 136, 1024, "xla"),
        ("splash", jnp.float32, 64, 77, "xla"),  # short
        ("splash", jnp.bfloat16, 64, 1033, "splash"),
        ("turns", jnp.float32, 64, 15, "xla"),  # small
        ("auto", jnp.bfloat16, 64, 1033, "turns"),  # on this CPU
    ],
)
def test_what_a_kernel_refuses_falls_back(asked, dtype, size, keys, runs):
    assert attention.chosen(asked, dtype, size, 1033, keys) == runs
