"""Records of sounds whose length is no whole number of tokens."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cdcd_jax.data.card import read_card
from cdcd_jax.data.records import RecordSource
from cdcd_jax.data.sources import open_source
from cdcd_jax.errors import InputError
from cdcd_jax.stages import pretokenize as module
from cdcd_jax.stages.pretokenize import pretokenize

HOP = 300  # of 32,000 samples, 106 tokens and 200 samples
DATA = dict(raw="toy_dance", options=dict(train_examples=3, test_examples=2))


class Loudness:
    """A tokenizer of sound: the loudness of `HOP` samples in 8 steps."""

    num_codes, rows_at_once, fingerprint = 8, 2, "loudness"

    def __init__(self, tokens: int) -> None:
        self.settings = dict(kind="loudness")
        self.grid = (1, tokens)
        self.media = dict(kind="audio", shape=[tokens * HOP], sample_rate=8000)

    def start_encoding(self, media: np.ndarray, numbers: np.ndarray) -> Any:
        parts = np.abs(media.reshape(len(numbers), -1, HOP)).mean(axis=-1)
        return lambda: np.minimum(parts * 16, 7).astype(np.int32)


def make(path: Path, patch: pytest.MonkeyPatch, tokens: int) -> Path:
    patch.setattr(module, "open_tokenizer", lambda *_: Loudness(tokens))
    return pretokenize(dict(data=DATA, grid=(1, tokens)), path)


def test_an_end_of_less_than_a_token_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = read_card(make(tmp_path, monkeypatch, 106))
    source = open_source(DATA["raw"], options=DATA["options"])
    wave = source.split("test").example(1)["audio"]
    assert len(wave) == 32_000
    wanted = Loudness(106).start_encoding(wave[None, : 106 * HOP], np.arange(1))()
    np.testing.assert_array_equal(RecordSource(card, "test")[1]["tokens"], wanted[0])


@pytest.mark.parametrize("tokens", [105, 107])
def test_more_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokens: int
) -> None:
    with pytest.raises(InputError, match=f"32000.*expected .*{tokens * HOP}"):
        make(tmp_path, monkeypatch, tokens)
