"""The conditioner of pictures: its values, what is unknown, its places, bad ones."""

import jax
import numpy as np
import pytest

from cdcd_jax.errors import UsageError
from cdcd_jax.networks.conditioners import empty, full_spec, make_conditioner

WIDTH, ROWS = 5, 2
COLOURED = dict(kind="image", levels=5, grid=(4, 6, 3), patch=2)


def encoded(spec: dict, tokens: np.ndarray, drop: np.ndarray) -> tuple:
    """Parameters and what is aligned, of a denoiser with a token a patch."""
    full = full_spec("c", spec)
    height, width = (n // full["patch"] for n in full["grid"][:2])
    module = make_conditioner("c", spec, WIDTH, height * width, True)
    params = module.init(jax.random.key(0), tokens, drop)["params"]
    return params, np.asarray(module.apply({"params": params}, tokens, drop).aligned)


def test_against_a_loop_over_patches() -> None:
    """x = 2 token / (K - 1) - 1, 0 where it is unknown, and beside it what is known."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(-1, 5, (ROWS, 4 * 6 * 3)).astype(np.int32)
    params, found = encoded(COLOURED, tokens, np.array([False, True]))
    pixels = tokens.reshape(ROWS, 4, 6, 3)
    kernel, bias = (np.asarray(params["aligned"][k]) for k in ("kernel", "bias"))
    for row in range(2):
        for column in range(3):
            numbers = []
            for y in (2 * row, 2 * row + 1):
                for x in (2 * column, 2 * column + 1):
                    for level in pixels[0, y, x]:
                        value = 2 * level / 4 - 1 if level >= 0 else 0.0
                        numbers += [value, float(level >= 0)]
            expected = np.array(numbers) @ kernel + bias
            np.testing.assert_allclose(found[0, 3 * row + column], expected, atol=1e-5)
    np.testing.assert_array_equal(found[1], params["null_aligned"])


def test_an_unknown_pixel_is_neither_grey_nor_black() -> None:
    spec = dict(kind="image", levels=3, grid=(2, 2))
    tokens = np.array([[-1, 0, 1, 2], [1, 1, 1, 1]], np.int32)
    _, found = encoded(spec, tokens, np.zeros(ROWS, bool))
    assert np.abs(found[0, 0] - found[1, 0]).max() > 1e-2
    assert np.abs(found[0, 0] - found[0, 1]).max() > 1e-2
    np.testing.assert_array_equal(found[0, 2], found[1, 2])


def test_its_shape_follows_from_the_grid() -> None:
    full = full_spec("c", COLOURED)
    assert full["shape"] == (72,) and empty(full, 2).shape == (2, 72)
    assert empty(full, 2).dtype == np.int32
    # as it comes from a saved config, and whole
    assert full_spec("c", {**full, "grid": [4, 6, 3], "shape": [72]}) == full
    assert full_spec("c", dict(kind="image", levels=5, grid=(4, 6)))["patch"] == 1


@pytest.mark.parametrize(
    "change",
    [
        dict(grid=8),
        dict(grid=(8,)),
        dict(grid=(4, 6, 3, 1)),
        dict(grid=(4, 0)),
        dict(grid=(4, 5)),
        dict(patch=0),
        dict(patch=4),
        dict(levels=1),
        dict(shape=(71,)),
    ],
)
def test_bad_descriptions_of_pictures(change: dict) -> None:
    with pytest.raises(UsageError, match=r"model\.conditions\.c with grid = .*correct"):
        full_spec("c", {**COLOURED, **change})


def test_a_patch_for_each_token_of_the_modern_form() -> None:
    with pytest.raises(UsageError, match=r"6 patches .* 24 tokens in the modern"):
        make_conditioner("c", COLOURED, WIDTH, 24, True)
    with pytest.raises(UsageError, match=r"that is not in the modern form"):
        make_conditioner("c", COLOURED, WIDTH, 6, False)


def test_a_field_is_told_of_any_kind() -> None:
    label = dict(kind="label", num_classes=3)
    assert "field" not in full_spec("c", {**label, "field": ""})
    assert full_spec("c", {**label, "field": "genre"})["field"] == "genre"
    spec = {**COLOURED, "field": "tokens"}
    assert full_spec("c", spec)["field"] == "tokens"
    assert make_conditioner("c", spec, WIDTH, 6, True).levels == 5
