"""Towers of pixels, texts and codes: vectors of length 1, what each kind reads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cdcd_jax.errors import UsageError
from cdcd_jax.networks import towers

SPEC = dict(kind="pixels", grid=(4, 3), num_codes=5, width=8)
SIZES = dict(width=8, depth=1, heads=2, queries=2)
TEXT = dict(kind="text", field="text", shape=(6,), vocabulary=9, **SIZES)
CODES = dict(kind="codes", grid=(1, 6), num_codes=9, **SIZES)


def made(**changes):
    spec = towers.full_spec("image", {**SPEC, **changes})
    return towers.make_tower(spec, 6, jnp.float32)


@pytest.mark.parametrize("grid", [(4, 3), (4, 3, 2)])
def test_vectors_have_length_one(grid):
    tower = made(grid=grid)
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 5, (7, tower.length))
    pictures = tower.prepared(jnp.asarray(tokens))
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


@pytest.mark.parametrize("spec", [TEXT, CODES], ids=["text", "codes"])
def test_words_and_codes_are_read_where_they_stand(spec):
    tower = towers.make_tower(towers.full_spec("x", spec), 5, jnp.float32)
    assert (tower.length, tower.num_codes, tower.grid) == (6, 9, (1, 6))
    assert not tower.views
    tokens = jnp.asarray(np.random.default_rng(0).integers(0, 9, (7, 6)))
    assert tower.prepared(tokens) is tokens
    params = tower.init(jax.random.key(0), tokens[:1])
    read = jax.jit(lambda tokens: tower.apply(params, tokens))
    vectors = read(tokens)
    assert vectors.shape == (7, 5) and vectors.dtype == jnp.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)
    for other in (tokens[:, ::-1], tokens.at[:, 2].set((tokens[:, 2] + 1) % 9)):
        assert np.abs(np.asarray(read(other) - vectors)).max(axis=1).min() > 1e-3


def test_what_fills_up_a_text_says_nothing_and_a_code_of_zero_does():
    """Features of fillings are not read, whatever stands at their places."""
    tokens = jnp.array([[3, 8, 0, 0, 0, 0]])

    def slope(spec):
        tower = towers.make_tower(towers.full_spec("x", spec), 5, jnp.float32)
        params = tower.init(jax.random.key(0), tokens)
        loss = lambda params: jnp.sum(tower.apply(params, tokens)[..., 0])
        found = jax.grad(loss)(params)["params"]["encoder"]
        return np.abs(found["positions"]).max(axis=1) > 0, found["tokens"]["embedding"]

    places, table = slope(TEXT)
    assert list(places) == [True, True, False, False, False, False]
    assert np.flatnonzero(np.abs(table).max(axis=1)).tolist() == [3, 8]
    places, table = slope(CODES)
    assert places.all()
    assert np.flatnonzero(np.abs(table).max(axis=1)).tolist() == [1, 4, 9]


def test_each_kind_says_what_its_field_holds():
    of = lambda spec: towers.content(towers.full_spec("x", spec))
    image = dict(kind="image", levels=5, grid=(4, 3), shape=(12,))
    assert of({**SPEC, "grid": [4, 3]}) == image
    assert of({**TEXT, "shape": [6]}) == dict(kind="text", shape=(6,), vocabulary=9)
    codes = dict(kind="tokens", levels=9, grid=(1, 6), shape=(6,))
    assert of(CODES) == codes


@pytest.mark.parametrize("spec", [SPEC, TEXT, CODES], ids=lambda spec: spec["kind"])
def test_half_precision_is_of_the_products_alone(spec):
    spec = towers.full_spec("x", spec)
    half = towers.make_tower(spec, 6, jnp.bfloat16)
    field = half.prepared(jnp.tile(jnp.arange(half.length) % 5, (2, 1)))
    params = half.init(jax.random.key(0), field)
    assert {a.dtype for a in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    near = half.apply(params, field)
    whole = towers.make_tower(spec, 6, jnp.float32).apply(params, field)
    assert near.dtype == jnp.float32
    assert 0 < np.abs(np.asarray(near - whole)).max() < 0.05


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (5, r"model\.towers\.x = 5; expected settings with kind = pixels or text"),
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
        ({**TEXT, "shape": 6}, r"shape = 6; expected \(S,\)"),
        ({**TEXT, "shape": (2, 3)}, r"expected \(S,\)"),
        ({**TEXT, "shape": (0,)}, "sizes of its axes"),
        ({**TEXT, "vocabulary": 1}, r"vocabulary = 1; expected the tokens .* 2 or"),
        ({**TEXT, "heads": 3}, r"heads = 3; expected a divisor of its width, 8"),
        (dict(kind="text"), r"of kind 'text' shape, vocabulary, and perhaps depth"),
        ({**CODES, "grid": (1, 0)}, "sizes of its axes"),
        ({**CODES, "num_codes": 1}, "2 or more"),
        ({**CODES, "heads": 3}, "divisor"),
    ],
)
def test_what_is_no_tower_is_refused(spec, message):
    with pytest.raises(UsageError, match=message):
        towers.full_spec("x", spec)


def test_frames_are_channels_of_one_picture():
    spec = towers.full_spec("v", dict(kind="frames", grid=(3, 2, 4), num_codes=5))
    assert towers.content(spec)["kind"] == "video"
    tower = towers.make_tower(spec, 8, jnp.float32)
    tokens = np.arange(48).reshape(2, 24) % 5
    seen = tower.prepared(jnp.asarray(tokens))
    expected = tokens.reshape(2, 3, 2, 4).transpose(0, 2, 3, 1) / 2 - 1
    np.testing.assert_allclose(seen, expected, atol=1e-6)
    params = tower.init(jax.random.key(0), seen)
    one, other = (tower.apply(params, x) for x in (seen, seen[..., ::-1]))
    assert np.abs(one - other).max() > 1e-3  # the order of frames tells
    with pytest.raises(UsageError, match=r"expected \(F, H, W\) or"):
        towers.full_spec("v", dict(kind="frames", grid=(2, 4), num_codes=5))
