"""CLIP's tokens. clip_tokens.json holds pairs of a text and what openai/CLIP's
tokenizer (with ftfy 6.3.1 and regex) makes of it, start and end left out."""

import json
import pathlib

import numpy as np
import pytest

from cdcd_jax.data import bpe
from cdcd_jax.errors import InputError

TABLE = json.loads(pathlib.Path(__file__).with_name("clip_tokens.json").read_text())


@pytest.mark.parametrize(("text", "tokens"), TABLE, ids=range(len(TABLE)))
def test_equals_openai(text: str, tokens: list[int]) -> None:
    row = bpe.encode([text], length=120)
    assert row.shape == (1, 120) and row.dtype == np.int32
    expected = [bpe.START, *tokens, bpe.END]
    assert row[0, : len(expected)].tolist() == expected
    assert not row[0, len(expected) :].any()


def test_decode_gives_the_clean_text() -> None:
    for text, _ in TABLE:
        row = bpe.encode(text, length=120)[0]
        if "<|" in text:
            continue
        # words are told apart by a space, also where the text has none
        joined = "".join(bpe.clean(text).split())
        assert "".join(bpe.decode(row).split()) == joined
    assert bpe.decode(bpe.encode("A photo,  of 2 cats")[0]) == "a photo , of 2 cats"


def test_length() -> None:
    words = ["cat"] * 75
    assert bpe.encode(" ".join(words))[0, -1] == bpe.END
    words.append("dog")
    with pytest.raises(InputError, match="more than 75 tokens"):
        bpe.encode(" ".join(words))
    cut = bpe.encode(" ".join(words), truncate=True)
    np.testing.assert_array_equal(cut, bpe.encode(" ".join(words[:-1])))


def test_endless_words_end() -> None:
    word = "".join(np.random.default_rng(0).choice(list("etaoin"), 100_000))
    with pytest.raises(InputError, match="more than 6 tokens"):
        bpe.encode(word, length=8)
    assert (bpe.encode(word, length=8, truncate=True) > 0).all()


def test_many_texts_and_none() -> None:
    rows = bpe.encode(["a", "", "b c"], length=5)
    assert rows.tolist() == [
        [49406, 320, 49407, 0, 0],
        [49406, 49407, 0, 0, 0],
        [49406, 321, 322, 49407, 0],
    ]
    assert bpe.encode([]).shape == (0, 77)


def test_bad_input() -> None:
    with pytest.raises(InputError, match="expected a text"):
        bpe.encode([b"bytes"])
    with pytest.raises(InputError, match="token 49408"):
        bpe.decode([49406, 49408])
    with pytest.raises(InputError, match="token -1"):
        bpe.decode([-1])
