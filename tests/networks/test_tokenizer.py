"""Tests of the palette tokenizer and of the table of tokenizers."""

import numpy as np
import pytest

from cdcd_jax.errors import InputError, UsageError
from cdcd_jax.models.tokenizers import open_tokenizer
from cdcd_jax.networks.tokenizer import PaletteTokenizer


@pytest.mark.parametrize("levels", [2, 3, 17, 100, 255, 256])
def test_palette_round_trip(levels: int) -> None:
    tokenizer = PaletteTokenizer(levels, (levels, 2))
    codes = np.repeat(np.arange(levels), 2)[None]
    images = tokenizer.decode(codes)["images"]
    assert images.shape == (1, levels, 2, 1) and images.dtype == np.uint8
    assert images.min() == 0 and images.max() == 255
    tokens = tokenizer.encode(images)
    assert tokens.dtype == np.int32 and tokenizer.num_codes == levels
    np.testing.assert_array_equal(tokens, codes)
    np.testing.assert_array_equal(tokenizer.decode(tokens)["images"], images)


def test_a_palette_of_colours() -> None:
    tokenizer = PaletteTokenizer(17, (2, 3, 3))
    assert tokenizer.media == {"kind": "image", "shape": [2, 3, 3]}
    codes = np.arange(18)[None] % 17
    images = tokenizer.decode(codes)["images"]
    assert images.shape == (1, 2, 3, 3) == (1, *tokenizer.outputs["images"])
    grey = PaletteTokenizer(17, (1, 18)).decode(codes)["images"]
    np.testing.assert_array_equal(images.ravel(), grey.ravel())
    np.testing.assert_array_equal(tokenizer.encode(images), codes)
    larger = tokenizer.decode(np.tile(codes, 2), (4, 3))["images"]
    np.testing.assert_array_equal(larger[0, 2:], images[0])
    with pytest.raises(InputError, match=r"expected \[N, 2, 3, 3\].*RGB"):
        tokenizer.encode(images[..., :1])


def test_palette_takes_the_nearest_level() -> None:
    tokenizer = PaletteTokenizer(17, (1, 256))
    grey = np.arange(256, dtype=np.uint8)
    tokens = tokenizer.encode(grey.reshape(1, 1, 256, 1))[0]
    distance = np.abs(grey[:, None] - np.arange(17) * 255 / 16)
    np.testing.assert_array_equal(tokens, distance.argmin(1))


def test_encode_refuses_other_shapes_and_types() -> None:
    tokenizer = PaletteTokenizer(17, (8, 8))
    for bad in (
        np.zeros((2, 8, 9, 1), np.uint8),
        np.zeros((2, 8, 8), np.uint8),
        np.zeros((2, 8, 8, 3), np.uint8),
        np.zeros((2, 8, 8, 1), np.float32),
    ):
        with pytest.raises(InputError, match="Found images of shape"):
            tokenizer.encode(bad)


@pytest.mark.parametrize("token", [-1, 17])
def test_decode_refuses_tokens_outside(token: int) -> None:
    tokens = np.zeros((1, 4), np.int32)
    tokens[0, 2] = token
    with pytest.raises(InputError, match=f"Found the token {token}"):
        PaletteTokenizer(17, (2, 2)).decode(tokens)


def test_decode_refuses_other_lengths_and_types() -> None:
    for bad in (np.zeros((1, 5), int), np.zeros((1, 4)), np.zeros(4, int)):
        with pytest.raises(InputError, match=r"expected \[N, 4\]"):
            PaletteTokenizer(17, (2, 2)).decode(bad)


def test_fingerprint_depends_on_settings_only() -> None:
    first = PaletteTokenizer(17, (8, 8)).fingerprint
    assert first == PaletteTokenizer(17, (8, 8)).fingerprint
    # a change of this value makes all existing records foreign
    assert first == "7c6b3aade8f888e3"
    others = {PaletteTokenizer(16, (8, 8)), PaletteTokenizer(17, (4, 16))}
    assert first not in {other.fingerprint for other in others}


def test_open_tokenizer() -> None:
    tokenizer = open_tokenizer({"kind": "palette", "levels": 17}, [8, 8])
    assert tokenizer == PaletteTokenizer(17, (8, 8))
    card = {**tokenizer.settings, "fingerprint": tokenizer.fingerprint}
    assert open_tokenizer(card, (8, 8)) == tokenizer
    with pytest.raises(InputError, match="fingerprint"):
        open_tokenizer({**card, "levels": 16}, (8, 8))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"kind": "vq", "levels": 17}, "one of checkpoint, frames, none, palette"),
        ({"levels": 17}, "expected one of checkpoint, frames, none, palette"),
        ({"kind": "checkpoint"}, "no tokenizer.path"),
        ({"kind": "palette", "levels": 17, "depth": 1}, "depth"),
        ({"kind": "palette", "levels": 1}, "from 2 to 256"),
        ({"kind": "palette", "levels": 17.0}, "expected a int"),
    ],
)
def test_open_tokenizer_refuses(config: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_tokenizer(config, (8, 8))


@pytest.mark.parametrize("grid", [(8,), (8, 0), (8, 8, 8), (8.0, 8)])
def test_palette_refuses_bad_grids(grid: tuple) -> None:
    with pytest.raises(UsageError, match="Found grid"):
        PaletteTokenizer(17, grid)
