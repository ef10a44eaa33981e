"""The modern form of the denoiser by its formulas in NumPy, float64.

Rotary positions in both axes and their sign, what is aligned with each token, what is
attended to, scales, shifts and gates of every branch: each has a say in these logits.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf, softmax

from cdcd_jax.networks.denoiser import Denoiser
from cdcd_jax.networks.encoded import Encoded, Environment
from cdcd_jax.networks.layers import rotate
from cdcd_jax.networks.motion_conditioners import at_times
from cdcd_jax.networks.positions import rotary_angles
from cdcd_jax.networks.text_encoder import Reader

K, GRID, WIDTH, HEADS, T, ROWS = 5, (2, 3), 16, 2, 10, 3
L, SIZE = 6, WIDTH // HEADS
DRAW = np.random.default_rng(0)
X_T = DRAW.integers(0, K + 1, (ROWS, L))
TIMES = np.array([1, 4, 10])
SEQUENCE = DRAW.normal(size=(ROWS, 4, 6)).astype(np.float32)
VECTOR = DRAW.normal(size=(ROWS, WIDTH)).astype(np.float32)
ALIGNED = DRAW.normal(size=(ROWS, L, WIDTH)).astype(np.float32)
BESIDE = DRAW.normal(size=(ROWS, 5, 4)).astype(np.float32)


def drawn_params(module: Any, *args: Any) -> Any:
    """Of order one, so that no part is small: nothing is as it is initialised."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), *args)["params"]
    rng = np.random.default_rng(1)
    scale = lambda a: 0.5 if len(a.shape) == 1 else 1 / np.sqrt(a.shape[0])
    draw = lambda a: rng.normal(0, scale(a), a.shape).astype(np.float32)
    return jax.tree.map(draw, shapes)


def dense(p: Any, x: np.ndarray) -> np.ndarray:
    kernel = np.asarray(p["kernel"], np.float64)
    flat = x @ kernel.reshape(x.shape[-1], -1) + p["bias"].reshape(-1)
    return flat.reshape(*x.shape[:-1], *kernel.shape[1:])


def normed(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


def turned(x: np.ndarray) -> np.ndarray:
    """Features [B, L, H, size] as complex pairs, turned by the token's place.

    The first half of the pairs turns with the row, the other with the column; pair i of
    n by base^(-i / n) a place.
    """
    pairs, base = SIZE // 2, 10.0 * max(GRID)
    row, column = np.divmod(np.arange(L), GRID[1])
    speed = base ** (-np.arange(pairs // 2) / (pairs // 2))
    angle = np.concatenate([np.outer(row, speed), np.outer(column, speed)], axis=1)
    pair = (x[..., :pairs] + 1j * x[..., pairs:]) * np.exp(1j * angle)[:, None]
    return np.concatenate([pair.real, pair.imag], axis=-1)


def attended(p: Any, x: np.ndarray, other: Any = None, turn: bool = False) -> Any:
    """Multi-head attention with RMS norms of queries and keys."""
    source = x if other is None else other
    parts = []
    for name, given in (("query", x), ("key", source)):
        y = dense(p[name], given)
        y = y / np.sqrt((y**2).mean(-1, keepdims=True) + 1e-6) * p[f"{name}_scale"]
        parts.append(turned(y) if turn else y)
    weights = softmax(np.einsum("blhc,bshc->bhls", *parts) / np.sqrt(SIZE), axis=-1)
    read = np.einsum("bhls,bshc->blhc", weights, dense(p["value"], source))
    return dense(p["proj"], read.reshape(*x.shape[:2], WIDTH))


def logits_of(p: Any, given: Encoded, beside: Any = None, present: Any = None) -> Any:
    """The formulas of the modern form with one block."""
    silu = lambda x: x / (1 + np.exp(-x))
    frequency = 10_000.0 ** (-np.arange(WIDTH // 2) / (WIDTH // 2))
    angle = 1000.0 * (TIMES / T)[:, None] * frequency
    time = np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
    vector = dense(p["time_2"], silu(dense(p["time_1"], time)))
    x = p["tokens"]["embedding"][X_T] + p["positions"].astype(np.float64)
    if given.vector is not None:
        vector = vector + given.vector
    if beside is not None:
        add = beside.mean(axis=1) @ p["environment"]["kernel"]
        vector = vector + np.where(present[:, None], add, 0)
    if given.aligned is not None:
        x = x + given.aligned
    block = p["blocks_0"]
    parts = 2 if given.sequence is None else 3
    both = dense(block["modulation"], silu(vector)).reshape(ROWS, parts, 3, 1, WIDTH)

    def branch(x: np.ndarray, i: int, module: Any) -> np.ndarray:
        scale, shift, gate = both[:, i, 0], both[:, i, 1], both[:, i, 2]
        return x + (1 + gate) * module(normed(x) * (1 + scale) + shift)

    def mlp(y: np.ndarray) -> np.ndarray:
        hidden = dense(block["mlp"]["hidden"], y)
        gelu = 0.5 * hidden * (1 + erf(hidden / np.sqrt(2)))
        return dense(block["mlp"]["out"], gelu)

    x = branch(x, 0, lambda y: attended(block["attn1"], y, turn=True))
    if given.sequence is not None:
        x = branch(x, 1, lambda y: attended(block["attn2"], y, given.sequence))
    if beside is not None:
        add = attended(block["attn3"], normed(x), beside)
        x = x + np.where(present[:, None, None], add, 0)
    x = branch(x, parts - 1, mlp)
    scale, shift = np.split(dense(p["modulation"], silu(vector))[:, None], 2, axis=-1)
    return dense(p["logits"], normed(x) * (1 + scale) + shift)


@pytest.mark.parametrize(
    ("given", "environment"),
    [
        (Encoded(), False),
        (Encoded(SEQUENCE, VECTOR, ALIGNED), False),
        (Encoded(None, VECTOR, ALIGNED), True),
    ],
)
def test_logits_are_those_of_the_formulas(given: Encoded, environment: bool) -> None:
    network = Denoiser(
        form="modern",
        num_codes=K,
        grid=GRID,
        width=WIDTH,
        depth=1,
        heads=HEADS,
        mlp="fc",
        mlp_ratio=2,
        activation="gelu",
        timesteps=T,
        environment=4 * environment,
    )
    args = jnp.asarray(X_T), jnp.asarray(TIMES), jax.tree.map(jnp.asarray, given)
    present = np.array([True, False, True])
    beside = (BESIDE, present) if environment else ()
    if environment:
        args = (*args, Environment(*map(jnp.asarray, beside)))
    params = drawn_params(network, *args)
    found = network.apply({"params": params}, *args)
    expected = logits_of(params, given, *beside)
    assert np.std(expected) > 0.3
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_rotation_is_a_product_with_a_complex_number() -> None:
    x = DRAW.normal(size=(ROWS, L, HEADS, SIZE)).astype(np.float32)
    found = rotate(jnp.asarray(x), rotary_angles(GRID, SIZE))
    np.testing.assert_allclose(found, turned(x), atol=1e-5)


def test_what_is_aligned_lies_at_its_time() -> None:
    """S features of equal spans of time, at the middles of L spans."""
    for number in (1, 2, 5, 6, 13):
        x = DRAW.normal(size=(2, number, 3)).astype(np.float32)
        middle = lambda n: (np.arange(n) + 0.5) / n
        expected = [
            [np.interp(middle(L), middle(number), row) for row in one.T] for one in x
        ]
        found = at_times(jnp.asarray(x), L)
        np.testing.assert_allclose(found, np.swapaxes(expected, 1, 2), atol=1e-5)


def test_a_query_of_each_token_reads_the_words_that_there_are() -> None:
    reader = Reader(L, HEADS, WIDTH)
    seen = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]], bool)
    args = jnp.asarray(SEQUENCE), jnp.asarray(seen)
    params = drawn_params(reader, *args)
    key, value = (dense(params[name], SEQUENCE) for name in ("key", "value"))
    scores = np.einsum("lhc,bshc->bhls", params["queries"][0], key) / np.sqrt(SIZE)
    weights = softmax(np.where(seen[:, None, None], scores, -np.inf), axis=-1)
    read = np.einsum("bhls,bshc->blhc", weights, value).reshape(ROWS, L, WIDTH)
    found = reader.apply({"params": params}, *args)
    np.testing.assert_allclose(found, dense(params["out"], read), atol=1e-5)
