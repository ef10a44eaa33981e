"""Codes of modalities against brute force, and the way back from what heads say."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cdcd_jax.errors import UsageError
from cdcd_jax.networks import codes
from cdcd_jax.networks.codes import ImageCode, LabelCode, TokensCode, VectorCode

SPACE, ROWS = (6, 4), 3
RNG = np.random.default_rng(0)
SYMBOLS = {
    "label": LabelCode(SPACE, 5),
    "a_token_each": TokensCode(SPACE, 7, 6),
    "two_tokens_each": TokensCode(SPACE, 4, 12),
    "few_tokens": TokensCode(SPACE, 7, 3),  # which no token of z has to itself
}
# grid and patch, of K = 5 levels
PICTURES = [((4, 6, 1), 2), ((4, 6, 3), 2), ((2, 4, 2), 1), ((6, 3, 1), 3)]


def picture(pixels: tuple[int, int, int], patch: int) -> ImageCode:
    height, width, channels = pixels
    length = height // patch * (width // patch)
    return ImageCode((length, patch**2 * channels), 5, pixels, patch)


def parameters(code: codes.Code, x: Any) -> dict[str, Any]:
    return {"params": code.init(jax.random.key(0), x).get("params", {})}


def values_of(code: codes.Code) -> np.ndarray:
    """Random x."""
    if isinstance(code, LabelCode):
        return RNG.integers(0, code.num_classes, ROWS, dtype=np.int32)
    if isinstance(code, TokensCode):
        shape = (ROWS, code.length)
        return RNG.integers(0, code.num_codes, shape, dtype=np.int32)
    if isinstance(code, VectorCode):
        return RNG.normal(size=(ROWS, code.features)).astype(np.float32)
    shape = (ROWS, math.prod(code.pixels))
    return RNG.integers(0, code.levels, shape, dtype=np.int32)


def head_shape(code: codes.Code) -> tuple[int, ...]:
    return (ROWS, code.size) if code.pooled else (ROWS, code.space[0], code.size)


@pytest.mark.parametrize(
    ("symbols", "features"),
    [(1, 1), (2, 1), (10, 64), (17, 6), (64, 6), (1000, 10), (5000, 30), (9, 32)],
)
def test_no_two_symbols_have_one_code(symbols: int, features: int) -> None:
    for seed in range(3):
        found = np.asarray(codes.signs(jax.random.key(seed), (symbols, features)))
        assert found.shape == (symbols, features) and set(np.unique(found)) <= {-1, 1}
        assert len(np.unique(found, axis=0)) == symbols


def test_signs_are_as_often_one_as_the_other() -> None:
    draw = lambda key: codes.signs(key, (3, 8))  # of which two tell the symbols apart
    found = jax.vmap(draw)(jax.random.split(jax.random.key(0), 2000))
    np.testing.assert_allclose(np.mean(found, axis=0), 0, atol=0.1)


@pytest.mark.parametrize("name", SYMBOLS)
def test_symbols_come_back(name: str) -> None:
    code, x = SYMBOLS[name], values_of(SYMBOLS[name])
    variables = parameters(code, x)
    made = code.apply(variables, x)
    assert made.shape == (ROWS, *SPACE) and made.dtype == np.float32
    number = code.num_classes if name == "label" else code.num_codes
    sure = 50.0 * jax.nn.one_hot(x, number).reshape(head_shape(code))
    ask = lambda method, *args: code.apply(variables, *args, method=method)
    np.testing.assert_array_equal(ask("drawn", sure), x)
    np.testing.assert_allclose(ask("recode", sure), made, atol=1e-6)
    np.testing.assert_allclose(ask("nats", sure, x), 0, atol=1e-6)
    # by the code a symbol is known: none is nearer to another's
    table = np.asarray(variables["params"]["table"])
    rows = np.asarray(made).reshape(-1, table.shape[1])
    apart = np.square(rows[:, None] - table).sum(-1)
    np.testing.assert_array_equal(apart.argmin(1), x.ravel())


@pytest.mark.parametrize("name", SYMBOLS)
def test_symbols_against_loops(name: str) -> None:
    code, x = SYMBOLS[name], values_of(SYMBOLS[name])
    variables = parameters(code, x)
    said = jnp.asarray(RNG.normal(size=head_shape(code)), jnp.float32)
    ask = lambda method, *args: code.apply(variables, *args, method=method)
    table = np.asarray(variables["params"]["table"], np.float64)
    number = len(table)
    logits = np.asarray(said, np.float64).reshape(ROWS, -1, number)
    nats, made = np.zeros(ROWS), np.zeros((ROWS, logits.shape[1], table.shape[1]))
    for row in range(ROWS):
        for place in range(logits.shape[1]):
            p = np.exp(logits[row, place]) / np.exp(logits[row, place]).sum()
            nats[row] -= np.log(p[x.reshape(ROWS, -1)[row, place]])
            made[row, place] = sum(p[k] * table[k] for k in range(number))
    np.testing.assert_allclose(ask("nats", said, x), nats, rtol=1e-5)
    np.testing.assert_allclose(ask("loss", said, x), nats / logits.shape[1], rtol=1e-5)
    made = made.reshape(ROWS, *SPACE)
    np.testing.assert_allclose(ask("recode", said), made, atol=1e-5)
    # logarithms of probabilities say the same, and sum to one
    log_p = ask("log_p", said)
    assert log_p.shape == said.shape
    np.testing.assert_allclose(ask("nats", log_p, x), nats, rtol=1e-5)
    np.testing.assert_allclose(
        np.exp(log_p).reshape(logits.shape).sum(-1), 1, rtol=1e-5
    )


@pytest.mark.parametrize(("pixels", "patch"), PICTURES)
def test_a_picture_through_levels_and_patches(pixels: tuple, patch: int) -> None:
    code = picture(pixels, patch)
    code.check("image")
    x, (height, width, channels) = values_of(code), pixels
    ask = lambda method, *args: code.apply({}, *args, method=method)
    made = np.asarray(code.apply({}, x))
    levels = 2.0 * x.reshape(ROWS, *pixels) / 4 - 1
    place = 0
    for top in range(0, height, patch):
        for left in range(0, width, patch):
            cut = levels[:, top : top + patch, left : left + patch]
            np.testing.assert_allclose(made[:, place], cut.reshape(ROWS, -1), rtol=1e-6)
            place += 1
    assert place == code.space[0] and code.size == patch**2 * channels
    np.testing.assert_array_equal(ask("drawn", made), x)
    # what is said lies in the cell of a level as long as it is nearest to it
    np.testing.assert_array_equal(ask("drawn", made + 0.24), x)
    assert (np.asarray(ask("drawn", made - 0.26)) == np.maximum(x - 1, 0)).all()
    np.testing.assert_array_equal(ask("recode", made), made)


def test_what_is_unknown_of_a_picture() -> None:
    code = picture((4, 6, 1), 2)
    x = values_of(code)
    hidden = RNG.random(x.shape) < 0.4
    given = np.where(hidden, -1, x)
    ask = lambda method, *args: np.asarray(code.apply({}, *args, method=method))
    where = ask("cut", jnp.asarray(hidden))
    made, whole = np.asarray(code.apply({}, given)), np.asarray(code.apply({}, x))
    assert where.dtype == bool and where.sum() == hidden.sum()
    np.testing.assert_array_equal(made, np.where(where, 0.0, whole))
    said = RNG.normal(size=made.shape).astype(np.float32)
    expected = np.square(said - made).mean((1, 2))
    np.testing.assert_allclose(ask("loss", said, given), expected, rtol=1e-5)
    # only what is known has a likelihood
    some = ask("nats", said, given)
    np.testing.assert_allclose(ask("nats", np.where(where, 5.0, said), given), some)
    both = some + ask("nats", said, np.where(hidden, x, -1))
    np.testing.assert_allclose(both, ask("nats", said, x), rtol=1e-5)
    assert ask("nats", said, np.full_like(x, -1)).tolist() == [0] * ROWS


def test_nats_of_a_picture_against_loops() -> None:
    """The mass that N(said, 0.2^2) has in the cell of a level; both ends are open."""
    code = picture((4, 6, 1), 2)
    x = values_of(code)
    below = lambda z: 0.5 * math.erfc(-z / math.sqrt(2))
    levels, expected = np.asarray(code.apply({}, x)), np.zeros(ROWS)
    said = levels + RNG.uniform(-0.6, 0.6, levels.shape).astype(np.float32)
    for row in range(ROWS):
        for level, mean in zip(levels[row].ravel(), said[row].ravel(), strict=True):
            low, high = ((level + s * 0.25 - mean) / 0.2 for s in (-1, 1))
            mass = 1.0 if level == 1 else below(high)
            mass -= 0.0 if level == -1 else below(low)
            expected[row] -= math.log(mass)
    found = code.apply({}, said, x, method="nats")
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_a_vector_is_turned_and_as_long_as_a_picture() -> None:
    code = VectorCode(SPACE, 7)
    x = values_of(code)
    variables = parameters(code, x)
    made = np.asarray(code.apply(variables, x)).reshape(ROWS, -1)
    # angles and lengths stay; one of length 1 has a mean square of 1
    np.testing.assert_allclose(made @ made.T / 24, x @ x.T, rtol=1e-4, atol=1e-4)
    said = RNG.normal(size=x.shape).astype(np.float32)
    ask = lambda method, *args: code.apply(variables, *args, method=method)
    apart = np.square(said - x).sum(1)
    np.testing.assert_allclose(ask("loss", said, x), apart, rtol=1e-5)
    variance = 0.04 / 7
    nats = 0.5 * apart / variance + 3.5 * np.log(2 * np.pi * variance)
    np.testing.assert_allclose(ask("nats", said, x), nats, rtol=1e-5)
    np.testing.assert_allclose(ask("recode", x).reshape(ROWS, -1), made, rtol=1e-5)
    np.testing.assert_array_equal(ask("drawn", said), said)
    assert code.size == 7 and code.pooled and not code.discrete


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (LabelCode((1, 3), 9), "of 9 classes in 3 numbers of z; expected 4 of them"),
        (TokensCode(SPACE, 7, 5), "of 5 tokens of 7 codes in 24 numbers"),
        (TokensCode(SPACE, 7, 12), "with 3 numbers a token or more"),
        (TokensCode(SPACE, 2, 48), "a length that divides them"),
        (VectorCode(SPACE, 25), "of 25 features in 24 numbers"),
        (ImageCode((6, 4), 5, (4, 6, 3), 2), "patch = 2; expected patches as z has"),
        (ImageCode((6, 4), 5, (6, 4, 1), 4), "of 6 x 4 pixels"),
        (ImageCode((4, 6), 5, (4, 6, 1), 2), "4 of 6 numbers"),
    ],
)
def test_what_does_not_fit(code: codes.Code, says: str) -> None:
    with pytest.raises(UsageError, match=rf"Found modality 'mine'.*{says}"):
        code.check("mine")


def test_what_just_fits() -> None:
    for code in (LabelCode((1, 3), 8), VectorCode(SPACE, 24), *SYMBOLS.values()):
        code.check("mine")
    assert set(codes.KINDS) == {"image", "masked_image", "label", "vector", "tokens"}
