"""Towers: pixels from tokens, vectors of length 1, descriptions that are refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cdcd_jax.errors import UsageError
from cdcd_jax.networks import towers

SPEC = dict(kind="pixels", grid=(4, 3), num_codes=5, width=8)


def made(**changes):
    spec = towers.full_spec("image", {**SPEC, **changes})
    return towers.make_tower(spec, 6, jnp.float32)


@pytest.mark.parametrize("grid", [(4, 3), (4, 3, 2)])
def test_vectors_have_length_one(grid):
    tower = made(grid=grid)
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 5, (7, tower.length))
    pictures = tower.pictures(jnp.asarray(tokens))
    assert pictures.shape == (7, 4, 3, 2 if len(grid) == 3 else 1)
    expected = (tokens.reshape(pictures.shape) / 4) * 2 - 1
    np.testing.assert_allclose(pictures, expected, atol=1e-6)
    params = tower.init(jax.random.key(0), pictures)
    vectors = tower.apply(params, pictures)
    assert vectors.shape == (7, 6) and vectors.dtype == jnp.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)
    # of each picture by itself
    alone = tower.apply(params, pictures[2:3])
    np.testing.assert_allclose(alone[0], vectors[2], atol=1e-6)


def test_half_precision_is_of_the_products_alone():
    spec = towers.full_spec("image", SPEC)
    pictures = jnp.ones((2, 4, 3, 1))
    half = towers.make_tower(spec, 6, jnp.bfloat16)
    params = half.init(jax.random.key(0), pictures)
    assert {a.dtype for a in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    near = half.apply(params, pictures)
    whole = towers.make_tower(spec, 6, jnp.float32).apply(params, pictures)
    assert near.dtype == jnp.float32
    assert 0 < np.abs(np.asarray(near - whole)).max() < 0.05


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (5, r"model\.towers\.x = 5; expected settings with kind = pixels"),
        (dict(kind="music"), "kind = pixels"),
        (
            dict(kind="pixels", grid=(4, 4)),
            r"expected of kind 'pixels' grid, num_codes",
        ),
        ({**SPEC, "widht": 5}, "widht"),
        ({**SPEC, "grid": (4,)}, r"grid = \(4,\); expected \(H, W\)"),
        ({**SPEC, "grid": ((4, 4), (1, 2))}, r"expected \(H, W\)"),
        ({**SPEC, "grid": (0, 2)}, "sizes of its axes"),
        ({**SPEC, "num_codes": 1}, "2 or more"),
    ],
)
def test_what_is_no_tower_is_refused(spec, message):
    with pytest.raises(UsageError, match=message):
        towers.full_spec("x", spec)
